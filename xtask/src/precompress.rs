//! Compresses what the page downloads once, at build time: `x.gz` and `x.br` beside each `x`, which the server
//! sends to browsers that take them.

use std::{
    fmt, fs,
    fs::File,
    io::{BufWriter, Write},
    num::NonZeroU64,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// What is worth compressing; pictures and sound are compressed already.
const EXTENSIONS: [&str; 8] = ["wasm", "js", "css", "html", "json", "svg", "txt", "webmanifest"];
/// Below this a compressed copy saves no packet.
const MIN_BYTES: u64 = 1024;
/// Zopfli makes modules and scripts 4 % smaller than zlib at its best does; further rounds gain next to nothing.
const ZOPFLI_ITERATIONS: NonZeroU64 = NonZeroU64::new(5).expect("5 is not 0");
/// Between 9 and 11 brotli gains 5 % of texts and 10 % of modules, and takes fifty times as long.
const BROTLI_QUALITY: i32 = 9;
/// What every first visit waits for: the page's module and the first engine's are worth a minute of the build's time.
const BROTLI_QUALITY_OF_MODULES: i32 = 11;
/// Above this a module is fetched behind the first answer, if at all.
const MOST_BYTES_WAITED_FOR: usize = 3_000_000;
const BROTLI_WINDOW_BITS: i32 = 22;

/// What a file weighs on disk and over the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) raw_bytes: u64,
    pub(crate) gzip_bytes: u64,
    pub(crate) brotli_bytes: u64,
}

impl Sizes {
    /// The sizes of a file and its compressed copies; a file without copies travels as it is.
    ///
    /// # Errors
    /// If the file is missing.
    pub(crate) fn of(file: &Path) -> Result<Self> {
        let raw_bytes = fs::metadata(file).with_context(|| format!("{} is missing", file.display()))?.len();
        let length = |path: PathBuf| fs::metadata(path).map_or(raw_bytes, |data| data.len());
        Ok(Self {
            raw_bytes,
            gzip_bytes: length(with_suffix(file, "gz")),
            brotli_bytes: length(with_suffix(file, "br")),
        })
    }

    /// The sum of two.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            raw_bytes: self.raw_bytes + other.raw_bytes,
            gzip_bytes: self.gzip_bytes + other.gzip_bytes,
            brotli_bytes: self.brotli_bytes + other.brotli_bytes,
        }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kilobytes = |bytes: u64| bytes as f64 / 1000.0;
        write!(
            out,
            "{:.1} kB (gzip {:.1} kB, brotli {:.1} kB)",
            kilobytes(self.raw_bytes),
            kilobytes(self.gzip_bytes),
            kilobytes(self.brotli_bytes)
        )
    }
}

/// Compresses every file under the folder that has no compressed copies yet.
///
/// # Errors
/// If a file cannot be read or written.
pub(crate) fn compress(folder: &Path) -> Result<()> {
    for file in crate::workspace::files_under(folder)? {
        let worth_it = file.extension().is_some_and(|is| EXTENSIONS.iter().any(|one| is == *one))
            && fs::metadata(&file)?.len() >= MIN_BYTES;
        if worth_it && !(with_suffix(&file, "gz").exists() && with_suffix(&file, "br").exists()) {
            compress_file(&file).with_context(|| format!("cannot compress {}", file.display()))?;
        }
    }
    Ok(())
}

fn compress_file(file: &Path) -> Result<()> {
    let contents = fs::read(file)?;
    let mut gzip = BufWriter::new(File::create(with_suffix(file, "gz"))?);
    let is_module = file.extension().is_some_and(|is| is == "wasm");
    let options = zopfli::Options { iteration_count: ZOPFLI_ITERATIONS, ..zopfli::Options::default() };
    zopfli::compress(options, zopfli::Format::Gzip, &contents[..], &mut gzip)?;
    gzip.flush()?;

    let is_waited_for = is_module && contents.len() <= MOST_BYTES_WAITED_FOR;
    let brotli = BufWriter::new(File::create(with_suffix(file, "br"))?);
    let parameters = brotli::enc::BrotliEncoderParams {
        quality: if is_waited_for { BROTLI_QUALITY_OF_MODULES } else { BROTLI_QUALITY },
        lgwin: BROTLI_WINDOW_BITS,
        ..Default::default()
    };
    let mut brotli = brotli::CompressorWriter::with_params(brotli, 4096, &parameters);
    brotli.write_all(&contents)?;
    Ok(brotli.into_inner().flush()?)
}

/// The name of a file's compressed copy.
pub(crate) fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn compressed_copies_unpack_to_the_original() {
        let folder = crate::workspace::target_folder().join("xtask-test-precompress");
        fs::create_dir_all(&folder).expect("makes");
        let script = "let frames = [];\n".repeat(200);
        fs::write(folder.join("a.js"), &script).expect("writes");
        fs::write(folder.join("b.png"), &script).expect("writes");
        compress(&folder).expect("compresses");

        let mut text = String::new();
        let gzip = File::open(folder.join("a.js.gz")).expect("opens");
        flate2::read::GzDecoder::new(gzip).read_to_string(&mut text).expect("unpacks");
        assert_eq!(text, script);
        text.clear();
        let packed = File::open(folder.join("a.js.br")).expect("opens");
        brotli::Decompressor::new(packed, 4096).read_to_string(&mut text).expect("unpacks");
        assert_eq!(text, script);
        assert!(!folder.join("b.png.gz").exists());
        fs::remove_dir_all(&folder).expect("removes");
    }
}
