//! What the plan sends, as the wire carries it.

use msao_protocol::{AudioInput, ImageInput, KeptAudio, Media, MediaKind, ModalityAction};
use msao_runtime::{orchestrator::PreparedMedia, scored::Scored, wav_encode};
use wasm_bindgen::JsValue;

use super::picture::encode_pixels;
use crate::state::Asked;

/// Encodes what leaves the device: whole media are encoded already, kept parts are now.
///
/// # Errors
/// What the browser throws when it cannot encode a picture.
pub(crate) async fn media(
    asked: &Asked,
    vision: ModalityAction,
    audio: ModalityAction,
    mut scored: Scored,
) -> Result<PreparedMedia, JsValue> {
    let mut prepared = PreparedMedia::default();
    match scored.sent_as_they_are(vision, asked.pictures.len()) {
        _ if !vision.leaves_device() => (),
        Some(frames) => {
            let encoded =
                |&frame: &usize| asked.pictures.get(frame).map(|picture| (*picture.encoded).clone());
            prepared.images = frames.iter().filter_map(encoded).map(ImageInput::Whole).collect();
            prepared.clip = asked.clip().map(|clip| clip.only(frames));
        }
        None => {
            scored.images.sort_by_key(|image| image.frame);
            let frames = scored.images.iter().map(|image| image.frame as usize);
            prepared.clip = asked.clip().map(|clip| clip.only(frames));
            for image in scored.images {
                // In the whole picture's own codec, so that some of it never takes more than all of it by the choice of one.
                let frame = asked.pictures.get(image.frame as usize).ok_or("no such frame")?;
                let mut files = Vec::with_capacity(2);
                for picture in image.pictures() {
                    files.push(encode_pixels(picture, frame.encoded.kind).await?);
                }
                let input = image.into_input(&mut files.into_iter()).ok_or("a picture is missing")?;
                prepared.images.push(input);
            }
        }
    }
    prepared.audio = match audio {
        ModalityAction::Drop | ModalityAction::Edge => None,
        ModalityAction::Whole => {
            asked.sound.as_ref().map(|sound| AudioInput::Whole((*sound.encoded).clone()))
        }
        ModalityAction::Pruned => scored.audio.map(|kept| {
            let bytes = wav_encode::encode_wav(&kept.windows.samples, kept.windows.sample_rate_hz);
            let windows = Media { kind: MediaKind::Wav, bytes };
            AudioInput::Kept(KeptAudio { mask: kept.mask, windows })
        }),
    };
    Ok(prepared)
}
