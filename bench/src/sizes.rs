//! What a visitor downloads: the built page and its engines, by gzip: as compressed beforehand, else at its best level.

use std::{fs, io::Write, path::Path};

use anyhow::{Context, Result, ensure};
use flate2::{Compression, write::GzEncoder};
use msao_tests::places;
use serde::Serialize;

/// The budgets of the project, in bytes after gzip.
pub(crate) const PAGE_BUDGET: u64 = 500_000;
pub(crate) const SIMD_BUDGET: u64 = 700_000;
pub(crate) const WEBGPU_BUDGET: u64 = 2_000_000;

/// Bytes after gzip.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Sizes {
    /// The page itself: markup, styles, its Wasm and glue.
    pub(crate) page: u64,
    /// The Wasm SIMD engine.
    pub(crate) simd_engine: u64,
    /// The WebGPU engine.
    pub(crate) webgpu_engine: u64,
    /// The edge model's weights, which hardly compress.
    pub(crate) edge_weights: u64,
}

impl Sizes {
    /// Measures the built page.
    pub(crate) fn measure() -> Result<Self> {
        let page = places::page();
        ensure!(page.join("index.html").is_file(), "the page is not built: run `cargo xtask page`");
        let engine = page.join("engine");
        Ok(Self {
            // The Worker's and the package's scripts are fetched with the page, whichever engine follows.
            page: gzipped(&page)? + gzipped(&engine)?,
            simd_engine: gzipped(&engine.join("simd"))?,
            webgpu_engine: gzipped(&engine.join("webgpu"))?,
            edge_weights: gzipped_file(&places::weights().join("pocket-edge/model.safetensors"))?,
        })
    }
}

/// Gzipped bytes of the code in a folder, its subfolders left out.
fn gzipped(folder: &Path) -> Result<u64> {
    let entries = fs::read_dir(folder).with_context(|| format!("{} is not built", folder.display()))?;
    let mut total = 0;
    for entry in entries {
        let path = entry?.path();
        if is_code(&path) {
            total += gzipped_file(&path)?;
        }
    }
    Ok(total)
}

/// Whether a browser fetches this file to run the page. What is compressed already lies beside its original.
fn is_code(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    path.is_file() && matches!(extension, Some("html" | "css" | "js" | "wasm" | "svg" | "json"))
}

fn gzipped_file(path: &Path) -> Result<u64> {
    let mut copy = path.as_os_str().to_owned();
    copy.push(".gz");
    if let Ok(copy) = fs::metadata(copy) {
        return Ok(copy.len());
    }
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&bytes)?;
    Ok(encoder.finish()?.len() as u64)
}
