//! Serves a few fixed pages: those of another site than the server's, and those that the harness itself is tested with.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    thread,
};

use anyhow::Result;

/// A tiny web server on a free port of this machine. It lives as long as the process.
pub struct Site {
    port: u16,
    host: &'static str,
}

/// What a site serves at a path.
#[derive(Debug, Clone)]
struct File {
    content_type: &'static str,
    body: Vec<u8>,
}

impl Site {
    /// Serves each path with its HTML, on `localhost`.
    ///
    /// # Errors
    /// If there is no free port.
    pub fn serve(pages: &[(&'static str, &'static str)]) -> Result<Self> {
        let mut site = OtherSite::bind("localhost")?;
        for (path, body) in pages {
            site.add(path, *body);
        }
        Ok(site.open())
    }

    /// The address of a path. `localhost` and `127.0.0.1` are secure contexts, so cameras work.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}:{}{path}", self.host, self.port)
    }
}

/// A site that is being put together. Its address is known already, so that a server can be told to allow it.
pub struct OtherSite {
    listener: TcpListener,
    host: &'static str,
    files: HashMap<String, File>,
    policy: Option<String>,
}

impl OtherSite {
    /// A site without pages. For browsers `127.0.0.1` is another site than `localhost`.
    ///
    /// # Errors
    /// If there is no free port.
    pub fn bind(host: &'static str) -> Result<Self> {
        Ok(Self { listener: TcpListener::bind("127.0.0.1:0")?, host, files: HashMap::new(), policy: None })
    }

    /// Its origin, as a browser writes it.
    ///
    /// # Errors
    /// If the system does not tell the port.
    pub fn origin(&self) -> Result<String> {
        Ok(format!("http://{}:{}", self.host, self.listener.local_addr()?.port()))
    }

    /// Sends this `Content-Security-Policy` with all pages.
    pub fn restrict(&mut self, policy: impl Into<String>) {
        self.policy = Some(policy.into());
    }

    /// Serves a path.
    pub fn add(&mut self, path: &str, body: impl Into<Vec<u8>>) {
        let content_type = match path.rsplit_once('.').map_or("", |(_name, extension)| extension) {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "png" => "image/png",
            "wasm" => "application/wasm",
            _ => "text/html; charset=utf-8",
        };
        self.files.insert(path.to_owned(), File { content_type, body: body.into() });
    }

    /// Serves all files of a folder, its subfolders included, `index.html` at `/`.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn add_folder(&mut self, folder: &Path, below: &str) -> Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = format!("{below}/{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                self.add_folder(&entry.path(), &path)?;
            } else {
                let body = fs::read(entry.path())?;
                if path == "/index.html" {
                    self.add("/", body.clone());
                }
                self.add(&path, body);
            }
        }
        Ok(())
    }

    /// Begins to serve.
    ///
    /// # Panics
    /// If the system does not tell the port of a socket that is bound.
    pub fn open(self) -> Site {
        let Self { listener, host, files, policy } = self;
        let port = listener.local_addr().expect("a bound socket has an address").port();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (files, policy) = (files.clone(), policy.clone());
                // Browsers open connections beforehand and say nothing on them for a while.
                thread::spawn(move || {
                    // A browser that goes away in the middle of a reply is no fault of the site.
                    let _ = answer(stream, &files, policy.as_deref());
                });
            }
        });
        Site { port, host }
    }
}

fn answer(mut stream: TcpStream, files: &HashMap<String, File>, policy: Option<&str>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut line = String::from("-");
    // Closing with something unread would take the reply back.
    while !line.trim().is_empty() {
        line.clear();
        reader.read_line(&mut line)?;
    }
    let path = request.split(' ').nth(1).unwrap_or_default();
    let missing = File { content_type: "text/plain", body: Vec::new() };
    let (status, file) = files.get(path).map_or(("404 Not Found", &missing), |file| ("200 OK", file));
    let policy = policy.map(|policy| format!("Content-Security-Policy: {policy}\r\n")).unwrap_or_default();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {}\r\n{policy}Content-Length: {}\r\nConnection: close\r\n\r\n",
        file.content_type,
        file.body.len()
    )?;
    stream.write_all(&file.body)
}
