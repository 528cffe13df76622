//! OpenAI's own clients for Python and Node, which the tests of the server's API use unchanged: a small virtual environment
//! and a folder of npm's, among the tools.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, Output},
};

use anyhow::{Context, Result, bail};

use crate::{
    progress::{self, Step},
    workspace,
};

/// Names a Python that has the client to the tests.
pub(crate) const PYTHON_VARIABLE: &str = "MSAO_OPENAI_PYTHON";
/// Names the `node_modules` folder that has the client to the tests.
pub(crate) const NODE_VARIABLE: &str = "MSAO_OPENAI_NODE_MODULES";
const PYTHON_PACKAGE: &str = "openai==3.54.0";
/// The last major version that runs on Node 20, which Debian and Ubuntu have.
const NODE_PACKAGE: &str = "openai@6.49.0";
const REMEDY: &str = "look at the network and run this again";

/// The clients that could be had, each as the variable that names it to the tests.
///
/// # Errors
/// If one cannot be installed though its language is there.
pub(crate) fn ensure() -> Result<Vec<(&'static str, PathBuf)>> {
    let mut clients = Vec::new();
    match env::var_os(PYTHON_VARIABLE) {
        Some(named) => clients.push((PYTHON_VARIABLE, PathBuf::from(named))),
        None if workspace::on_path("python3").is_some() => clients.push((PYTHON_VARIABLE, python()?)),
        None => progress::loudly_skipped(
            "the tests with OpenAI's Python client",
            "Install Python 3.10 or newer with pip and venv, and run this again.",
        ),
    }
    match env::var_os(NODE_VARIABLE) {
        Some(named) => clients.push((NODE_VARIABLE, PathBuf::from(named))),
        None if ["node", "npm"].iter().all(|program| workspace::on_path(program).is_some()) => {
            clients.push((NODE_VARIABLE, node_modules()?));
        }
        None => progress::loudly_skipped(
            "the tests with OpenAI's Node client",
            "Install Node.js 20 or newer with npm, and run this again.",
        ),
    }
    Ok(clients)
}

fn python() -> Result<PathBuf> {
    let folder = workspace::tools_folder()?.join(format!("python-{}", PYTHON_PACKAGE.replace("==", "-")));
    let (python, installed) = (folder.join("bin/python"), folder.join("installed"));
    if fs::read_to_string(&installed).is_ok_and(|package| package == PYTHON_PACKAGE) {
        return Ok(python);
    }
    // A virtual environment cannot be renamed, so this one says itself when it is whole.
    let step = |title| Step { title, estimate: "", remedy: REMEDY };
    step("making a Python environment for OpenAI's client")
        .run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    step("installing OpenAI's Python client").run(Command::new(&python).args([
        "-m",
        "pip",
        "install",
        "--no-input",
        PYTHON_PACKAGE,
    ]))?;
    fs::write(installed, PYTHON_PACKAGE)?;
    Ok(python)
}

fn node_modules() -> Result<PathBuf> {
    let Output { stdout, .. } =
        Command::new("node").arg("--version").output().context("node does not run")?;
    let version = String::from_utf8_lossy(&stdout).trim().to_owned();
    let major = version.strip_prefix('v').and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
    if major.is_none_or(|major| major < 20) {
        bail!(
            "the tests with OpenAI's Node client need Node.js 20 or newer; `node` is {version}: install one"
        );
    }
    let folder = workspace::tools_folder()?.join(format!("node-{}", NODE_PACKAGE.replace('@', "-")));
    let modules = folder.join("node_modules");
    if !modules.is_dir() {
        workspace::install_whole(&folder, |partial| {
            Step { title: "installing OpenAI's Node client", estimate: "", remedy: REMEDY }.run(
                Command::new("npm")
                    .args(["install", "--no-save", "--no-fund", "--no-audit", "--prefix"])
                    .arg(partial)
                    .arg(NODE_PACKAGE),
            )
        })?;
    }
    Ok(modules)
}
