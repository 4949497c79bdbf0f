//! Lets many clients connect.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::connection::{End, Rules, receive};
use super::{keepalive, tls};
use crate::sources::SourceError;
use crate::sources::receiver::BlockSender;

/// More clients have to wait; each one has a buffer.
const MAX_CLIENTS: usize = 4096;
/// A TLS handshake may take this long.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after a client could not be let in, e.g. because too many files are open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

type Clients = JoinSet<Result<(), SourceError>>;

/// A server.
#[derive(Clone)]
pub(super) struct Server {
    pub tls: Option<TlsAcceptor>,
    pub rules: Arc<Rules>,
    /// End with the last client that is there.
    pub available_now: bool,
}

impl Server {
    /// Receives until the source is stopped.
    pub(super) async fn run(self, listener: TcpListener, sender: BlockSender) -> Result<(), SourceError> {
        let mut stop = sender.clone();
        let mut clients = Clients::new();
        loop {
            tokio::select! {
                biased;
                () = stop.stopped() => break,
                accepted = listener.accept(), if clients.len() < MAX_CLIENTS => match accepted {
                    Ok((stream, peer)) => {
                        clients.spawn(self.clone().serve(stream, peer, sender.clone()));
                    }
                    Err(error) => {
                        tracing::warn!(source = %self.rules.name, "cannot let a client in: {error}");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(ended) = clients.join_next() => {
                    check(ended)?;
                    if self.available_now && clients.is_empty() {
                        return Ok(());
                    }
                }
            }
        }
        // The clients are told to stop by themselves and send what they have.
        while let Some(ended) = clients.join_next().await {
            check(ended)?;
        }
        Ok(())
    }

    /// One client. What goes wrong with it does not concern the others, except a line that is too
    /// long where that is an error.
    async fn serve(self, stream: TcpStream, peer: SocketAddr, sender: BlockSender) -> Result<(), SourceError> {
        let name = &self.rules.name;
        keepalive::watch(&stream, name);
        let mut stop = sender.clone();
        let opened = tokio::select! {
            biased;
            () = stop.stopped() => return Ok(()),
            opened = self.open(stream) => opened,
        };
        let mut stream = match opened {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(source = %name, %peer, "the TLS handshake failed: {error}");
                return Ok(());
            }
        };
        tracing::debug!(source = %name, %peer, "a client connected");
        let _connected = sender.client();
        match receive(&mut stream, &sender, &self.rules).await.end {
            End::LongLine(error) => return Err(error),
            End::Broken(error) => {
                let error = tls::explain_to_server(error);
                tracing::warn!(source = %name, %peer, "the connection broke: {error}");
            }
            End::Tls => {
                let message = "a client speaks TLS, and this source does not: set `tls` here, or switch it off there";
                tracing::warn!(source = %name, %peer, "{message}");
            }
            End::Closed => tracing::debug!(source = %name, %peer, "the client closed the connection"),
            End::Stopped => {}
        }
        Ok(())
    }

    async fn open(&self, stream: TcpStream) -> io::Result<Box<dyn AsyncRead + Send + Unpin>> {
        let Some(acceptor) = &self.tls else { return Ok(Box::new(stream)) };
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) => Err(tls::explain_to_server(error)),
            Err(_elapsed) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer")),
        }
    }
}

fn check(ended: Result<Result<(), SourceError>, JoinError>) -> Result<(), SourceError> {
    ended.unwrap_or_else(|error| Err(SourceError::Lost(format!("internal error, please report it: {error}"))))
}
