//! TLS with certificates made here.

use std::sync::Arc;
use std::time::Duration;

use msao_protocol::{ClientMessage, ServerMessage, frame};
use msao_server::Access;
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use futures_util::{SinkExt as _, StreamExt as _};

use crate::support::{Options, TestServer};
use crate::world::{KeysFile, eventually, http_over, options};

fn certificate() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap()
}

/// A connection that trusts this certificate alone.
async fn connect(
    server: &TestServer,
    trusted: &CertifiedKey<KeyPair>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.cert.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect(server.address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), tcp).await
}

fn refused(flags: &[&str]) -> String {
    Access::configured(&options(flags), vec![]).err().unwrap().to_string()
}

#[actix_web::test]
async fn pages_and_sessions_are_served_encrypted_and_renewed() {
    let files = KeysFile::new();
    let first = certificate();
    let cert = files.file("cert.pem", first.cert.pem().as_bytes());
    let key = files.file("key.pem", first.signing_key.serialize_pem().as_bytes());
    let access = Access::configured(&options(&["--tls-cert", &cert, "--tls-key", &key]), vec![]).unwrap();
    assert!(access.has_tls());
    let server = TestServer::start(Options { access, ..Options::default() });

    let stream = connect(&server, &first).await.unwrap();
    let reply = http_over(stream, "localhost", "GET /healthz", &[], "").await;
    assert_eq!(reply.status, 200);
    let stream = connect(&server, &first).await.unwrap();
    let (mut socket, _) = client_async("wss://localhost/v1/session", stream).await.unwrap();
    let hello = frame::encode(&ClientMessage::Hello { client: "test".into() }).unwrap();
    socket.send(Message::Binary(hello.into())).await.unwrap();
    let Some(Ok(Message::Binary(bytes))) = socket.next().await else { panic!("no welcome") };
    assert!(matches!(frame::decode(&bytes).unwrap(), ServerMessage::Welcome { .. }));

    // Nothing is answered in the clear.
    let mut plain = TcpStream::connect(server.address).await.unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut reply = Vec::new();
    let _ = plain.read_to_end(&mut reply).await;
    assert!(!reply.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&reply));

    // A renewed certificate is taken up; until both files fit each other, the old one stays.
    let second = certificate();
    files.file("cert.pem", second.cert.pem().as_bytes());
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert!(connect(&server, &first).await.is_ok(), "half a renewal is none");
    files.file("key.pem", second.signing_key.serialize_pem().as_bytes());
    eventually("the new certificate is served", || async { connect(&server, &second).await.is_ok() }).await;
    assert!(connect(&server, &first).await.is_err());
}

#[test]
fn files_that_do_not_fit_say_so() {
    let files = KeysFile::new();
    let (one, other) = (certificate(), certificate());
    let cert = files.file("cert.pem", one.cert.pem().as_bytes());
    let key = files.file("key.pem", one.signing_key.serialize_pem().as_bytes());
    let other_key = files.file("other.pem", other.signing_key.serialize_pem().as_bytes());
    let empty = files.file("empty.pem", b"");
    assert!(refused(&["--tls-cert", &cert]).contains("--tls-key"));
    assert!(refused(&["--tls-key", &key]).contains("--tls-cert"));
    for (cert, key, named) in
        [(&cert, &other_key, &cert), (&empty, &key, &empty), (&cert, &empty, &empty), (&cert, &cert, &cert)]
    {
        let said = refused(&["--tls-cert", cert, "--tls-key", key]);
        assert!(said.contains(named.as_str()), "{said}");
    }
    assert!(refused(&["--tls-cert", "no/such", "--tls-key", &key]).contains("no/such"));
}
