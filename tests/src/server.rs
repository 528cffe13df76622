//! The real server, as an operator starts it: the `msao-server` binary on a free port of this machine.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{leash::Leash, places};

/// Loading and warming up the checkpoint included, on a machine that is busy with other things.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// A running server; killed when dropped.
pub struct Server {
    process: Leash,
    address: SocketAddr,
    log: PathBuf,
}

impl Server {
    /// Starts a server with the shipped weights and the built page, and waits until it is healthy.
    ///
    /// # Errors
    /// If its binary has not been built, or it does not get healthy; then with its own last words.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// As [`Self::start`], with further flags: where `--weights` is among them, not with the shipped weights.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(flags: &[String]) -> Result<Self> {
        // Bound to port 0 to learn a free one; free again when the listener is dropped.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        Self::start_as(port, flags)
    }

    /// As [`Self::start`], on a port of the caller's choice.
    ///
    /// # Errors
    /// As [`Self::start`]; also if the port is taken.
    pub fn start_on(port: u16) -> Result<Self> {
        Self::start_as(port, &[])
    }

    /// As [`Self::start_with`], on a port of the caller's choice. Where `--page` is among the flags, not with the built
    /// page.
    ///
    /// # Errors
    /// As [`Self::start_on`].
    pub fn start_as(port: u16, flags: &[String]) -> Result<Self> {
        let (binary, page) = (binary()?, places::page());
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut arguments = vec!["--listen".into(), address.to_string()];
        for (flag, folder) in [("--page", page), ("--weights", places::weights())] {
            if !flags.iter().any(|given| given == flag) {
                arguments.extend([flag.into(), folder.display().to_string()]);
            }
        }
        arguments.extend_from_slice(flags);
        let log = std::env::temp_dir().join(format!("msao-server-{}-{port}.log", std::process::id()));
        let process = Leash::start(&binary, &arguments, &log)?;
        let mut server = Self { process, address, log };
        server.wait_until_healthy()?;
        Ok(server)
    }

    /// A server for all tests of one process that want nothing special: started by the first, ended with the
    /// last that still holds it.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn shared() -> Result<Arc<Self>> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return Ok(server);
        }
        // Tests that ask side by side are answered however busy the machine is.
        let patient = ["--max-wait-ms", "60000"].map(str::to_owned);
        let server = Arc::new(Self::start_with(&patient)?);
        *shared = Arc::downgrade(&server);
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of a path, for a browser. `localhost` is a secure context, so cameras work.
    pub fn url(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.address.port())
    }

    /// Whether `/healthz` says that all is well.
    pub fn is_healthy(&self) -> bool {
        get(self.address, "/healthz").is_ok_and(|reply| reply.starts_with("HTTP/1.1 200"))
    }

    fn wait_until_healthy(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while !self.is_healthy() {
            if let Some(status) = self.process.ended()? {
                bail!("the server ended at once ({status}): {}", self.log());
            }
            if Instant::now() > deadline {
                bail!("the server is not healthy after {START_TIMEOUT:?}: {}", self.log());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// What the server has written to its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.log);
    }
}

/// The server's binary: built beside the tests, in the same profile.
///
/// # Errors
/// If it has not been built.
pub fn binary() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let beside = |folder: &Path| folder.join(format!("msao-server{}", std::env::consts::EXE_SUFFIX));
    // Tests live in `<profile>/deps`, binaries such as the bench in `<profile>`.
    test.ancestors().skip(1).take(2).map(beside).find(|path| path.is_file()).context(
        "the server is not built: run `cargo build -p msao-server`, or all tests by `cargo xtask test`",
    )
}

/// The reply to a GET request, head and body.
fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    Ok(reply)
}
