//! How a step looks to the one who waits for it: what is done and about how long it takes, a heartbeat while it
//! goes on, and on failure the end of its log together with the remedy.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::workspace;

/// How often a long step says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Steps shorter than this do not report how long they took.
const WORTH_REPORTING: Duration = Duration::from_secs(3);
/// How much of a failed step's log is shown.
const TAIL_LINES: usize = 40;

/// A step whose output goes to a log.
pub(crate) struct Step<'a> {
    /// What is done, as in "building the page".
    pub(crate) title: &'a str,
    /// About how long it takes the first time; empty for a quick step.
    pub(crate) estimate: &'a str,
    /// What to do when it fails.
    pub(crate) remedy: &'a str,
}

impl Step<'_> {
    /// Runs the command, its output going to `target/xtask-logs/`.
    ///
    /// # Errors
    /// If the command cannot be started or fails; the message carries the log's end and the remedy.
    pub(crate) fn run(&self, command: &mut Command) -> Result<()> {
        announce(self.title, self.estimate);
        let log = log_path(self.title)?;
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);

        let started = Instant::now();
        let mut child = command.spawn().with_context(|| {
            format!("cannot start {}; {}", command.get_program().to_string_lossy(), self.remedy)
        })?;
        let status = with_heartbeat(&log, || child.wait())?;
        if !status.success() {
            let tail = tail(&log, TAIL_LINES);
            let (title, remedy) = (self.title, self.remedy);
            bail!(
                "{title} failed ({status}):\n\n{tail}\n\nThe whole log: {}\nRemedy: {remedy}",
                log.display()
            );
        }
        if started.elapsed() >= WORTH_REPORTING {
            println!("    done in {}", in_words(started.elapsed()));
        }
        Ok(())
    }
}

/// Runs a command whose output is for the reader, such as tests and lints.
///
/// # Errors
/// If the command cannot be started or fails.
pub(crate) fn run_visibly(title: &str, estimate: &str, command: &mut Command) -> Result<()> {
    announce(title, estimate);
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))?;
    if !status.success() {
        bail!("{title} failed, see above");
    }
    Ok(())
}

/// Says what begins now.
pub(crate) fn announce(title: &str, estimate: &str) {
    if estimate.is_empty() {
        println!("==> {title}");
    } else {
        println!("==> {title} ({estimate} the first time)");
    }
}

/// Something that is left out, which nobody must overlook.
pub(crate) fn loudly_skipped(what: &str, remedy: &str) {
    println!("\n!!! SKIPPED: {what}\n!!! {remedy}\n");
}

/// A duration as people say it: `4 s`, `2 min 05 s`.
pub(crate) fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs_f64().round() as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        _ => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

/// Waits for `wait`, printing a line with the elapsed time and the log's last line now and then.
fn with_heartbeat<T: Send>(log: &Path, wait: impl FnOnce() -> T + Send) -> T {
    let (finished, watch) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            let started = Instant::now();
            while watch.recv_timeout(HEARTBEAT) == Err(mpsc::RecvTimeoutError::Timeout) {
                let last = tail(log, 1);
                let last: String = last.trim().chars().take(70).collect();
                println!("    {:>12}  {last}", in_words(started.elapsed()));
            }
        });
        let result = wait();
        drop(finished);
        result
    })
}

fn log_path(title: &str) -> Result<PathBuf> {
    let folder = workspace::target_folder().join("xtask-logs");
    fs::create_dir_all(&folder)?;
    let slug: String = title.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    Ok(folder.join(slug.to_lowercase()).with_extension("log"))
}

fn tail(log: &Path, lines: usize) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_in_words() {
        assert_eq!(in_words(Duration::from_millis(3_600)), "4 s");
        assert_eq!(in_words(Duration::from_secs(125)), "2 min 05 s");
    }

    #[test]
    fn a_failure_shows_its_log_and_the_remedy() {
        let step = Step { title: "xtask test of a failure", estimate: "", remedy: "turn it on" };
        let mut command = Command::new("sh");
        command.args(["-c", "echo no power; exit 3"]);
        let message = step.run(&mut command).expect_err("fails").to_string();
        assert!(message.contains("no power") && message.contains("turn it on"), "{message}");
    }
}
