//! `socket`: lines of text over TCP, as a client or as a server.

mod client;
mod connection;
mod keepalive;
mod server;
#[cfg(test)]
mod tests;
mod tls;

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpListener;

use self::client::Client;
use self::connection::Rules;
use self::server::Server;
pub use self::tls::Tls;
use super::{
    CheckedSource, Replay, Resource, Source, SourceContext, SourceError, SourceFactory, SourceSettings, receiver,
};
use crate::diagnostic::codes;
use crate::formats::{Decode, InputFormat};
use crate::schema::Schema;
use crate::spec::kind::Settings;
use crate::spec::{Check, Duration, OnError, Size};

/// Lines of text over TCP. With `host` and `port` it is a client, like `nc host port`, and connects
/// again when the connection ends; with `listen` it is a server for any number of clients. A last
/// line without a line feed counts as a line when the connection is closed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    { "required": ["host", "port"], "not": { "required": ["listen"] } },
    { "required": ["listen"], "not": { "anyOf": [{ "required": ["host"] }, { "required": ["port"] }] } }
]))]
pub struct Socket {
    /// The server to connect to: a name or an IP address. Needs `port`.
    pub host: Option<String>,
    /// The server's port.
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// The address to serve on instead of connecting: `0.0.0.0:9999` for every network interface,
    /// `127.0.0.1:9999` for this machine only.
    pub listen: Option<String>,
    /// How a line becomes a row: `text` (the default) or `json`.
    #[serde(default)]
    pub format: InputFormat,
    /// The longest line in bytes, without its end; 1MiB by default. What becomes of a longer one is
    /// for `on_error` to say.
    #[serde(default = "default_max_line")]
    pub max_line: Size,
    /// Rows per second at most; no limit by default. What is too much waits at the sender.
    pub max_rate: Option<f64>,
    /// The longest pause between two attempts to connect, 30s by default. The first pause is
    /// 200ms, and each one is twice as long as the one before.
    #[serde(default = "default_reconnect_max")]
    pub reconnect_max: Duration,
    /// Encrypts the connection; not encrypted by default.
    pub tls: Option<Tls>,
}

fn default_max_line() -> Size {
    Size::from_bytes(1 << 20)
}

fn default_reconnect_max() -> Duration {
    Duration::from_millis(30_000)
}

impl Settings for Socket {
    const KIND: &'static str = "socket";
    const SUMMARY: &'static str = "lines of text over TCP, as a client (`host`, `port`) or a server (`listen`)";
}

/// Which end of the connection this is.
#[derive(Clone, Debug)]
enum Role {
    Client { host: String, port: u16 },
    Server { listen: String, port: u16 },
}

impl SourceSettings for Socket {
    fn schema(&self) -> Option<Schema> {
        Some(self.format.schema())
    }

    fn check(self: Box<Self>, check: &mut Check<'_>) -> Option<CheckedSource> {
        let before = check.findings.len();
        let role = self.role(check);
        let decoder = self.decoder(check);
        self.check_numbers(check);
        if let Some(tls) = &self.tls {
            tls.check(self.listen.is_some(), check);
        }
        let (role, decoder) = (role?, decoder?);
        if check.findings.len() > before {
            return None;
        }
        let (resources, feed) = match &role {
            Role::Server { port, .. } => (vec![Resource::Port(*port, "listen")], None),
            Role::Client { host, port } => (Vec::new(), self.tls.is_none().then(|| (host.clone(), *port))),
        };
        Some(CheckedSource {
            schema: self.format.schema(),
            resources,
            feed,
            format: Some(self.format),
            replay: Replay::Received,
            factory: Arc::new(Factory {
                role,
                decoder,
                max_line: self.max_line,
                max_rate: self.max_rate,
                reconnect_max: self.reconnect_max,
                tls: self.tls,
                on_error: check.on_error,
            }),
        })
    }
}

impl Socket {
    fn role(&self, check: &mut Check<'_>) -> Option<Role> {
        match (&self.host, self.port, &self.listen) {
            (Some(host), Some(port), None) => {
                if host.is_empty() {
                    check.report(codes::INVALID_VALUE, &["host"], "`host` is empty", None);
                }
                if port == 0 {
                    check.report(codes::INVALID_VALUE, &["port"], "no one can listen on port 0", None);
                }
                Some(Role::Client { host: host.clone(), port })
            }
            (None, None, Some(listen)) => listen_role(listen, check),
            (None, None, None) => {
                let message = "a socket needs `host` and `port`, or `listen`";
                let help = "to connect to a server, write `host: localhost` and `port: 9999`; \
                            to be the server, write `listen: 0.0.0.0:9999`";
                check.report(codes::MISSING_KEY, &[], message, Some(help.to_owned()));
                None
            }
            (Some(_), None, None) => missing("port", "host", check),
            (None, Some(_), None) => missing("host", "port", check),
            (_, _, Some(_)) => {
                let message = "`listen` makes a server, `host` and `port` a client: a socket is one of both";
                let help = "remove `listen`, or remove `host` and `port`".to_owned();
                check.report(codes::CONFLICTING_KEYS, &["listen"], message, Some(help));
                None
            }
        }
    }

