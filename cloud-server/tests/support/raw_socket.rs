//! A connection that has been upgraded to a session, without a WebSocket library on this side.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Connects and upgrades; what follows are bare WebSocket frames.
pub(crate) async fn upgraded(address: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /v1/session HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    while !reply.ends_with(b"\r\n\r\n") {
        reply.push(socket.read_u8().await.unwrap());
    }
    assert!(reply.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&reply));
    socket
}
