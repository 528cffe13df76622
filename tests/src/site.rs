//! Serves a few fixed pages, so that the harness can be tested without the page it is for.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use anyhow::Result;

/// A tiny web server on a free port of `localhost`. It lives as long as the process.
pub struct Site {
    port: u16,
}

impl Site {
    /// Serves each path with its HTML.
    ///
    /// # Errors
    /// If there is no free port.
    pub fn serve(pages: &[(&'static str, &'static str)]) -> Result<Self> {
        let pages: HashMap<_, _> = pages.iter().copied().collect();
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A browser that goes away in the middle of a reply is no fault of the site.
                let _ = answer(stream, &pages);
            }
        });
        Ok(Self { port })
    }

    /// The address of a path. `localhost` is a secure context, so cameras work.
    pub fn url(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.port)
    }
}

fn answer(mut stream: TcpStream, pages: &HashMap<&str, &str>) -> std::io::Result<()> {
    let mut request = String::new();
    BufReader::new(stream.try_clone()?).read_line(&mut request)?;
    let path = request.split(' ').nth(1).unwrap_or_default();
    let (status, body) = pages.get(path).map_or(("404 Not Found", ""), |body| ("200 OK", *body));
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}
