//! `msao-bench split-server`: the cloud's half as a process of its own, for a machine or processors of its own.

use std::net::SocketAddr;

use anyhow::Result;
use clap::Args;
use msao_tests::native;

use super::SplitServer;

/// What to serve, and where.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where edges connect
    #[arg(long, default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// The shipped checkpoint that is split
    #[arg(long, default_value = "pocket-cloud")]
    checkpoint: String,
}

/// Serves until it is interrupted.
///
/// # Errors
/// If the checkpoint cannot be loaded or the address is taken.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let server = SplitServer::start(native::load(&arguments.checkpoint)?, arguments.listen)?;
    eprintln!("{} for edges that split {}", server.address(), arguments.checkpoint);
    server.serve();
    Ok(())
}
