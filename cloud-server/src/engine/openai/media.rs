//! A question as the parts of a chat message.
//!
//! Files are decoded within their budget before they go anywhere, so that no bomb reaches an upstream. Whole ones then travel
//! as they were sent; kept parts are put back onto the grid, the rest grey or silent, since an upstream knows no masks.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder as _};
use msao_models::Prompt;
use msao_models::preprocess::{Pcm, RgbImage};
use msao_protocol::{Ask, AudioInput, ErrorCode, ImageInput, Limits, ModelInfo};

use super::wire::{DataUrl, InputAudio, Part, Said};
use crate::intake::{self, Refusal};

/// What an upstream's model takes beside text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inputs {
    /// Pictures, as `image_url`.
    pub images: bool,
    /// Recordings, as `input_audio`.
    pub audio: bool,
}

/// A checked question and what came before it, as messages.
///
/// # Errors
/// The first file that cannot be used, or that the upstream does not take.
pub(super) fn conversation(
    ask: &Ask,
    limits: &Limits,
    model: &ModelInfo,
    inputs: Inputs,
) -> Result<Vec<Said>, Refusal> {
    let has_images = !ask.images.is_empty() || ask.history.iter().any(|turn| !turn.images.is_empty());
    if has_images && !inputs.images {
        let message = "the upstream engine takes no pictures: ask without, or let the operator start the server with --upstream-inputs image";
        return Err(Refusal::new(ErrorCode::Unsupported, message));
    }
    let prompt = intake::decode(ask, limits, model)?;
    let mut said = Vec::with_capacity(2 * ask.history.len() + 1);
    for (turn, past) in ask.history.iter().zip(&prompt.history) {
        said.push(Said::User(parts(&turn.question, &turn.images, turn.audio.as_ref(), &past.asked)?));
        said.push(Said::Assistant(turn.answer.clone()));
    }
    said.push(Said::User(parts(&ask.question, &ask.images, ask.audio.as_ref(), &prompt)?));
    Ok(said)
}

/// The parts of a question, pictures first, in the order that chat templates of such models have.
fn parts(
    question: &str,
    images: &[ImageInput],
    audio: Option<&AudioInput>,
    decoded: &Prompt,
) -> Result<Vec<Part>, Refusal> {
    let mut parts = Vec::with_capacity(images.len() + 2);
    for (input, picture) in images.iter().zip(&decoded.images) {
        let url = match input {
            ImageInput::Whole(media) => data_url(&media.bytes),
            // No engine elsewhere tells how it splits pictures, so intake lets none in that are sent in tiles.
            ImageInput::Kept(_) | ImageInput::Tiles(_) => data_url(&png(picture)?),
        };
        parts.push(Part::ImageUrl { image_url: DataUrl { url } });
    }
    if let (Some(input), Some(recording)) = (audio, &decoded.audio) {
        let data = match input {
            AudioInput::Whole(media) => STANDARD.encode(&media.bytes),
            AudioInput::Kept(_) => STANDARD.encode(wav(recording)),
        };
        parts.push(Part::InputAudio { input_audio: InputAudio { data, format: "wav" } });
    }
    if !question.trim().is_empty() {
        parts.push(Part::Text { text: question.to_owned() });
    }
    Ok(parts)
}

/// A data URL that says what the bytes are, not what somebody called them.
fn data_url(bytes: &[u8]) -> String {
    let kind = match bytes {
        [0xff, 0xd8, ..] => "jpeg",
        [b'R', b'I', b'F', b'F', ..] => "webp",
        _ => "png",
    };
    format!("data:image/{kind};base64,{}", STANDARD.encode(bytes))
}

fn png(picture: &RgbImage) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes)
        .write_image(picture.pixels(), picture.width(), picture.height(), ExtendedColorType::Rgb8)
        .map_err(|error| {
            Refusal::new(ErrorCode::NotAnImage, format!("the picture cannot be sent on: {error}"))
        })?;
    Ok(bytes)
}

