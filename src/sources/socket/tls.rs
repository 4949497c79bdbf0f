//! TLS for both roles of a socket.

use std::io;
use std::path::Path;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{
    AlertDescription, CertificateError, ClientConfig, Error as TlsError, InvalidMessage, RootCertStore, ServerConfig,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::diagnostic::codes;
use crate::sources::SourceError;
use crate::spec::Check;

/// Encryption of the connection.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// A PEM file with the certificates that are trusted. A client takes those of the system by
    /// default. A server that has it lets only clients in that show a certificate signed by one of
    /// these.
    pub ca: Option<String>,
    /// A PEM file with the own certificate and those that lead to the trusted one. Needed with
    /// `listen`.
    pub cert: Option<String>,
    /// A PEM file with the private key of `cert`.
    pub key: Option<String>,
    /// The name in the server's certificate, for a client; `host` by default.
    pub server_name: Option<String>,
}

impl Tls {
    /// Reports keys that are missing or have no meaning in the role.
    pub(super) fn check(&self, serves: bool, check: &mut Check<'_>) {
        for (key, other, has_key, has_other) in [
            ("cert", "key", self.cert.is_some(), self.key.is_some()),
            ("key", "cert", self.key.is_some(), self.cert.is_some()),
        ] {
            if !has_key && (has_other || serves) {
                let reason = if has_other { format!("`{other}` needs it") } else { "a server needs it".to_owned() };
                let help = format!("add `{key}: ` with the path of a PEM file");
                check.report(codes::MISSING_KEY, &["tls"], format!("the key `{key}` is missing: {reason}"), Some(help));
            }
        }
        match &self.server_name {
            Some(_) if serves => {
                let message = "`server_name` is for a client; a server's name stands in its certificate";
                check.report(codes::CONFLICTING_KEYS, &["tls", "server_name"], message, None);
            }
            Some(name) if ServerName::try_from(name.as_str()).is_err() => {
                let message = format!("`{name}` is neither a host name nor an IP address");
                check.report(codes::INVALID_VALUE, &["tls", "server_name"], message, None);
            }
            _ => {}
        }
    }
}

/// What a client needs to connect to `host`. Reads files.
pub(super) fn connector(settings: &Tls, host: &str) -> Result<(TlsConnector, ServerName<'static>), SourceError> {
    let name = settings.server_name.as_deref().unwrap_or(host);
    let name = ServerName::try_from(name.to_owned())
        .map_err(|_| wrong(format!("`{name}` is no name that a certificate can have: set `tls.server_name`")))?;
    let roots = match &settings.ca {
        Some(path) => trusted(path)?,
        None => system_roots()?,
    };
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(wrong)?
        .with_root_certificates(roots);
    let config = match (&settings.cert, &settings.key) {
        (Some(cert), Some(key)) => config
            .with_client_auth_cert(certificates(cert)?, private_key(key)?)
            .map_err(|error| wrong(format!("`{cert}` and `{key}` cannot be used: {error}")))?,
        _ => config.with_no_client_auth(),
    };
    Ok((TlsConnector::from(Arc::new(config)), name))
}

/// What a server needs. Reads files.
pub(super) fn acceptor(settings: &Tls) -> Result<TlsAcceptor, SourceError> {
    let (Some(cert), Some(key)) = (&settings.cert, &settings.key) else {
        return Err(wrong("a server needs `cert` and `key`"));
    };
    let config =
        ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().map_err(wrong)?;
    let config = match &settings.ca {
        Some(path) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(trusted(path)?), provider())
                .build()
                .map_err(|error| wrong(format!("`{path}` cannot be used: {error}")))?;
            config.with_client_cert_verifier(verifier)
        }
        None => config.with_no_client_auth(),
    };
    let config = config
        .with_single_cert(certificates(cert)?, private_key(key)?)
        .map_err(|error| wrong(format!("`{cert}` and `{key}` cannot be used: {error}")))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// A client's error with what to do about it, where that is known.
pub(super) fn explain_to_client(error: io::Error) -> io::Error {
    explain(error, |error| match error {
        TlsError::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            Some("the server's certificate is not trusted: set `tls.ca` to a PEM file with the one that signed it")
        }
        TlsError::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => Some("the server's certificate has another name: set `tls.server_name`"),
        TlsError::InvalidMessage(InvalidMessage::InvalidContentType) => {
            Some("the server does not speak TLS: switch it on there, or remove `tls` here")
        }
        TlsError::AlertReceived(AlertDescription::CertificateRequired) => {
            Some("the server asks for a certificate: set `tls.cert` and `tls.key`")
        }
        TlsError::AlertReceived(alert) if is_distrust(*alert) => {
            Some("the server does not trust the certificate of `tls.cert`: it needs the one that signed it")
        }
        _ => None,
    })
}

/// A server's error with what to do about it, where that is known.
pub(super) fn explain_to_server(error: io::Error) -> io::Error {
    explain(error, |error| match error {
        TlsError::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            Some("the client's certificate is not trusted: `tls.ca` must have the one that signed it")
        }
        TlsError::NoCertificatesPresented => {
            Some("the client has no certificate: give it one, or remove `tls.ca`, which asks for it")
        }
        TlsError::InvalidMessage(InvalidMessage::InvalidContentType) => {
            Some("the client does not speak TLS: switch it on there, or remove `tls` here")
        }
        TlsError::AlertReceived(alert) if is_distrust(*alert) => {
            Some("the client does not trust the certificate of `tls.cert`: it needs the one that signed it")
        }
        _ => None,
    })
}

