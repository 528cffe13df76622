//! A server with keys, the command that manages them, and a client of bare HTTP.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser as _;
use msao_protocol::{ClientMessage, ServerMessage};
use msao_server::Access;
use msao_server::access::AccessOptions;
use msao_server::config::{Cli, Command};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::Response;

use crate::support::{Client, Options, TestServer};

/// A page that the server lets in.
pub(crate) const FRIEND: &str = "https://friend.test";

/// Options of the command line.
pub(crate) fn options(flags: &[&str]) -> AccessOptions {
    Cli::parse_from(std::iter::once(&"msao-server").chain(flags)).server.access
}

/// A folder with a file of keys, gone with the test.
pub(crate) struct KeysFile {
    folder: tempfile::TempDir,
}

impl KeysFile {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("keys.json")
    }

    pub(crate) fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    /// Runs `msao-server keys`; gives what it prints.
    pub(crate) fn command(&self, arguments: &[&str]) -> Result<String, String> {
        let file = self.path().display().to_string();
        let always = ["msao-server", "keys", "--keys-file", &file];
        let cli = Cli::parse_from(always.iter().chain(arguments));
        let Some(Command::Keys(keys)) = cli.command else { panic!("not about keys: {arguments:?}") };
        let mut output = Vec::new();
        keys.run(&mut output, &mut std::io::sink()).map_err(|error| format!("{error:#}"))?;
        Ok(String::from_utf8(output).unwrap())
    }

    /// Makes a key; gives all of it.
    pub(crate) fn create(&self, flags: &[&str]) -> String {
        let arguments: Vec<&str> = ["create", "--name", "test"].iter().chain(flags).copied().collect();
        self.command(&arguments).unwrap().trim().to_owned()
    }

    pub(crate) fn change(&self, act: impl FnOnce(&mut Value)) {
        let mut json: Value = serde_json::from_slice(&std::fs::read(self.path()).unwrap()).unwrap();
        act(&mut json);
        std::fs::write(self.path(), serde_json::to_vec(&json).unwrap()).unwrap();
    }

    pub(crate) fn access(&self, flags: &[&str]) -> Access {
        let file = self.path().display().to_string();
        let flags: Vec<&str> = ["--keys-file", &file].iter().chain(flags).copied().collect();
        Access::configured(&options(&flags), vec!["tiny".to_owned()]).unwrap()
    }

    pub(crate) fn serve(&self, flags: &[&str]) -> TestServer {
        TestServer::start(Options { access: self.access(flags), ..Options::default() })
    }
}

/// The part of a key that may be shown.
pub(crate) fn id_of(key: &str) -> &str {
    key.split('_').nth(1).unwrap()
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The code of an error in OpenAI's form.
    pub(crate) fn error_code(&self) -> String {
        let error = &self.json()["error"];
        assert!(error["message"].as_str().is_some_and(|message| message.len() > 20), "{error}");
        assert!(error["type"].is_string() && error["param"].is_null(), "{error}");
        error["code"].as_str().unwrap().to_owned()
    }
}

/// One request, its address as written.
pub(crate) async fn http(server: &TestServer, line: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let stream = TcpStream::connect(server.address).await.unwrap();
    http_over(stream, &server.address.to_string(), line, headers, body).await
}

pub(crate) async fn http_over(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    host: &str,
    line: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Reply {
    let named = headers.iter().any(|(name, _)| *name == "host");
    let host = if named { String::new() } else { format!("host: {host}\r\n") };
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let request = format!(
        "{line} HTTP/1.1\r\n{host}{headers}connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    // A server that has refused may close before it has read everything.
    let read = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut reply)).await;
    let _ = read.expect("the server answers and closes");
    let reply = String::from_utf8_lossy(&reply).into_owned();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no reply: {reply}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { status, head: head.to_owned(), body: body.to_owned() }
}

/// A bearer's header.
pub(crate) fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

pub(crate) type Upgraded = Result<(Client, Response<Option<Vec<u8>>>), Box<Response<Option<Vec<u8>>>>>;

/// Asks for a WebSocket; what was answered, if it was refused.
pub(crate) async fn upgrade(server: &TestServer, headers: &[(&'static str, &str)]) -> Upgraded {
    let mut request = server.url().into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    match connect_async(request).await {
        Ok((socket, response)) => Ok((Client::new(socket), response)),
        Err(Error::Http(response)) => Err(response),
        Err(error) => panic!("neither a session nor a refusal: {error}"),
    }
}

/// The status of a refused upgrade; 101 for one that was not.
pub(crate) async fn upgrade_status(server: &TestServer, headers: &[(&'static str, &str)]) -> u16 {
    upgrade(server, headers).await.map_or_else(|refused| refused.status().as_u16(), |_| 101)
}

/// A greeted session with these headers.
pub(crate) async fn session(server: &TestServer, headers: &[(&'static str, &str)]) -> Client {
    let (mut client, _) = upgrade(server, headers).await.unwrap_or_else(|refused| panic!("{refused:?}"));
    client.send(&ClientMessage::Hello { client: "test".into() }).await;
    assert!(matches!(client.next().await, ServerMessage::Welcome { .. }));
    client
}

/// Tries until it holds; only a failing test waits long.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < Duration::from_secs(30), "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
