use std::time::Duration as StdDuration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::*;
use crate::sources::receiver::ReceiverSource;
use crate::sources::receiver::testing::{ALL, check, context, texts};

fn rules() -> Rules {
    Rules { name: "lines".to_owned(), max_line: default_max_line(), on_error: OnError::Fail }
}

/// Asks until the source is finished.
async fn all(source: &mut ReceiverSource) -> Vec<String> {
    loop {
        let end = source.latest(ALL).await.unwrap();
        if source.is_finished() {
            return texts(&source.read(&source.start(), &end).await.unwrap());
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_client_connects_again_until_it_is_stopped() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (context, _) = context();
    let (sender, receiver) = receiver::channel(&context);
    let client = Client {
        host: "127.0.0.1".to_owned(),
        port,
        tls: None,
        rules: rules(),
        longest_pause: StdDuration::ZERO,
        available_now: false,
    };
    let mut source = receiver.run(InputFormat::default().decoder().unwrap(), None, client.run(sender));
    for text in ["a\nb", "c\n"] {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
    }
    // The third attempt shows that the second connection was read to its end.
    let _third = listener.accept().await.unwrap();
    source.stop().await;
    assert_eq!(all(&mut source).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_server_serves_many_clients() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (context, _) = context();
    let (sender, receiver) = receiver::channel(&context);
    let server = Server { tls: None, rules: Arc::new(rules()), available_now: true };
    let mut first = TcpStream::connect(address).await.unwrap();
    let mut second = TcpStream::connect(address).await.unwrap();
    let mut source = receiver.run(InputFormat::default().decoder().unwrap(), None, server.run(listener, sender));
    first.write_all(b"a\nb\n").await.unwrap();
    second.write_all(b"c\nd").await.unwrap();
    drop((first, second));
    let mut lines = all(&mut source).await;
    lines.sort();
    assert_eq!(lines, ["a", "b", "c", "d"]);
}

#[test]
fn a_socket_is_a_client_or_a_server() {
    for (yaml, code) in [
        ("{ host: localhost, port: 9999 }", None),
        ("{ listen: '0.0.0.0:9999' }", None),
        ("{ listen: '[::]:9999', format: { json: { schema: { a: long } } } }", None),
        ("{ max_rate: 5 }", Some("SR0202")),
        ("{ host: localhost }", Some("SR0202")),
        ("{ port: 9999 }", Some("SR0202")),
        ("{ host: localhost, port: 9999, listen: '0.0.0.0:9999' }", Some("SR0209")),
        ("{ listen: '9999' }", Some("SR0204")),
        ("{ host: localhost, port: 9999, format: { csv: { schema: { a: long } } } }", Some("SR0204")),
        ("{ host: localhost, port: 9999, max_rate: 0 }", Some("SR0204")),
        ("{ listen: '0.0.0.0:9999', tls: { cert: a.pem } }", Some("SR0202")),
    ] {
        let (checked, findings) = check::<Socket>(yaml);
        assert_eq!(findings.first().map(|finding| finding.code.name()), code, "{yaml}");
        assert_eq!(checked.is_some(), code.is_none(), "{yaml}");
    }
}

#[test]
fn only_a_plain_client_can_be_fed() {
    let feed = |yaml| check::<Socket>(yaml).0.and_then(|source| source.feed);
    assert_eq!(feed("{ host: localhost, port: 9999 }"), Some(("localhost".to_owned(), 9999)));
    assert_eq!(feed("{ host: localhost, port: 9999, tls: {} }"), None);
    assert_eq!(feed("{ listen: '0.0.0.0:9999' }"), None);
}