fn is_distrust(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    matches!(alert, Alert::UnknownCA | Alert::BadCertificate | Alert::CertificateUnknown)
}

fn explain(error: io::Error, help: fn(&TlsError) -> Option<&'static str>) -> io::Error {
    let help = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()).and_then(help);
    match help {
        Some(help) => io::Error::new(error.kind(), format!("{help} ({error})")),
        None => error,
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn trusted(path: &str) -> Result<RootCertStore, SourceError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| wrong(format!("a certificate in `{path}` cannot be used: {error}")))?;
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, SourceError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // A system's list has relics that no one misses.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let reasons: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) };
        return Err(wrong(format!("the system has no trusted certificates{reasons}: set `tls.ca`")));
    }
    Ok(roots)
}

fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, SourceError> {
    let unreadable = |error| wrong(format!("the certificates in `{path}` cannot be read: {error}"));
    let certificates = CertificateDer::pem_file_iter(Path::new(path))
        .map_err(unreadable)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;
    if certificates.is_empty() {
        return Err(wrong(format!("there is no certificate in `{path}`: it must be a PEM file")));
    }
    Ok(certificates)
}

fn private_key(path: &str) -> Result<PrivateKeyDer<'static>, SourceError> {
    PrivateKeyDer::from_pem_file(Path::new(path))
        .map_err(|error| wrong(format!("the private key in `{path}` cannot be read: {error}")))
}

fn wrong(message: impl std::fmt::Display) -> SourceError {
    SourceError::Settings(format!("TLS: {message}"))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;

    fn settings(folder: &Path) -> Tls {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let text = |path: &Path| Some(path.to_str().unwrap().to_owned());
        Tls { ca: text(&cert), cert: text(&cert), key: text(&key), server_name: None }
    }

    #[tokio::test]
    async fn both_roles_fit_together() {
        let folder = tempfile::tempdir().unwrap();
        let server = Tls { ca: None, ..settings(folder.path()) };
        let client = Tls { ca: server.cert.clone(), cert: None, key: None, server_name: Some("localhost".to_owned()) };
        let acceptor = acceptor(&server).unwrap();
        let (connector, name) = connector(&client, "127.0.0.1").unwrap();
        let (near, far) = tokio::io::duplex(1 << 16);
        let serve = async {
            let mut stream = acceptor.accept(far).await.unwrap();
            stream.write_all(b"hello\n").await.unwrap();
            stream.shutdown().await.unwrap();
        };
        let connect = async {
            let mut stream = connector.connect(name, near).await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            text
        };
        let ((), text) = tokio::join!(serve, connect);
        assert_eq!(text, "hello\n");
    }

    /// Why the client does not want to speak with a server.
    async fn refusal(client: &Tls, serve: impl AsyncFnOnce(DuplexStream)) -> String {
        let (connector, name) = connector(client, "localhost").unwrap();
        let (near, far) = tokio::io::duplex(1 << 16);
        let (connected, ()) = tokio::join!(connector.connect(name, near), serve(far));
        explain_to_client(connected.err().unwrap()).to_string()
    }

    #[tokio::test]
    async fn a_failed_handshake_says_what_to_set() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [server, other] = folders.each_ref().map(|folder| settings(folder.path()));
        let acceptor = acceptor(&Tls { ca: None, ..server.clone() }).unwrap();
        let client = Tls { ca: other.cert, cert: None, key: None, server_name: None };
        let untrusted = refusal(&client, async |far| drop(acceptor.accept(far).await)).await;
        assert!(untrusted.contains("set `tls.ca`"), "{untrusted}");

        let named = Tls { ca: server.cert, server_name: Some("example.org".to_owned()), ..client.clone() };
        let misnamed = refusal(&named, async |far| drop(acceptor.accept(far).await)).await;
        assert!(misnamed.contains("set `tls.server_name`") && misnamed.contains("localhost"), "{misnamed}");

        let plain = refusal(&client, async |mut far| far.write_all(b"hello\n").await.unwrap()).await;
        assert!(plain.starts_with("the server does not speak TLS"), "{plain}");

        let (mut near, far) = tokio::io::duplex(1 << 16);
        near.write_all(b"hello\n").await.unwrap();
        let error = explain_to_server(acceptor.accept(far).await.err().unwrap()).to_string();
        assert!(error.starts_with("the client does not speak TLS"), "{error}");

        let alert = io::Error::other(TlsError::AlertReceived(AlertDescription::UnknownCA));
        let error = explain_to_server(alert).to_string();
        assert!(error.starts_with("the client does not trust the certificate of `tls.cert`"), "{error}");
    }

    #[test]
    fn says_which_file_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let good = settings(folder.path());
        let missing = Tls { cert: Some("no-such.pem".to_owned()), ..good.clone() };
        let error = acceptor(&missing).err().unwrap().to_string();
        assert!(error.contains("no-such.pem"), "{error}");
        let swapped = Tls { cert: good.key.clone(), ..good };
        let error = acceptor(&swapped).err().unwrap().to_string();
        assert!(error.contains("there is no certificate"), "{error}");
    }
}
