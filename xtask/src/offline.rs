//! The service worker of the page: its script from `web-app/js/`, with the list of the files that it keeps.
//!
//! The list depends on nothing but the files, so the same page gives the same worker, and browsers take a new one only
//! if a file has changed.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::{engines, workspace};

/// The script without its list.
const SCRIPT: &str = "web-app/js/service_worker.js";
/// Its name in the built page; browsers let it serve everything beside and below it.
const WORKER: &str = "sw.js";

/// When a file of the page is kept by visitors' browsers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// Before the page works offline.
    First,
    /// After that, unless the visitor saves data.
    Soon,
    /// When it was used.
    Used,
}

impl When {
    fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Soon => "soon",
            Self::Used => "used",
        }
    }

    /// When a file is kept, by its path in the page; `None` for what no browser asks for.
    fn of(path: &str) -> Option<Self> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let extension = name.rsplit_once('.').map_or("", |(_stem, extension)| extension);
        let is_for_people = matches!(extension, "gz" | "br" | "ts" | "md")
            || path.split('/').any(|name| name.starts_with('.'));
        if is_for_people || path == WORKER || (folder == "engine" && extension == "json") {
            return None;
        }
        Some(match folder.split('/').next().unwrap_or_default() {
            // The engines' modules are large, and each browser uses one of them.
            "engine" if folder != "engine" => Self::Used,
            "gallery" if name != "gallery.json" => Self::Soon,
            "cards" | "bench" => Self::Soon,
            _ => Self::First,
        })
    }
}

/// Writes the worker into the built page.
///
/// # Errors
/// If a file cannot be read or written, or there is no entry script in `dist`.
pub(crate) fn write_service_worker(dist: &Path) -> Result<()> {
    let script = workspace::root().join(SCRIPT);
    let script = fs::read_to_string(&script).with_context(|| format!("{} is missing", script.display()))?;
    let list = list(dist)?;
    let entry = list.keys().find(|path| path.starts_with("msao-web-") && path.ends_with(".js"));
    let entry = entry.context("the built page has no msao-web script")?;
    let constants = format!(
        "const FILES = {};\nconst ENTRY = {};\n",
        serde_json::to_string(&list)?,
        serde_json::to_string(entry)?
    );
    Ok(fs::write(dist.join(WORKER), constants + &script)?)
}

/// The files of the page by path, in order, each with the SHA-256 of its content and when it is kept.
fn list(dist: &Path) -> Result<BTreeMap<String, [String; 2]>> {
    let mut list = BTreeMap::new();
    for file in workspace::files_under(dist)? {
        let names = file.strip_prefix(dist)?.iter().map(|name| name.to_string_lossy());
        let path = names.collect::<Vec<_>>().join("/");
        if let Some(when) = When::of(&path) {
            let hash = engines::hex(&Sha256::digest(fs::read(&file)?));
            list.insert(path, [hash, when.name().to_owned()]);
        }
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_page_needs_to_open_is_kept_first_and_large_extras_are_not() {
        for path in [
            "index.html",
            "msao-web-0123456789abcdef_bg.wasm",
            "engine/worker.js",
            "gallery/gallery.json",
            "manifest.webmanifest",
        ] {
            assert_eq!(When::of(path), Some(When::First), "{path}");
        }
        for path in ["gallery/01.png", "bench/results.json", "bench/plots/latency.svg"] {
            assert_eq!(When::of(path), Some(When::Soon), "{path}");
        }
        for engine in ["simd", "threads", "webgpu"] {
            assert_eq!(When::of(&format!("engine/{engine}/msao_runtime_bg.wasm")), Some(When::Used));
        }
        for path in
            ["sw.js", "index.html.br", "engine/index.d.ts", "engine/sizes.json", ".made-from", ".stage/a.js"]
        {
            assert_eq!(When::of(path), None, "{path}");
        }
    }

    #[test]
    fn the_list_depends_on_contents_alone() {
        let folder = workspace::target_folder().join("xtask-test-offline");
        fs::create_dir_all(folder.join("engine")).expect("makes");
        fs::write(folder.join("index.html"), "a").expect("writes");
        fs::write(folder.join("engine/worker.js"), "b").expect("writes");
        let before = list(&folder).expect("lists");
        assert_eq!(before.keys().collect::<Vec<_>>(), ["engine/worker.js", "index.html"]);
        fs::write(folder.join("index.html"), "a").expect("writes again");
        assert_eq!(list(&folder).expect("lists"), before, "the time of a file does not count");
        fs::write(folder.join("index.html"), "c").expect("writes another");
        assert_ne!(list(&folder).expect("lists"), before);
        fs::remove_dir_all(&folder).expect("removes");
    }
}
