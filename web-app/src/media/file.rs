//! Files that were chosen, dropped or pasted: checked, then decoded.

use js_sys::Uint8Array;
use msao_protocol::{ClipSampling, Limits};
use wasm_bindgen_futures::JsFuture;
use web_sys::File;

use super::{
    picture::{Picture, Wanted},
    sound::{self, Sound},
    video::{self, Film},
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
    /// The frames of a video.
    Film(Vec<Picture>),
    /// Nothing, since it was stopped.
    Stopped,
    /// A recording, and what was cut off it, if anything.
    Sound(Sound, Option<String>),
}

/// How files are read.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'a> {
    /// Budgets.
    pub(crate) limits: &'a Limits,
    /// How pictures are wanted.
    pub(crate) wanted: Wanted,
    /// How videos are looked at.
    pub(crate) sampling: ClipSampling,
}

/// Reads and checks a file. `progress` hears of each frame of a video, and says whether to go on.
///
/// # Errors
/// A [`Refusal`] that names the file and the remedy.
pub(crate) async fn load(
    file: &File,
    reading: Reading<'_>,
    progress: impl Fn(usize, usize) -> bool,
) -> Result<Loaded, Refusal> {
    let head = read(file, HEAD_BYTES).await.ok_or_else(|| Refusal::Truncated { name: file.name() })?;
    if !sniff::may_be_video(&head) {
        return load_whole(file, &head, reading).await;
    }
    match video::film(file, reading.sampling, reading.wanted, progress).await {
        Ok(Film::Frames(frames)) => Ok(Loaded::Film(frames)),
        Ok(Film::Stopped) => Ok(Loaded::Stopped),
        // The same containers hold recordings.
        Ok(Film::NoPictures) => {
            let sound = load_whole(file, &head, reading).await;
            sound.map_err(|_no_sound| Refusal::UnreadableVideo { name: file.name() })
        }
        Err(_stuck) => Err(Refusal::UnreadableVideo { name: file.name() }),
    }
}

async fn load_whole(file: &File, head: &[u8], reading: Reading<'_>) -> Result<Loaded, Refusal> {
    let Reading { limits, wanted, .. } = reading;
    let name = file.name();
    // A file that shrinks or goes away while it is read is cut short for us.
    admit(&name, head, file.size() as u64, limits)?;
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
            Ok(samples) => {
                Sound::from_samples(&name, &samples, f64::from(limits.audio_s), wanted.heard_samples)
                    .map(|(sound, notice)| Loaded::Sound(sound, notice))
            }
            Err(_) => Err(Refusal::DamagedAudio { name }),
        },
        FileKind::Other => Err(Refusal::UnknownFormat { name }),
    }
}