/// A 16-bit mono WAV file.
fn wav(recording: &Pcm) -> Vec<u8> {
    let (rate, samples) = (recording.sample_rate_hz(), recording.samples());
    let data_bytes = 2 * samples.len() as u32;
    let mut bytes = Vec::with_capacity(44 + data_bytes as usize);
    bytes.extend(b"RIFF");
    bytes.extend((36 + data_bytes).to_le_bytes());
    // A format chunk of 16 bytes: plain samples, one channel.
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend(rate.to_le_bytes());
    bytes.extend((2 * rate).to_le_bytes());
    bytes.extend(b"\x02\0\x10\0data");
    bytes.extend(data_bytes.to_le_bytes());
    let to_16_bits = |sample: &f32| (sample.clamp(-1.0, 1.0) * f32::from(i16::MAX)).round() as i16;
    bytes.extend(samples.iter().flat_map(|sample| to_16_bits(sample).to_le_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    use msao_models::preprocess::{AudioBudget, read_wav};
    use msao_protocol::{
        AudioGrid, ImageGrid, KeepMask, KeptImage, Media, MediaKind, PictureSize, Vocabulary,
    };

    use super::*;

    const BOTH: Inputs = Inputs { images: true, audio: true };

    fn model() -> ModelInfo {
        ModelInfo {
            name: "m".into(),
            parameters: 0,
            device: "upstream".into(),
            image: ImageGrid { side_px: 8, tokens_per_side: 2 },
            audio: Some(AudioGrid { sample_rate_hz: 16_000, window_samples: 1_600, tokens: 4 }),
            co_located_draft: false,
            vocabulary: Vocabulary::default(),
            pictures: PictureSize::default(),
            clips: None,
        }
    }

    fn ask(images: Vec<ImageInput>) -> Ask {
        Ask { images, ..Ask::new(1, "what?", 8) }
    }

    fn picture(side: u32, shade: u8) -> Vec<u8> {
        png(&RgbImage::from_rgb(side, side, vec![shade; (side * side * 3) as usize]).unwrap()).unwrap()
    }

    fn decoded(part: &Part) -> image::RgbImage {
        let Part::ImageUrl { image_url } = part else { panic!("{part:?}") };
        let data = image_url.url.strip_prefix("data:image/png;base64,").unwrap();
        image::load_from_memory(&STANDARD.decode(data).unwrap()).unwrap().to_rgb8()
    }

    #[test]
    fn whole_pictures_travel_as_they_were_sent_and_kept_tiles_go_back_to_their_places() {
        let media = |bytes| Media { kind: MediaKind::Jpeg, bytes };
        let kept =
            KeptImage { mask: KeepMask::new(&[false, true, false, false]), tiles: media(picture(4, 200)) };
        let ask = ask(vec![ImageInput::Whole(media(picture(3, 9))), ImageInput::Kept(kept)]);
        let said = conversation(&ask, &Limits::default(), &model(), BOTH).unwrap();
        let [Said::User(parts)] = said.as_slice() else { panic!("{said:?}") };
        assert_eq!(decoded(&parts[0]).dimensions(), (3, 3));
        let placed = decoded(&parts[1]);
        assert_eq!(placed.dimensions(), (8, 8));
        assert_eq!((placed.get_pixel(6, 1).0, placed.get_pixel(1, 6).0), ([200; 3], [128; 3]));
        assert_eq!(parts[2], Part::Text { text: "what?".into() });
    }

    #[test]
    fn what_the_upstream_does_not_take_and_what_is_no_picture_is_refused() {
        let media = |bytes| ImageInput::Whole(Media { kind: MediaKind::Png, bytes });
        let code = |image, inputs| {
            conversation(&ask(vec![image]), &Limits::default(), &model(), inputs).unwrap_err().code
        };
        let blind = Inputs { images: false, audio: true };
        assert_eq!(code(media(picture(3, 9)), blind), ErrorCode::Unsupported);
        assert_eq!(code(media(b"<svg/>".to_vec()), BOTH), ErrorCode::NotAnImage);
    }

    #[test]
    fn a_recording_survives_its_file() {
        let samples: Vec<f32> = (0..800).map(|n| (n as f32 / 9.0).sin() * 0.8).collect();
        let bytes = wav(&Pcm::from_mono(16_000, samples.clone()).unwrap());
        let budget = AudioBudget { max_bytes: 1 << 20, max_seconds: 1.0 };
        let back = read_wav(&bytes, &budget).unwrap();
        assert_eq!(back.sample_rate_hz(), 16_000);
        let furthest = back.samples().iter().zip(&samples).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(back.samples().len() == 800 && furthest < 1e-3, "{furthest}");
    }
}
