//! Connects to a server, and connects again when the connection ends.

use std::io;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::connection::{End, Rules, receive};
use super::{keepalive, tls};
use crate::sources::SourceError;
use crate::sources::receiver::BlockSender;

/// The first pause between two attempts to connect; it doubles from one attempt to the next.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// An attempt to connect may take this long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// With `--available-now` a server that is not there after this time is an error.
const PATIENCE: Duration = Duration::from_secs(10);
const SPEAKS_TLS: &str = "speaks TLS: set `tls`; `tls: {}` if the system trusts its certificate";

type Stream = Box<dyn AsyncRead + Send + Unpin>;

/// A client.
pub(super) struct Client {
    pub host: String,
    pub port: u16,
    pub tls: Option<(TlsConnector, ServerName<'static>)>,
    pub rules: Rules,
    /// The longest pause between two attempts to connect.
    pub longest_pause: Duration,
    /// End with the first connection instead of connecting again.
    pub available_now: bool,
}

impl Client {
    /// Receives until the source is stopped.
    pub(super) async fn run(self, sender: BlockSender) -> Result<(), SourceError> {
        let mut stop = sender.clone();
        let first_pause = FIRST_PAUSE.min(self.longest_pause);
        let mut pause = first_pause;
        // Something is wrong and the user knows; the rest of it is for the debug log.
        let mut warned = false;
        let since = Instant::now();
        loop {
            let connected = tokio::select! {
                biased;
                () = stop.stopped() => return Ok(()),
                connected = self.connect() => connected,
            };
            match connected {
                Ok(mut stream) => {
                    tracing::info!(source = %self.rules.name, "connected to {}:{}", self.host, self.port);
                    let outcome = receive(&mut stream, &sender, &self.rules).await;
                    if outcome.received {
                        (pause, warned) = (first_pause, false);
                    }
                    if let Some(ended) = self.after(outcome.end, &mut warned) {
                        return ended;
                    }
                }
                Err(error) if self.available_now && since.elapsed() >= PATIENCE => {
                    let what = format!("cannot connect to {}:{}", self.host, self.port);
                    return Err(SourceError::io(what, error));
                }
                Err(error) => self.warn_unreachable(&mut warned, &error),
            }
            tokio::select! {
                biased;
                () = stop.stopped() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
            pause = pause.saturating_mul(2).min(self.longest_pause);
        }
    }

    /// What a connection's end means for the source: its end, or `None` to connect again.
    fn after(&self, end: End, warned: &mut bool) -> Option<Result<(), SourceError>> {
        match end {
            End::Stopped => return Some(Ok(())),
            End::LongLine(error) => return Some(Err(error)),
            End::Closed if self.available_now => return Some(Ok(())),
            End::Tls if self.available_now => {
                return Some(Err(SourceError::Settings(format!("{}:{} {SPEAKS_TLS}", self.host, self.port))));
            }
            End::Closed => self.warn(warned, "closed the connection; connecting again"),
            End::Tls => self.warn(warned, SPEAKS_TLS),
            End::Broken(error) => {
                let error = tls::explain_to_client(error);
                self.warn(warned, &format!("broke the connection ({error}); connecting again"));
            }
        }
        None
    }

    async fn connect(&self) -> io::Result<Stream> {
        let connect = async {
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
            keepalive::watch(&stream, &self.rules.name);
            let stream: Stream = match &self.tls {
                None => Box::new(stream),
                Some((connector, name)) => match connector.connect(name.clone(), stream).await {
                    Ok(stream) => Box::new(stream),
                    Err(error) => return Err(tls::explain_to_client(error)),
                },
            };
            Ok::<Stream, io::Error>(stream)
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, connect).await {
            Ok(result) => result,
            Err(_elapsed) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer")),
        }
    }

    fn warn_unreachable(&self, warned: &mut bool, error: &io::Error) {
        let Self { host, port, .. } = self;
        let message = match error.kind() {
            io::ErrorKind::ConnectionRefused if self.tls.is_none() => format!(
                "nobody listens on {host}:{port}; start a server there (`nc -lk {port}`), \
                 or let streamrun be one: `--feed FILE`"
            ),
            io::ErrorKind::ConnectionRefused => format!("nobody listens on {host}:{port}; start a server there"),
            _ => format!("cannot connect to {host}:{port}: {error}; trying again"),
        };
        self.say(warned, &message);
    }

    fn warn(&self, warned: &mut bool, what: &str) {
        self.say(warned, &format!("{}:{} {what}", self.host, self.port));
    }

    /// Warns the first time, until something is received again.
    fn say(&self, warned: &mut bool, message: &str) {
        if std::mem::replace(warned, true) {
            tracing::debug!(source = %self.rules.name, "{message}");
        } else {
            tracing::warn!(source = %self.rules.name, "{message}");
        }
    }
}
