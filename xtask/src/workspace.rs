//! Where things lie: the repository, cargo's target folder, and the cache of installed tools.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Cargo's target folder, which `CARGO_TARGET_DIR` may have moved.
pub(crate) fn target_folder() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// Where installed tools are kept: `MSAO_TOOLS`, else the user's cache folder, so that a second clone finds
/// what the first one installed. Each tool has a folder of its own, named with its version.
///
/// # Errors
/// If the user has no home folder, or the folder cannot be made.
pub(crate) fn tools_folder() -> Result<PathBuf> {
    let folder = if let Some(folder) = env::var_os("MSAO_TOOLS") {
        root().join(folder)
    } else if let Some(cache) = env::var_os("XDG_CACHE_HOME") {
        PathBuf::from(cache).join("msao/tools")
    } else {
        let home = env::home_dir().context("no home folder for the installed tools: set MSAO_TOOLS")?;
        home.join(".cache/msao/tools")
    };
    fs::create_dir_all(&folder).with_context(|| {
        format!("cannot make the tools' folder {}: set MSAO_TOOLS to another one", folder.display())
    })?;
    Ok(folder)
}

/// Makes the folder `destination` by `fill`ing a temporary neighbour and renaming it, so that an interrupted
/// installation is never taken for a finished one.
///
/// # Errors
/// If `fill` fails or the disk does.
pub(crate) fn install_whole(destination: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let name = destination.file_name().context("a tool's folder has a name")?.to_string_lossy();
    let partial = destination.with_file_name(format!(".partial-{name}-{}", std::process::id()));
    fs::create_dir_all(&partial)?;
    let filled = fill(&partial).and_then(|()| {
        // Another clone may have been quicker; then its copy is as good.
        if destination.exists() {
            return Ok(());
        }
        fs::rename(&partial, destination).with_context(|| format!("cannot make {}", destination.display()))
    });
    if partial.exists() {
        // What failed is worth reporting, what could not be tidied away is not.
        let _ = fs::remove_dir_all(&partial);
    }
    filled
}

/// The program of this name on `PATH`.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// What a command prints, if it can be started and succeeds.
pub(crate) fn output_of(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// All files under a file or folder, in a stable order; none if it does not exist.
///
/// # Errors
/// If a folder cannot be read.
pub(crate) fn files_under(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut files = Vec::new();
    if path.is_dir() {
        let mut entries = fs::read_dir(path)?.collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            files.extend(files_under(&entry.path())?);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_installation_leaves_nothing() {
        let folder = target_folder().join("xtask-test-install");
        let destination = folder.join("tool-1");
        let failed = install_whole(&destination, |partial| {
            fs::write(partial.join("half"), "x")?;
            anyhow::bail!("the network went away")
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_dir(&folder).expect("the parent").count(), 0);

        install_whole(&destination, |partial| Ok(fs::write(partial.join("whole"), "x")?)).expect("installs");
        assert!(destination.join("whole").is_file());
        fs::remove_dir_all(&folder).expect("removes");
    }
}
