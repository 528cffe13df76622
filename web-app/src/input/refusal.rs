//! Why an input is not taken, in words for the person who gave it: what is wrong, the limit, the remedy.

use crate::format::{bytes, seconds};

/// What helps against a model that cannot hear.
fn hearing_remedy(speech_bytes: Option<u64>) -> String {
    match speech_bytes {
        Some(size) => format!(
            "Turn on “Understand speech on this device” ({}) in the settings, or type the question.",
            bytes(size)
        ),
        None => "Type the question, or choose a model that hears in the settings.".to_owned(),
    }
}

/// An input the page refuses before any model sees it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// More bytes than allowed.
    #[error("{name} has {}; at most {} can be read. Choose a smaller one.", bytes(*.actual), bytes(*.limit))]
    FileTooLarge {
        /// Name of the file.
        name: String,
        /// Its bytes.
        actual: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// A recording that no model here or there can listen to.
    #[error("The model on this device cannot hear, and nobody else may listen. {}", hearing_remedy(*.speech_bytes))]
    NobodyHears {
        /// Bytes of the speech model that is offered, if one is.
        speech_bytes: Option<u64>,
    },
    /// More pixels than allowed.
    #[error("{name} is {width} × {height} pixels; at most {} million fit. Save it smaller, or show it to the camera.", limit / 1_000_000)]
    TooManyPixels {
        /// Name of the file.
        name: String,
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
        /// Pixels allowed.
        limit: u64,
    },
    /// More frames than a clip holds.
    #[error("A clip has at most {limit} pictures; {actual} were given. Choose fewer.")]
    TooManyImages {
        /// Pictures given.
        actual: usize,
        /// Pictures allowed.
        limit: usize,
    },
    /// The file ends too soon.
    #[error(
        "{name} is incomplete: the file ends before its picture or sound does. Copy or download it again."
    )]
    Truncated {
        /// Name of the file.
        name: String,
    },
    /// Neither a picture nor a video nor a sound.
    #[error(
        "{name} is neither a picture (PNG, JPEG, WebP) nor a video (MP4, WebM) nor a sound (WAV, MP3, OGG, FLAC, M4A)."
    )]
    UnknownFormat {
        /// Name of the file.
        name: String,
    },
    /// Looks like a picture, but the browser cannot read it.
    #[error("{name} cannot be read as a picture: it is damaged. Try another file.")]
    DamagedImage {
        /// Name of the file.
        name: String,
    },
    /// Looks like a sound, but the browser cannot read it.
    #[error(
        "{name} cannot be read as a sound: it is damaged or of a kind this browser does not play. Try a WAV file."
    )]
    DamagedAudio {
        /// Name of the file.
        name: String,
    },
    /// A video of which the browser shows nothing.
    #[error(
        "{name} has no pictures that this browser can read: it is damaged, or of a codec that is not known here. Try MP4 (H.264) or WebM (VP8, VP9)."
    )]
    UnreadableVideo {
        /// Name of the file.
        name: String,
    },
    /// A longer recording than allowed.
    #[error("{name} lasts {}; at most {} are taken, of which the models hear {}. Cut it shorter.", seconds(*.actual_s), seconds(*.limit_s), seconds(crate::input::pcm::WINDOW_S))]
    AudioTooLong {
        /// Name of the file.
        name: String,
        /// Its length.
        actual_s: f64,
        /// Length allowed.
        limit_s: f64,
    },
    /// Nothing can be heard.
    #[error(
        "Nothing can be heard in {name}. Check that the microphone is not muted, and try again closer to it."
    )]
    AudioSilent {
        /// Name of the file, or "the recording".
        name: String,
    },
    /// No question at all.
    #[error("Type a question, or hold the microphone button and say it.")]
    EmptyQuestion,
    /// A longer question than allowed.
    #[error(
        "The question has {actual} characters; at most {limit} are read. It is still in the box: please shorten it."
    )]
    QuestionTooLong {
        /// Characters typed.
        actual: usize,
        /// Characters allowed.
        limit: usize,
    },
    /// Nobody can answer.
    #[error(
        "Nobody can answer yet: the model on this device is not loaded and the server is away. Nothing is lost: ask again when one of them is ready."
    )]
    NobodyAnswers,
    /// The device alone is to answer, and cannot.
    #[error(
        "“Device only” is chosen, and the model on this device is not loaded. Nothing is lost: ask again when it is ready, or choose another way to answer below."
    )]
    DeviceNotReady,
    /// The words are locked, and the device cannot answer.
    #[error(
        "Your words are locked to this device, and its model is not loaded. Nothing was sent and nothing is lost: ask again when it is ready, or take the lock away."
    )]
    WordsLocked,
    /// The cloud is to answer, and cannot.
    #[error(
        "The chosen way to answer needs the server, which is away. Nothing is lost: ask again when it is back, or choose another way to answer below."
    )]
    CloudAway,
}

