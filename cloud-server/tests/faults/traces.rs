//! Traces reach a collector, as parts of the callers' own: `cargo test -p msao-server --features otel --test faults`.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use crate::process::Process;

/// The caller's trace, as `traceparent` writes it and as it stands in the spans that are sent.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACE_BYTES: [u8; 16] =
    [0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36];

#[actix_web::test]
async fn a_request_is_part_of_its_callers_trace() {
    let collector = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let endpoint = format!("http://{}/v1/traces", collector.local_addr().unwrap());
    let received = thread::spawn(move || receive(&collector));
    let mut server =
        Process::start(([127, 0, 0, 1], 0).into(), &["--otlp-endpoint", &endpoint, "--log", "info"]);
    let mut client = TcpStream::connect(server.address).unwrap();
    let request = format!(
        "GET /healthz HTTP/1.0\r\nHost: {}\r\ntraceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\n\r\n",
        server.address
    );
    client.write_all(request.as_bytes()).unwrap();
    client.read_to_end(&mut Vec::new()).unwrap();
    server.terminate();
    let (head, body) = received.join().unwrap();
    assert!(head.starts_with("POST /v1/traces"), "{head}");
    let holds = |bytes: &[u8]| body.windows(bytes.len()).any(|window| window == bytes);
    assert!(holds(b"msao-server") && holds(b"/healthz") && holds(&TRACE_BYTES), "{} bytes", body.len());
    assert_eq!(server.ended().await.code(), Some(0));
}

/// Takes one request: its head and its body.
fn receive(collector: &TcpListener) -> (String, Vec<u8>) {
    let (mut socket, _) = collector.accept().unwrap();
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap()];
    socket.read_exact(&mut body).unwrap();
    socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    (head, body)
}
