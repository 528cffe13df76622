//! Installing Debian packages, where that is possible: as root, with `apt-get`.

use std::{os::unix::fs::MetadataExt, process::Command};

use anyhow::Result;

use crate::{progress::Step, workspace};

/// Whether `apt-get install` can be used without asking anyone.
pub(crate) fn can_install() -> bool {
    // A process sees its own folder in /proc as its effective user.
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
    is_root && workspace::on_path("apt-get").is_some()
}

/// Installs packages, after fetching the package lists.
///
/// # Errors
/// If `apt-get` fails.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    update_lists()?;
    let names = packages.join(" ");
    Step {
        title: &format!("installing {names}"),
        estimate: "about 30 s",
        remedy: &format!("install them by hand: apt-get install {names}"),
    }
    .run(apt_get().args(["install", "--yes", "--no-install-recommends"]).args(packages))
}

/// Fetches the package lists, without which `apt-get` knows no packages.
///
/// # Errors
/// If `apt-get` fails.
pub(crate) fn update_lists() -> Result<()> {
    Step {
        title: "fetching the lists of Debian packages",
        estimate: "",
        remedy: "look at the network and at /etc/apt/sources.list",
    }
    .run(apt_get().arg("update"))
}

/// An `apt-get` that asks no questions and tries again after a network error.
pub(crate) fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["-o", "Acquire::Retries=3"]);
    command
}
