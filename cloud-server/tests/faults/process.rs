//! The real server in a process of its own, which can be stopped and killed.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::checkpoint::checkpoint;

/// Longest wait for anything; only a failing test waits that long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `msao-server` with the tiny checkpoint; killed when dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
}

/// The program with what every test needs.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_msao-server"));
    let weights = checkpoint().parent().unwrap().to_owned();
    command.env("MSAO_WEIGHTS", weights).args(["--model", "tiny", "--edge-model", "tiny"]);
    command.args(["--draft-model", "none"]).env("MSAO_LOG", "warn");
    // However busy the machine is that tests run on.
    command.env("MSAO_MAX_WAIT_MS", "60000");
    command
}

impl Process {
    pub(crate) fn start(listen: SocketAddr, more: &[&str]) -> Self {
        let mut command = command();
        command.args(["--listen", &listen.to_string()]).args(more);
        Self::spawn(command)
    }

    /// Starts the program as it was put together.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let host = line.split("http://").nth(1).and_then(|rest| rest.split('/').next());
        let address = host.and_then(|host| host.parse().ok()).unwrap_or_else(|| panic!("not ready: {line}"));
        Self { child, address }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Tells it to stop, as a supervisor does.
    pub(crate) fn terminate(&self) {
        let id = self.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }

    /// Ends it without a word, as a crash does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "the server does not end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
