//! `cargo xtask run`: the page, and the server in front of it.

use std::{
    env,
    net::{SocketAddr, TcpListener},
    os::unix::process::CommandExt,
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{page, progress::Step, tools::Tools, workspace};

const FIRST_PORT: u16 = 8080;
/// So many ports are tried after the first.
const PORTS_TRIED: u16 = 50;
/// Tells the server its address, as its flag `--listen` does.
const LISTEN_VARIABLE: &str = "MSAO_LISTEN";

/// Builds everything and becomes the server.
///
/// # Errors
/// If something cannot be built, or the server cannot be started.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let options = Options::parse(arguments)?;
    page::build(&Tools::ensure()?)?;
    build_server(&options.features)?;

    let mut command = Command::new(workspace::target_folder().join("debug/msao-server"));
    command.current_dir(workspace::root()).args(&options.server);
    if !options.says_where_to_listen() {
        command.env(LISTEN_VARIABLE, free_address()?.to_string());
    }
    // From here on this process is the server, so that Ctrl-C reaches it; it prints the URL when it is ready.
    Err(command.exec()).context("cannot start the server")
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

    /// Whether the address is chosen already; then a busy port is the server's to report.
    fn says_where_to_listen(&self) -> bool {
        let flag = self.server.iter().any(|flag| flag == "--listen" || flag.starts_with("--listen="));
        flag || env::var_os(LISTEN_VARIABLE).is_some()
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
        assert!(options.says_where_to_listen());
    }

    #[test]
    fn an_unknown_flag_is_refused() {
        assert!(Options::parse(&words("--device vulkan")).is_err());
    }

    #[test]
    fn without_flags_the_address_is_ours_to_choose() {
        assert!(!Options::parse(&words("-- --device cpu")).expect("parses").says_where_to_listen());
        assert!(free_address().is_ok());
    }
}
