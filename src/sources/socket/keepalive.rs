//! Notices that the other side of a connection is gone.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Who only reads hears nothing of a machine that lost its power or its network, and would wait for
/// ever. After this long without a byte the other side is asked whether it is there: rare enough to
/// cost nothing, and often enough for the routers in between, most of which forget a silent
/// connection only after minutes.
const IDLE: Duration = Duration::from_secs(60);
/// Without an answer it is asked again this long after.
const INTERVAL: Duration = Duration::from_secs(10);
/// As many questions without an answer end the connection: a minute, which a restart of a switch or
/// a short loss of a radio link does not take.
const QUESTIONS: u32 = 6;

/// Lets the system watch over a connection. One that it cannot watch over is still good.
pub(super) fn watch(stream: &TcpStream, source: &str) {
    let keepalive = TcpKeepalive::new().with_time(IDLE).with_interval(INTERVAL).with_retries(QUESTIONS);
    if let Err(error) = SockRef::from(stream).set_tcp_keepalive(&keepalive) {
        tracing::debug!(source, "the connection has no keepalive: {error}");
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_system_watches_over_the_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        assert!(!SockRef::from(&stream).keepalive().unwrap());
        watch(&stream, "lines");
        assert!(SockRef::from(&stream).keepalive().unwrap());
        #[cfg(target_os = "linux")]
        {
            let socket = SockRef::from(&stream);
            assert_eq!(socket.tcp_keepalive_time().unwrap(), IDLE);
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), INTERVAL);
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), QUESTIONS);
        }
    }
}