    fn decoder(&self, check: &mut Check<'_>) -> Option<Arc<dyn Decode>> {
        let name = self.format.name();
        if !self.format.is_line_based() {
            let message = format!("`{name}` cannot be read from a socket, which carries one row per line");
            let help = "use `text` or `json`".to_owned();
            check.report(codes::INVALID_VALUE, &["format"], message, Some(help));
            return None;
        }
        match self.format.decoder() {
            Ok(decoder) => Some(decoder),
            Err(error) => {
                check.report(codes::INVALID_VALUE, &["format", name], error.to_string(), None);
                None
            }
        }
    }

    fn check_numbers(&self, check: &mut Check<'_>) {
        if self.max_line.as_bytes() == 0 {
            let help = Some("write e.g. `max_line: 1MiB`".to_owned());
            check.report(codes::INVALID_VALUE, &["max_line"], "no line fits into 0 bytes", help);
        }
        if self.reconnect_max.as_millis() == 0 {
            let help = Some("write e.g. `reconnect_max: 30s`".to_owned());
            check.report(codes::INVALID_VALUE, &["reconnect_max"], "there must be a pause between two attempts", help);
        }
        if self.max_rate.is_some_and(|rate| rate <= 0.0 || !rate.is_finite()) {
            let help = Some("leave it out for no limit".to_owned());
            check.report(codes::INVALID_VALUE, &["max_rate"], "`max_rate` must be more than 0 rows per second", help);
        }
    }
}

fn listen_role(listen: &str, check: &mut Check<'_>) -> Option<Role> {
    let port = listen.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse().ok());
    match port {
        Some(port) if port != 0 => Some(Role::Server { listen: listen.to_owned(), port }),
        _ => {
            let message = format!("`{listen}` is no address with a port");
            let help = "write `0.0.0.0:9999` for every network interface, `127.0.0.1:9999` for this machine only";
            check.report(codes::INVALID_VALUE, &["listen"], message, Some(help.to_owned()));
            None
        }
    }
}

fn missing(key: &str, present: &str, check: &mut Check<'_>) -> Option<Role> {
    let message = format!("the key `{key}` is missing: `{present}` needs it");
    check.report(codes::MISSING_KEY, &[], message, Some(format!("add `{key}: ...`")));
    None
}

struct Factory {
    role: Role,
    decoder: Arc<dyn Decode>,
    max_line: Size,
    max_rate: Option<f64>,
    reconnect_max: Duration,
    tls: Option<Tls>,
    on_error: OnError,
}

impl Factory {
    fn rules(&self, context: &SourceContext) -> Rules {
        Rules { name: context.name.clone(), max_line: self.max_line, on_error: self.on_error }
    }
}

#[async_trait]
impl SourceFactory for Factory {
    async fn build(&self, context: SourceContext, resume: Option<Value>) -> Result<Box<dyn Source>, SourceError> {
        let (sender, receiver) = receiver::open(&context, resume.as_ref()).await?;
        let (rules, available_now) = (self.rules(&context), context.available_now);
        let decoder = Arc::clone(&self.decoder);
        let source = match &self.role {
            Role::Client { host, port } => {
                let (host, port) = (host.clone(), *port);
                let tls = match self.tls.clone() {
                    Some(tls) => {
                        let host = host.clone();
                        Some(read_files(move || tls::connector(&tls, &host)).await?)
                    }
                    None => None,
                };
                let longest_pause = self.reconnect_max.to_std();
                let client = Client { host, port, tls, rules, longest_pause, available_now };
                receiver.run(decoder, self.max_rate, client.run(sender))
            }
            Role::Server { listen, .. } => {
                let tls = match self.tls.clone() {
                    Some(tls) => Some(read_files(move || tls::acceptor(&tls)).await?),
                    None => None,
                };
                let listener =
                    TcpListener::bind(listen.as_str()).await.map_err(|error| cannot_listen(listen, error))?;
                tracing::info!(source = %context.name, "listening on {listen}");
                let server = Server { tls, rules: Arc::new(rules), available_now };
                receiver.run(decoder, self.max_rate, server.run(listener, sender))
            }
        };
        Ok(Box::new(source))
    }

    async fn rehearse(&self) -> Result<(), SourceError> {
        match (&self.role, self.tls.clone()) {
            (Role::Client { host, .. }, Some(tls)) => {
                let host = host.clone();
                read_files(move || tls::connector(&tls, &host)).await?;
            }
            (Role::Server { .. }, Some(tls)) => {
                read_files(move || tls::acceptor(&tls)).await?;
            }
            (_, None) => {}
        }
        if let Role::Server { listen, .. } = &self.role {
            // The address with any port, since an earlier version may have the right one.
            let host = listen.rsplit_once(':').map_or(listen.as_str(), |(host, _)| host);
            TcpListener::bind(format!("{host}:0")).await.map_err(|error| cannot_listen(listen, error))?;
        }
        Ok(())
    }
}

/// Certificates are read on a thread that may wait.
async fn read_files<T, F>(read: F) -> Result<T, SourceError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, SourceError> + Send + 'static,
{
    tokio::task::spawn_blocking(read)
        .await
        .map_err(|error| SourceError::Settings(format!("internal error, please report it: {error}")))?
}

fn cannot_listen(listen: &str, error: io::Error) -> SourceError {
    let help = match error.kind() {
        io::ErrorKind::AddrInUse => "; another program listens there: stop it, or choose another port",
        io::ErrorKind::PermissionDenied => "; ports below 1024 are for the administrator: choose a higher one",
        io::ErrorKind::AddrNotAvailable => "; it is no address of this machine: `0.0.0.0` stands for all of them",
        _ => "",
    };
    SourceError::io(format!("cannot listen on {listen}{help}"), error)
}
