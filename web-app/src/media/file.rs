//! Files that were chosen, dropped or pasted: checked, then decoded.

use js_sys::Uint8Array;
use msao_protocol::Limits;
use wasm_bindgen_futures::JsFuture;
use web_sys::File;

use super::{
    picture::{Picture, Wanted},
    sound::{self, Sound},
};
use crate::input::{
    admit::{HEAD_BYTES, admit},
    refusal::Refusal,
    sniff::{self, FileKind},
};

/// What a file turned out to be.
pub(crate) enum Loaded {
    /// A picture.
    Picture(Picture),
    /// A recording, and what was cut off it, if anything.
    Sound(Sound, Option<String>),
}

/// Reads and checks a file.
///
/// # Errors
/// A [`Refusal`] that names the file and the remedy.
pub(crate) async fn load(file: &File, limits: &Limits, wanted: Wanted) -> Result<Loaded, Refusal> {
    let name = file.name();
    // A file that shrinks or goes away while it is read is cut short for us.
    let head = read(file, HEAD_BYTES).await.ok_or_else(|| Refusal::Truncated { name: name.clone() })?;
    admit(&name, &head, file.size() as u64, limits)?;
    let bytes = read(file, i32::MAX as u32).await.ok_or_else(|| Refusal::Truncated { name: name.clone() })?;
    from_bytes(name, &bytes, limits, wanted).await
}

async fn read(file: &File, most: u32) -> Option<Vec<u8>> {
    let part = file.slice_with_f64_and_f64(0.0, f64::from(most)).ok()?;
    let buffer = JsFuture::from(part.array_buffer()).await.ok()?;
    Some(Uint8Array::new(&buffer).to_vec())
}

/// Checks and decodes the content of a file.
///
/// # Errors
/// A [`Refusal`] that names the file and the remedy.
pub(crate) async fn from_bytes(
    name: String,
    bytes: &[u8],
    limits: &Limits,
    wanted: Wanted,
) -> Result<Loaded, Refusal> {
    let kind = admit(&name, bytes, bytes.len() as u64, limits)?;
    if sniff::is_truncated(bytes) {
        return Err(Refusal::Truncated { name });
    }
    match kind {
        FileKind::Image(kind) => match Picture::from_file(bytes, kind.mime(), wanted).await {
            Ok(picture) => Ok(Loaded::Picture(picture)),
            Err(_) => Err(Refusal::DamagedImage { name }),
        },
        FileKind::Audio => match sound::decode(bytes).await {
            Ok(samples) => Sound::from_samples(&name, &samples, f64::from(limits.audio_s))
                .map(|(sound, notice)| Loaded::Sound(sound, notice)),
            Err(_) => Err(Refusal::DamagedAudio { name }),
        },
        FileKind::Other => Err(Refusal::UnknownFormat { name }),
    }
}
