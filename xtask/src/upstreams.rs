//! The upstream engine that the server's tests run against: `transformers serve`, in a virtual environment that borrows
//! torch and transformers from the Python reference, so that they are there once.

use std::{env, fs, path::PathBuf, process::Command};

use anyhow::{Context, Result};

use crate::{
    progress::{self, Step},
    reference, workspace,
};

/// Names the Python to the tests.
pub(crate) const PYTHON_VARIABLE: &str = "MSAO_UPSTREAM_PYTHON";
/// What `transformers serve` needs beside the reference's packages.
const PACKAGES: [&str; 4] = ["fastapi==0.165.0", "uvicorn==0.54.0", "openai==3.54.0", "accelerate==1.15.0"];

/// A Python that can `transformers serve`; none, said loudly, where the reference is left out or there is no Python.
///
/// # Errors
/// If the folder of installed tools cannot be used.
pub(crate) fn ensure() -> Result<Option<PathBuf>> {
    if let Some(python) = env::var_os(PYTHON_VARIABLE) {
        return Ok(Some(PathBuf::from(python)));
    }
    let skipped = |remedy: &str| {
        progress::loudly_skipped("the tests against a real upstream engine", remedy);
        Ok(None)
    };
    if reference::is_skipped() {
        return skipped(&format!("Unset {} to run them.", reference::SKIP_VARIABLE));
    }
    match reference::python().and_then(|reference| install(&reference)) {
        Ok(python) => Ok(Some(python)),
        Err(error) => {
            println!("{error:#}");
            skipped("Install Python 3.10 or newer with pip and venv.")
        }
    }
}

fn install(reference: &PathBuf) -> Result<PathBuf> {
    let folder =
        workspace::tools_folder()?.join(format!("upstream-{}", PACKAGES.join("-").replace("==", "-")));
    let python = folder.join("bin/python");
    let installed = folder.join("installed");
    // Where the borrowed packages lie is a part of what was installed.
    let borrowed = packages_of(reference)?;
    let whole = format!("{}\n{borrowed}", PACKAGES.join("\n"));
    if fs::read_to_string(&installed).is_ok_and(|found| found == whole) {
        return Ok(python);
    }
    let step = |title, estimate| Step {
        title,
        estimate,
        remedy: "look at the network; MSAO_SKIP_REFERENCE=1 leaves this out",
    };
    step("making a Python environment for an upstream engine", "")
        .run(Command::new(reference).args(["-m", "venv", "--clear"]).arg(&folder))?;
    let own = packages_of(&python)?;
    fs::write(PathBuf::from(own).join("borrowed.pth"), &borrowed)?;
    step("installing what transformers serve needs", "20 MB")
        .run(Command::new(&python).args(["-m", "pip", "install", "--no-input"]).args(PACKAGES))?;
    fs::write(installed, whole)?;
    Ok(python)
}

/// The folder that a Python's packages lie in.
fn packages_of(python: &PathBuf) -> Result<String> {
    let mut ask = Command::new(python);
    ask.args(["-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]);
    workspace::output_of(&mut ask).with_context(|| format!("{} does not run", python.display()))
}
