//! Python, for two things: `transformers` itself loads the shipped weights and its answers are compared; and the
//! generator of evaluation sets runs in it.

use std::{env, path::PathBuf, process::Command};

use anyhow::Result;

use crate::{
    progress::{self, Step},
    workspace,
};

/// The comparison; it exits non-zero when an answer differs.
const SCRIPT: &str = "models/tests/transformers_check.py";
/// Exact, since they are the reference.
const PACKAGES: [&str; 5] = [
    "torch==2.15.0",
    "transformers==5.23.0",
    "numpy==2.4.6",
    "pillow==13.0.0",
    "opencv-python-headless==5.0.0.93",
];
/// `1` leaves the reference out.
pub(crate) const SKIP_VARIABLE: &str = "MSAO_SKIP_REFERENCE";

/// Runs the comparison with a Python that has the packages, installing them if need be; without Python it is
/// left out, loudly.
///
/// # Errors
/// If an answer differs.
pub(crate) fn check() -> Result<()> {
    let root = workspace::root();
    if !root.join(SCRIPT).is_file() {
        progress::loudly_skipped("the Python reference", &format!("There is no {SCRIPT}."));
        return Ok(());
    }
    if is_skipped() {
        progress::loudly_skipped("the Python reference", &format!("Unset {SKIP_VARIABLE} to run it."));
        return Ok(());
    }
    match python() {
        Ok(python) => progress::run_visibly(
            "comparing with transformers",
            "",
            Command::new(python).arg(SCRIPT).current_dir(root).env("HF_HUB_OFFLINE", "1"),
        ),
        Err(error) => {
            println!("{error:#}");
            progress::loudly_skipped(
                "the Python reference",
                &format!("Install Python 3.10 or newer, then: pip install {}", PACKAGES.join(" ")),
            );
            Ok(())
        }
    }
}

/// Whether whoever runs this wants neither the reference nor what builds on it.
pub(crate) fn is_skipped() -> bool {
    env::var(SKIP_VARIABLE).is_ok_and(|value| value == "1")
}

/// A Python that has the packages: the one on `PATH`, or a virtual environment among the tools.
///
/// # Errors
/// If there is no Python, or the packages cannot be installed.
pub(crate) fn python() -> Result<PathBuf> {
    let system = PathBuf::from("python3");
    let mut probe = Command::new(&system);
    probe.args(["-c", "import torch, transformers, numpy, PIL, cv2"]);
    if workspace::output_of(&mut probe).is_some() {
        return Ok(system);
    }
    let folder = workspace::tools_folder()?.join(format!("python-{}", PACKAGES[..2].join("-")));
    let python = folder.join("bin/python");
    let installed = folder.join("installed");
    if std::fs::read_to_string(&installed).is_ok_and(|packages| packages == PACKAGES.join("\n")) {
        return Ok(python);
    }
    // A virtual environment cannot be renamed, so this one says itself when it is whole.
    let step = |title, estimate| Step {
        title,
        estimate,
        remedy: "look at the network and the free disk space (6 GB); MSAO_SKIP_REFERENCE=1 leaves this out",
    };
    step("making a Python environment", "").run(Command::new(&system).args(["-m", "venv"]).arg(&folder))?;
    step("installing torch and transformers", "3 GB, about 4 min")
        .run(Command::new(&python).args(["-m", "pip", "install", "--no-input"]).args(PACKAGES))?;
    std::fs::write(installed, PACKAGES.join("\n"))?;
    Ok(python)
}
