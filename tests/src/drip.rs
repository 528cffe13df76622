//! A line to the server for downloads: slow where it is told to be, cut in the middle where it is told to be, and it
//! remembers what was asked for.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::Result;

/// A line that is cut falls silent first: a browser throws away what a page had no time to read.
const SILENCE: Duration = Duration::from_secs(2);
/// Passed on at a time while the line is slow.
const DROP_BYTES: usize = 8 * 1024;

/// A file that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Path of the request.
    pub path: String,
    /// First byte of the part that was asked for; `None` for all of it.
    pub from_byte: Option<u64>,
}

/// The line, as long as the test lives.
pub struct Drip {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    asked: Vec<Asked>,
    /// What paths end in that are slow or cut.
    about: String,
    bytes_per_s: Option<u64>,
    /// Bytes of a reply after which it is cut, and how often that is still to happen.
    cut: Option<(u64, u32)>,
}

impl Drip {
    /// A line to a server that does nothing special yet.
    ///
    /// # Errors
    /// If this machine gives no port.
    pub fn to(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let state = Arc::<Mutex<State>>::default();
        let all_state = Arc::clone(&state);
        thread::spawn(move || {
            for browser in listener.incoming().flatten() {
                let state = Arc::clone(&all_state);
                // Either side may go at any time: the other one sees the same as without us.
                thread::spawn(move || pass_on(browser, server, &state));
            }
        });
        Ok(Self { address, state })
    }

    /// The address of the server behind it, for a browser.
    pub fn site(&self) -> String {
        format!("http://localhost:{}", self.address.port())
    }

    /// Lets replies to paths that end in `about` through at this rate from now on; `None` lifts it.
    pub fn slow(&self, about: &str, bytes_per_s: Option<u64>) {
        let mut state = lock(&self.state);
        about.clone_into(&mut state.about);
        state.bytes_per_s = bytes_per_s;
    }

    /// Cuts the next `times` replies to paths that end in `about` after so many bytes, head included.
    pub fn cut(&self, about: &str, after_bytes: u64, times: u32) {
        let mut state = lock(&self.state);
        about.clone_into(&mut state.about);
        state.cut = Some((after_bytes, times));
    }

    /// What was asked for so far, of paths that end in `about`.
    pub fn asked(&self, about: &str) -> Vec<Asked> {
        lock(&self.state).asked.iter().filter(|asked| asked.path.ends_with(about)).cloned().collect()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is being replied to on one connection, and how much of it has passed.
#[derive(Default)]
struct Reply {
    path: String,
    passed_bytes: u64,
}

fn pass_on(mut browser: TcpStream, server: SocketAddr, state: &Arc<Mutex<State>>) -> Option<()> {
    let mut server = TcpStream::connect(server).ok()?;
    let (from_server, to_browser) = (server.try_clone().ok()?, browser.try_clone().ok()?);
    let reply = Arc::new(Mutex::new(Reply::default()));
    let (its_state, its_reply) = (Arc::clone(state), Arc::clone(&reply));
    thread::spawn(move || pass_back(from_server, to_browser, &its_state, &its_reply));
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = browser.read(&mut buffer) {
        // Requests for files are small: each comes in one piece.
        if let Some(asked) = Asked::of(&buffer[..count]) {
            let mut reply = reply.lock().unwrap_or_else(PoisonError::into_inner);
            *reply = Reply { path: asked.path.clone(), passed_bytes: 0 };
            lock(state).asked.push(asked);
        }
        if server.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = (browser.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
    Some(())
}

fn pass_back(mut server: TcpStream, mut browser: TcpStream, state: &Mutex<State>, reply: &Mutex<Reply>) {
    let mut buffer = vec![0; DROP_BYTES];
    while let Ok(count @ 1..) = server.read(&mut buffer) {
        let (path, passed) = {
            let mut reply = reply.lock().unwrap_or_else(PoisonError::into_inner);
            reply.passed_bytes += count as u64;
            (reply.path.clone(), reply.passed_bytes)
        };
        let pause = {
            let mut state = lock(state);
            let is_about = !state.about.is_empty() && path.ends_with(&state.about);
            let is_cut = match &mut state.cut {
                Some((after, times)) if is_about && *times > 0 && passed > *after => {
                    *times -= 1;
                    true
                }
                _ => false,
            };
            if is_cut {
                drop(state);
                thread::sleep(SILENCE);
                break;
            }
            state.bytes_per_s.filter(|_| is_about).map(|rate| count as f64 / rate as f64)
        };
        if let Some(pause_s) = pause {
            thread::sleep(Duration::from_secs_f64(pause_s));
        }
        if browser.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = (browser.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
}

impl Asked {
    /// The request that these bytes begin; `None` for whatever else a browser sends.
    fn of(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes.strip_prefix(b"GET ").map(|_| bytes)?);
        let mut lines = text.split("\r\n");
        let path = lines.next()?.split(' ').nth(1)?.split('?').next()?.to_owned();
        let range = lines.find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("range").then_some(value)
        });
        let from_byte = range.and_then(|range| range.strip_prefix("bytes=")?.split('-').next()?.parse().ok());
        Some(Self { path, from_byte })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_tells_its_path_and_where_it_begins() {
        let asked = |text: &str| Asked::of(text.as_bytes()).map(|asked| (asked.path, asked.from_byte));
        let whole = asked("GET /a/b.bin?x=1 HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(whole, Some(("/a/b.bin".to_owned(), None)));
        let part = asked("GET /b HTTP/1.1\r\nrange: bytes=700-\r\n\r\n");
        assert_eq!(part, Some(("/b".to_owned(), Some(700))));
        assert_eq!(asked("\u{1}\u{2}"), None);
    }
}