/// A recording device the page asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The camera.
    Camera,
    /// The microphone.
    Microphone,
}

impl Device {
    /// Its name in a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Self::Camera => "camera",
            Self::Microphone => "microphone",
        }
    }
}

/// Says why a camera or microphone did not open, from the name of the browser's `DOMException`.
pub fn device_message(device: Device, exception: &str) -> String {
    let name = device.name();
    match exception {
        "InsecureContext" => format!(
            "The {name} works only on a secure page. Open this page over https, or from the same machine as localhost."
        ),
        "NotAllowedError" | "SecurityError" => format!(
            "The browser did not allow the {name}. Allow it for this page in the address bar, then try again; or choose a file instead."
        ),
        "NotFoundError" | "OverconstrainedError" => {
            format!("No {name} was found. Connect one and try again, or choose a file instead.")
        }
        "NotReadableError" | "AbortError" => {
            format!("The {name} is in use by another program. Close that program and try again.")
        }
        other => format!("The {name} did not start ({other}). Try again, or choose a file instead."),
    }
}

/// Holds a question to its limit; a spoken one may be empty.
///
/// # Errors
/// [`Refusal::EmptyQuestion`], [`Refusal::QuestionTooLong`].
pub fn check_question(question: &str, spoken: bool, limit_chars: u32) -> Result<(), Refusal> {
    let actual = question.chars().count();
    let limit = limit_chars as usize;
    if actual > limit {
        return Err(Refusal::QuestionTooLong { actual, limit });
    }
    if question.trim().is_empty() && !spoken {
        return Err(Refusal::EmptyQuestion);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_thousand_characters_are_refused_with_both_numbers() {
        let error = check_question(&"a".repeat(100_000), false, 4_000).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("100000") && message.contains("4000"), "{message}");
    }

    #[test]
    fn a_spoken_question_needs_no_text() {
        assert_eq!(check_question("  ", true, 10), Ok(()));
        assert_eq!(check_question("  ", false, 10), Err(Refusal::EmptyQuestion));
    }

    #[test]
    fn characters_are_counted_not_bytes() {
        assert_eq!(check_question("ééééé", false, 5), Ok(()));
    }

    #[test]
    fn each_device_failure_names_the_device_and_a_remedy() {
        for exception in ["NotAllowedError", "NotFoundError", "NotReadableError", "InsecureContext", "Odd"] {
            for device in [Device::Camera, Device::Microphone] {
                let message = device_message(device, exception);
                assert!(message.contains(device.name()), "{message}");
                assert!(message.ends_with('.'), "{message}");
            }
        }
    }

    #[test]
    fn sizes_are_in_the_message() {
        let refusal = Refusal::FileTooLarge { name: "a.png".into(), actual: 9 << 20, limit: 8 << 20 };
        assert!(refusal.to_string().contains("9.4 MB"), "{refusal}");
    }
}
