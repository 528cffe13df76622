//! `cargo xtask run`: the page, and the server in front of it.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{page, progress::Step, tools::Tools, workspace};

const FIRST_PORT: u16 = 8080;
/// So many ports are tried after the first.
const PORTS_TRIED: u16 = 50;
/// Loading the cloud model takes a few seconds on a slow machine.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// Builds everything, starts the server and stays until it ends.
///
/// # Errors
/// If something cannot be built, or the server fails.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let options = Options::parse(arguments)?;
    page::build(&Tools::ensure()?)?;
    build_server(&options.features)?;

    let address = match options.listen()? {
        Some(address) => address,
        None => free_address()?,
    };
    let mut command = Command::new(server_binary());
    command.current_dir(workspace::root()).args(&options.server);
    if options.listen()?.is_none() {
        command.args(["--listen", &address.to_string()]);
    }
    let mut server = command.spawn().context("cannot start the server")?;
    wait_until_it_answers(&mut server, address)?;
    println!("\n    Open http://{address}/   (Ctrl-C stops the server)\n");
    let status = server.wait()?;
    if !status.success() {
        bail!("the server ended with {status}, see above");
    }
    Ok(())
}

/// What stands behind `cargo xtask run`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    /// Cargo features of the server.
    features: String,
    /// Flags for the server.
    server: Vec<String>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--" => options.server = arguments.by_ref().cloned().collect(),
                "--features" => {
                    options.features = arguments.next().context("--features needs a list")?.clone();
                }
                other => bail!("`run` does not know `{other}`; the server's own flags come after `--`"),
            }
        }
        Ok(options)
    }

    /// The address that the server was told to listen on, if any.
    fn listen(&self) -> Result<Option<SocketAddr>> {
        let mut flags = self.server.iter();
        while let Some(flag) = flags.next() {
            let value = match flag.strip_prefix("--listen") {
                Some("") => flags.next().context("--listen needs an address")?,
                Some(value) => value.trim_start_matches('='),
                None => continue,
            };
            return value.parse().map(Some).with_context(|| format!("`{value}` is no address with a port"));
        }
        Ok(None)
    }
}

fn build_server(features: &str) -> Result<()> {
    Step {
        title: "building the server",
        estimate: "about 6 min",
        remedy: "mend what the compiler names; `cargo xtask check` shows it with colours",
    }
    .run(Command::new("cargo").current_dir(workspace::root()).args([
        "build",
        "--package",
        "msao-server",
        "--features",
        features,
    ]))
}

fn server_binary() -> std::path::PathBuf {
    workspace::target_folder().join("debug/msao-server")
}

fn free_address() -> Result<SocketAddr> {
    for port in FIRST_PORT..=FIRST_PORT + PORTS_TRIED {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
        println!("    port {port} is taken, trying the next one");
    }
    bail!("no free port from {FIRST_PORT} on; name one: `cargo xtask run -- --listen 127.0.0.1:PORT`")
}

fn wait_until_it_answers(server: &mut Child, address: SocketAddr) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < START_TIMEOUT {
        if TcpStream::connect(address).is_ok() {
            return Ok(());
        }
        if let Some(status) = server.try_wait()? {
            bail!("the server ended with {status}, see above");
        }
        thread::sleep(Duration::from_millis(100));
    }
    // What matters is that it does not answer; that it may be gone already does not.
    let _ = server.kill();
    bail!("the server does not answer on {address} after {} s", START_TIMEOUT.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn flags_after_the_dashes_are_the_servers() {
        let options = Options::parse(&words("--features vulkan -- --device vulkan --listen 0.0.0.0:9000"));
        let options = options.expect("parses");
        assert_eq!(options.features, "vulkan");
        assert_eq!(options.server, words("--device vulkan --listen 0.0.0.0:9000"));
        assert_eq!(options.listen().expect("an address"), Some(SocketAddr::from(([0, 0, 0, 0], 9000))));
    }

    #[test]
    fn a_bad_address_and_an_unknown_flag_are_refused() {
        let options = Options::parse(&words("-- --listen=everywhere")).expect("parses");
        assert!(options.listen().is_err());
        assert!(Options::parse(&words("--device vulkan")).is_err());
    }

    #[test]
    fn without_flags_the_address_is_ours_to_choose() {
        assert_eq!(Options::default().listen().expect("none"), None);
        assert!(free_address().is_ok());
    }
}
