//! A checkpoint as JavaScript hands it over: small files as bytes, weights as something to read parts of.
//!
//! Wasm's memory never shrinks, so weights stay outside of it, in a browser's buffers or on its disk, and come in tensor by
//! tensor: what a page needs at most is the loaded model and one tensor.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::io;

use js_sys::{Function, Object, Reflect, Uint8Array};
#[cfg(feature = "engine-flex")]
use msao_models::speech::WhisperFiles;
use msao_models::{CheckpointFiles, ModelError, ProbeFiles, ReadAt, WeightFiles};
use wasm_bindgen::{JsCast, JsValue};

/// Bytes that cross at once: a tensor of hundreds of megabytes has no second copy in JavaScript.
const MOST_BYTES: usize = 8 << 20;

thread_local! {
    /// What files of weights are read by. A reader is told by its place in here, since what is JavaScript's stays in this
    /// thread while tensors may be packed by several.
    static READERS: RefCell<Vec<Option<Reader>>> = const { RefCell::new(Vec::new()) };
}

/// How a file is read.
#[derive(Clone)]
enum Reader {
    Bytes(Uint8Array),
    /// `(start, end) => Uint8Array`
    Parts(Function),
}

/// A file of weights outside of this memory.
struct Outside {
    reader: usize,
    len_bytes: u64,
}

impl fmt::Debug for Outside {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} bytes outside", self.len_bytes)
    }
}

impl ReadAt for Outside {
    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let reader = READERS.with_borrow(|readers| readers.get(self.reader).cloned().flatten());
        let reader = reader.ok_or_else(|| io::Error::other("it was let go of; load the model again"))?;
        let mut start = offset;
        for part in into.chunks_mut(MOST_BYTES) {
            let end = start + part.len() as u64;
            let bytes = reader.read(start, end)?;
            if bytes.length() as usize != part.len() {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "it has become shorter; load the model again",
                ));
            }
            bytes.copy_to(part);
            start = end;
        }
        Ok(())
    }

    fn release(&self) {
        READERS.with_borrow_mut(|readers| {
            if let Some(reader) = readers.get_mut(self.reader) {
                *reader = None;
            }
        });
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.release();
    }
}

impl Reader {
    fn read(&self, start: u64, end: u64) -> io::Result<Uint8Array> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.subarray(start as u32, end as u32)),
            Self::Parts(read) => {
                let read = read.call2(&JsValue::NULL, &(start as f64).into(), &(end as f64).into());
                let said = |error: JsValue| {
                    let message =
                        Reflect::get(&error, &"message".into()).ok().and_then(|text| text.as_string());
                    io::Error::other(message.unwrap_or_else(|| "it could not be read".to_owned()))
                };
                read.map_err(said)?.dyn_into().map_err(|_| io::Error::other("it gave no bytes"))
            }
        }
    }
}

/// The files of a checkpoint and its probe, if it has one. `files` has one property for each: a `Uint8Array`, or for weights
/// also `{ size, read(start, end) }`.
///
/// # Errors
/// As [`CheckpointFiles::from_files`]; [`ModelError::File`] for what is neither.
pub(crate) fn checkpoint(files: &Object) -> Result<(CheckpointFiles, Option<ProbeFiles>), ModelError> {
    let (mut small, weights) = taken_apart(files)?;
    let probe = small.remove("mas_probe.json").zip(small.remove("mas_probe.safetensors"));
    let probe = probe.map(|(config_json, safetensors)| ProbeFiles { config_json, safetensors });
    Ok((CheckpointFiles::from_files(&small, weights)?, probe))
}

/// The files of a speech model, given as those of a checkpoint are.
///
/// # Errors
/// As [`WhisperFiles::from_files`]; [`ModelError::File`] for what is no file.
#[cfg(feature = "engine-flex")]
pub(crate) fn speech(files: &Object) -> Result<WhisperFiles, ModelError> {
    let (small, weights) = taken_apart(files)?;
    WhisperFiles::from_files(&small, weights)
}

/// Small files by name, and weights to read parts of.
fn taken_apart(files: &Object) -> Result<(BTreeMap<String, Vec<u8>>, WeightFiles), ModelError> {
    let (mut small, mut weights) = (BTreeMap::new(), Vec::new());
    for entry in Object::entries(files).iter() {
        let pair: js_sys::Array = entry.unchecked_into();
        let (name, file) = (pair.get(0).as_string().unwrap_or_default(), pair.get(1));
        if name.starts_with("model") && name.ends_with(".safetensors") {
            let source = outside(&file).ok_or_else(|| not_a_file(&name))?;
            weights.push((name, Box::new(source) as Box<dyn ReadAt>));
        } else if !file.is_undefined() {
            let bytes: Uint8Array = file.dyn_into().map_err(|_| not_a_file(&name))?;
            small.insert(name, bytes.to_vec());
        }
    }
    Ok((small, WeightFiles::from_sources(weights)))
}

fn outside(file: &JsValue) -> Option<Outside> {
    let (reader, len_bytes) = match file.dyn_ref::<Uint8Array>() {
        Some(bytes) => (Reader::Bytes(bytes.clone()), f64::from(bytes.length())),
        None => {
            let field = |name: &str| Reflect::get(file, &name.into()).ok();
            (Reader::Parts(field("read")?.dyn_into().ok()?), field("size")?.as_f64()?)
        }
    };
    let reader = READERS.with_borrow_mut(|readers| {
        readers.push(Some(reader));
        readers.len() - 1
    });
    Some(Outside { reader, len_bytes: len_bytes as u64 })
}

fn not_a_file(name: &str) -> ModelError {
    let source =
        io::Error::new(io::ErrorKind::InvalidInput, "it is neither bytes nor something to read them from");
    ModelError::File { path: name.to_owned(), source }
}
