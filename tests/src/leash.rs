//! Child processes that never outlive the test: not after a panic, and not when the test itself is killed.
//!
//! A small shell stands between. It ends the program as soon as its own standard input closes, and the system
//! closes that pipe however this process ends.

use std::{
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
};

use anyhow::{Context, Result};

/// The shell's part: keep the pipe as descriptor 3, start the program, and end it when the pipe closes.
const SCRIPT: &str = "exec 3<&0
\"$@\" </dev/null 3<&- & program=$!
{ cat <&3; kill -KILL $program; } >/dev/null 2>&1 &
exec 3<&-
wait $program";

/// A program that ends when this is dropped.
pub struct Leash {
    shell: Child,
}

impl Leash {
    /// Starts a program; what it writes to its standard error goes to the file `log`.
    ///
    /// # Errors
    /// If the log cannot be made or there is no shell. A program that does not start shows in [`Self::ended`].
    pub fn start(program: &Path, arguments: &[String], log: &Path) -> Result<Self> {
        let log = std::fs::File::create(log).with_context(|| format!("cannot make {}", log.display()))?;
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "leash"])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { shell })
    }

    /// How the program ended; `None` while it runs.
    ///
    /// # Errors
    /// If the system cannot say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.shell.try_wait()?)
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // The shell waits for the program it has just killed.
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use super::*;

    fn start(name: &str, arguments: &[&str]) -> Leash {
        let log = std::env::temp_dir().join(format!("msao-leash-{name}-{}", std::process::id()));
        let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let leash = Leash::start(Path::new("/bin/sh"), &arguments, &log).unwrap();
        std::fs::remove_file(log).unwrap();
        leash
    }

    #[test]
    fn dropping_the_leash_ends_the_program() {
        let file = std::env::temp_dir().join(format!("msao-leash-alive-{}", std::process::id()));
        let script = format!("while true; do touch {}; sleep 0.05; done", file.display());
        let leash = start("loop", &["-c", &script]);
        while !file.exists() {
            thread::sleep(Duration::from_millis(10));
        }
        drop(leash);
        std::fs::remove_file(&file).unwrap();
        thread::sleep(Duration::from_millis(300));
        assert!(!file.exists(), "the program still runs");
    }

    #[test]
    fn a_program_that_ends_by_itself_is_noticed() {
        let mut leash = start("exit", &["-c", "exit 3"]);
        let status = loop {
            if let Some(status) = leash.ended().unwrap() {
                break status;
            }
            thread::sleep(Duration::from_millis(10));
        };
        assert_eq!(status.code(), Some(3));
    }
}
