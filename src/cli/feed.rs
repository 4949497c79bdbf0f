//! `--feed`: a text server for the `socket` source, so that nothing else has to be started.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Listens where the source connects to and sends the first client the whole input, once. The
/// connection then stays open, unless `close` is set.
///
/// # Errors
/// When the input cannot be opened or the port is taken.
pub(super) async fn serve(input: &Path, host: &str, port: u16, rate: Option<f64>, close: bool) -> Result<(), String> {
    if rate.is_some_and(|rate| rate.is_nan() || rate <= 0.0) {
        return Err("`--feed-rate` is a number of lines per second above 0".to_owned());
    }
    let shown = input.display();
    if input.as_os_str() != "-" {
        tokio::fs::File::open(input).await.map_err(|error| format!("`--feed {shown}`: {error}"))?;
    }
    let listener = TcpListener::bind((host, port)).await.map_err(|error| {
        format!("`--feed` cannot listen on {host}:{port}: {error}; is another server there already?")
    })?;
    let input = input.to_path_buf();
    tokio::spawn(async move {
        if let Err(error) = feed(&listener, &input, rate, close).await {
            tracing::warn!("--feed {}: {error}", input.display());
        }
    });
    Ok(())
}

async fn feed(listener: &TcpListener, input: &PathBuf, rate: Option<f64>, close: bool) -> std::io::Result<()> {
    let (mut client, _) = listener.accept().await?;
    if input.as_os_str() == "-" {
        send(tokio::io::stdin(), &mut client, rate).await?;
    } else {
        send(tokio::fs::File::open(input).await?, &mut client, rate).await?;
    }
    client.flush().await?;
    tracing::info!("--feed: everything is sent");
    if !close {
        // Until the other side closes.
        let _ = client.read(&mut [0; 1]).await;
    }
    Ok(())
}

async fn send(
    input: impl tokio::io::AsyncRead + Unpin,
    client: &mut TcpStream,
    rate: Option<f64>,
) -> std::io::Result<()> {
    let mut input = BufReader::with_capacity(1 << 20, input);
    let Some(rate) = rate else {
        tokio::io::copy_buf(&mut input, client).await?;
        return Ok(());
    };
    // Ten portions a second, or one line at a time where that is less.
    let portion = (rate / 10.0).ceil().max(1.0);
    let mut tick = tokio::time::interval(Duration::from_secs_f64((portion / rate).max(0.001)));
    let mut lines = Vec::new();
    loop {
        tick.tick().await;
        lines.clear();
        for _ in 0..portion as u64 {
            if input.read_until(b'\n', &mut lines).await? == 0 {
                break;
            }
        }
        if lines.is_empty() {
            return Ok(());
        }
        client.write_all(&lines).await?;
    }
}
