//! Fuzz targets: each takes any bytes at all and must neither panic nor answer beyond its budget.
//!
//! The same functions are called by libFuzzer, guided by coverage (`cargo xtask fuzz wire --minutes 10`), and by a short
//! test over the corpora and mutations of them, which runs with all other tests. What libFuzzer found worth keeping
//! stands in `corpus/`, one folder for each target.

use msao_models::ModelConfig;
use msao_models::preprocess::decode::{ImageBudget, decode_image};
use msao_models::preprocess::{AudioBudget, read_wav};
use msao_protocol::{ClientMessage, Limits, PROTOCOL_VERSION, ServerMessage, frame};
use msao_server::check_chat_request;

/// Small, so that what is decoded costs the fuzzer little; the checks are those of any budget.
const IMAGE_BUDGET: ImageBudget = ImageBudget { max_bytes: 1 << 20, max_side: 4_096, max_pixels: 1 << 18 };
const AUDIO_BUDGET: AudioBudget = AudioBudget { max_bytes: 1 << 20, max_seconds: 5.0 };

/// A target, by its name.
pub type Target = fn(&[u8]);

/// All targets and the names of their corpora.
pub const TARGETS: [(&str, Target); 5] =
    [("wire", wire), ("image", image), ("audio", audio), ("json", json), ("chat", chat)];

/// A frame as it comes, and the same bytes as the payload of a whole frame, which gets a fuzzer past the header at once.
/// What decodes also encodes, to what decodes to the same.
///
/// # Panics
/// If a message changes on its way there and back.
pub fn wire(bytes: &[u8]) {
    frame_as_it_comes(bytes);
    let mut framed = b"MSAO".to_vec();
    framed.extend([PROTOCOL_VERSION, 0, 0, 0]);
    framed.extend((bytes.len() as u32).to_le_bytes());
    framed.extend(bytes);
    frame_as_it_comes(&framed);
}

fn frame_as_it_comes(bytes: &[u8]) {
    if let Ok(message) = frame::decode::<ClientMessage>(bytes) {
        let once = frame::encode(&message).expect("what was decoded encodes");
        let again: ClientMessage = frame::decode(&once).expect("what was encoded decodes");
        // As bytes, since a message with a NaN in it is not equal to itself.
        assert_eq!(frame::encode(&again).expect("it encodes again"), once);
    }
    if let Ok(message) = frame::decode::<ServerMessage>(bytes) {
        let once = frame::encode(&message).expect("what was decoded encodes");
        let again: ServerMessage = frame::decode(&once).expect("what was encoded decodes");
        assert_eq!(frame::encode(&again).expect("it encodes again"), once);
    }
}

/// An image file.
///
/// # Panics
/// If more is decoded than the budget allows, or pixels and size do not agree.
pub fn image(bytes: &[u8]) {
    if let Ok(image) = decode_image(bytes, &IMAGE_BUDGET) {
        let pixels = u64::from(image.width()) * u64::from(image.height());
        assert!(pixels > 0 && pixels <= IMAGE_BUDGET.max_pixels, "{pixels} pixels");
        assert_eq!(image.pixels().len() as u64, 3 * pixels);
    }
}

/// A recording.
///
/// # Panics
/// If more is decoded than the budget allows, or a sample is no number.
pub fn audio(bytes: &[u8]) {
    if let Ok(recording) = read_wav(bytes, &AUDIO_BUDGET) {
        assert!(recording.seconds() <= AUDIO_BUDGET.max_seconds, "{} s", recording.seconds());
        assert!(recording.sample_rate_hz() > 0);
        assert!(recording.samples().iter().all(|sample| sample.is_finite()));
    }
}

/// JSON that comes from outside: limits, and a checkpoint's configuration.
///
/// # Panics
/// If limits change on their way there and back.
pub fn json(bytes: &[u8]) {
    // A number beyond 32 bits becomes infinite, which is no JSON; the server refuses such limits by name.
    if let Ok(limits) = serde_json::from_slice::<Limits>(bytes)
        && limits.audio_s.is_finite()
    {
        let text = serde_json::to_vec(&limits).expect("limits are JSON");
        assert_eq!(serde_json::from_slice::<Limits>(&text).expect("they are read back"), limits);
    }
    // Its error is the answer; what it accepts, the loader holds against the weights.
    let _ = ModelConfig::from_json(bytes);
}

/// The body of a chat completion, media in base64 included; what is refused, is refused as the fault of whoever sent it, and told
/// in OpenAI's form.
///
/// # Panics
/// If a refusal blames the server, or is no JSON with a code and a message.
pub fn chat(bytes: &[u8]) {
    // Small, so that the fuzzer comes to what is too large.
    let limits =
        Limits { image_bytes: 64, audio_bytes: 64, images: 2, history_images: 2, ..Limits::default() };
    if let Err(error) = check_chat_request(bytes, &limits) {
        assert!(!error.is_internal(), "{error}");
        let told: serde_json::Value = serde_json::from_str(&error.to_json()).expect("an error is JSON");
        let text = |name: &str| told["error"][name].as_str().map_or(0, str::len);
        assert!(text("code") > 0 && text("message") > 0, "{told}");
        // What comes back does not grow with what was sent.
        assert!(told["error"]["message"].as_str().is_none_or(|message| message.len() < 4_096), "{told}");
    }
}
