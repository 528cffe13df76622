//! The requests of a run: questions with their media as the page would have captured them, and their right answers.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result};
use msao_models::{Pcm, Prompt, RgbImage};
use msao_protocol::{
    AudioInput, ImageInput, KeptAudio, KeptImage, Media, MediaKind, Modality, ModalityAction, ModelInfo,
};
use msao_runtime::{
    messages::RgbaPixels,
    orchestrator::{Given, PreparedMedia},
    scored::Scored,
    wav_encode,
};
use msao_tests::{
    evaluation::{self, Sample},
    native,
};

use crate::{
    eval::{MediaReader, Question, read_lines},
    picture::{Codec, captured},
};

/// Prompt tokens of a picture and of a recording on the edge, for the plan; those of the page.
const EDGE_PICTURE_TOKENS: u32 = 16;
const EDGE_SOUND_TOKENS: u32 = 30;

/// A question, ready to be asked.
#[derive(Debug)]
pub(crate) struct Request {
    /// Names it within its set.
    pub(crate) id: String,
    /// Question family.
    pub(crate) family: String,
    /// The right answer.
    pub(crate) right_answer: String,
    /// The question and what was captured for it.
    pub(crate) prompt: Arc<Prompt>,
    codecs: Vec<Codec>,
    whole_bytes: [u64; 2],
}

impl Request {
    /// A question about media as they were captured.
    ///
    /// # Errors
    /// If a picture cannot be encoded.
    pub(crate) fn new(
        [id, family, right_answer]: [String; 3],
        question: String,
        images: &[RgbImage],
        audio: Option<Pcm>,
    ) -> Result<Self> {
        let images: Vec<RgbImage> = images.iter().map(captured).collect();
        let codecs = images.iter().map(Codec::of).collect::<Result<Vec<_>>>()?;
        let prompt = Arc::new(Prompt { question, images, audio, ..Prompt::default() });
        let mut request = Self { id, family, right_answer, prompt, codecs, whole_bytes: [0; 2] };
        let whole = request.prepare([ModalityAction::Whole; 2], &Scored::default())?;
        request.whole_bytes = [
            whole.images.iter().map(ImageInput::bytes).sum(),
            whole.audio.iter().map(|audio| audio.media().bytes.len() as u64).sum(),
        ];
        Ok(request)
    }

    /// What was given, for the plan; nothing is locked.
    pub(crate) fn given(&self, target: Option<&ModelInfo>) -> Vec<Given> {
        let pictures = self.prompt.images.len() as u32;
        let vision = (pictures > 0).then(|| Given {
            modality: Modality::Vision,
            locked: false,
            whole_bytes: self.whole_bytes[0],
            target_tokens: pictures * target.map_or(0, |target| target.image.tokens()),
            edge_tokens: pictures * EDGE_PICTURE_TOKENS,
        });
        let audio = self.prompt.audio.as_ref().map(|_| Given {
            modality: Modality::Audio,
            locked: false,
            whole_bytes: self.whole_bytes[1],
            target_tokens: target.and_then(|target| target.audio).map_or(0, |audio| audio.tokens),
            edge_tokens: EDGE_SOUND_TOKENS,
        });
        vision.into_iter().chain(audio).collect()
    }

    /// Encodes what leaves the device of vision and audio.
    ///
    /// # Errors
    /// If a picture cannot be encoded, or what was scored is not what was given.
    pub(crate) fn prepare(
        &self,
        [vision, audio]: [ModalityAction; 2],
        scored: &Scored,
    ) -> Result<PreparedMedia> {
        let images = match vision {
            ModalityAction::Drop | ModalityAction::Edge => Vec::new(),
            ModalityAction::Whole => self.whole_images()?,
            ModalityAction::Pruned => self.kept_images(scored)?,
        };
        let audio = match audio {
            ModalityAction::Drop | ModalityAction::Edge => None,
            ModalityAction::Whole => {
                let wav = |audio: &Pcm| wav(audio.samples(), audio.sample_rate_hz());
                self.prompt.audio.as_ref().map(wav).map(AudioInput::Whole)
            }
            ModalityAction::Pruned => scored.audio.as_ref().map(|kept| {
                let windows = wav(&kept.windows.samples, kept.windows.sample_rate_hz);
                AudioInput::Kept(KeptAudio { mask: kept.mask.clone(), windows })
            }),
        };
        Ok(PreparedMedia { images, clip: None, audio })
    }

    fn whole_images(&self) -> Result<Vec<ImageInput>> {
        let whole = |(image, codec): (&RgbImage, &Codec)| {
            Ok(ImageInput::Whole(Media { kind: codec.kind(), bytes: codec.encode(image)? }))
        };
        self.prompt.images.iter().zip(&self.codecs).map(whole).collect()
    }

    fn kept_images(&self, scored: &Scored) -> Result<Vec<ImageInput>> {
        let mut kept: Vec<_> = scored.images.iter().collect();
        kept.sort_by_key(|image| image.frame);
        let encoded = |image: &msao_runtime::scored::PrunedImage| {
            let codec = *self.codecs.get(image.frame as usize).context("a frame that was not given")?;
            let tiles = Media { kind: codec.kind(), bytes: codec.encode(&rgb(&image.tiles)?)? };
            Ok(ImageInput::Kept(KeptImage { mask: image.mask.clone(), tiles }))
        };
        kept.into_iter().map(encoded).collect()
    }
}

fn rgb(pixels: &RgbaPixels) -> Result<RgbImage> {
    Ok(RgbImage::from_rgba(pixels.width, pixels.height, &pixels.pixels)?)
}

fn wav(samples: &[f32], sample_rate_hz: u32) -> Media {
    Media { kind: MediaKind::Wav, bytes: wav_encode::encode_wav(samples, sample_rate_hz) }
}

/// Where requests come from, in a fixed order.
pub(crate) enum RequestSet<'a> {
    /// A folder as the training code writes it, with the media of the last scene at hand.
    Folder(Vec<Question>, MediaReader<'a>),
    /// The samples that are shipped.
    Gallery(Vec<Sample>),
}

impl<'a> RequestSet<'a> {
    /// The set in a folder.
    ///
    /// # Errors
    /// If it has no `questions.jsonl` of the expected form.
    pub(crate) fn folder(folder: &'a Path) -> Result<Self> {
        let questions = read_lines::<Question>(&folder.join("questions.jsonl"))?;
        Ok(Self::Folder(spread(questions), MediaReader::new(folder)))
    }

    /// The shipped samples.
    ///
    /// # Errors
    /// If they are missing.
    pub(crate) fn gallery() -> Result<Self> {
        Ok(Self::Gallery(spread(evaluation::gallery()?)))
    }

    /// Requests in all.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Folder(questions, _) => questions.len(),
            Self::Gallery(samples) => samples.len(),
        }
    }

    /// One of them; `None` where the recording is so quiet that edge and server both refuse it.
    ///
    /// # Errors
    /// If its media cannot be read.
    pub(crate) fn load(&mut self, index: usize) -> Result<Option<Request>> {
        let (names, prompt) = match self {
            Self::Folder(questions, reader) => {
                let one = questions.get(index).context("a request of the set")?;
                let media = reader.read(one).with_context(|| format!("question {}", one.id))?;
                let prompt = Prompt {
                    question: one.question.clone(),
                    images: media.images,
                    audio: media.audio,
                    ..Prompt::default()
                };
                ([&one.id, &one.family, &one.answer].map(Clone::clone), prompt)
            }
            Self::Gallery(samples) => {
                let one = samples.get(index).context("a request of the gallery")?;
                ([&one.id, &one.family, &one.answer].map(Clone::clone), native::prompt(one)?)
            }
        };
        let Prompt { question, images, audio, .. } = prompt;
        if audio.as_ref().is_some_and(|audio| audio.require_audible().is_err()) {
            return Ok(None);
        }
        Request::new(names, question, &images, audio).map(Some)
    }
}

/// The same items in an order in which the first few are of all kinds: sets are sorted by scene or by family.
fn spread<T>(items: Vec<T>) -> Vec<T> {
    let count = items.len();
    // A step near the golden section that shares no factor with the count visits each item once.
    let step = (count * 618 / 1000..count.max(1)).find(|step| gcd(*step, count) == 1).unwrap_or(1);
    let mut slots: Vec<Option<T>> = items.into_iter().map(Some).collect();
    (0..count).filter_map(|place| slots[place * step % count].take()).collect()
}

fn gcd(one: usize, other: usize) -> usize {
    if other == 0 { one } else { gcd(other, one % other) }
}

#[cfg(test)]
mod tests {
    use msao_protocol::KeepMask;
    use msao_runtime::scored::PrunedImage;
    use proptest::prelude::*;

    use super::*;

    fn sample(id: &str) -> Request {
        let mut set = RequestSet::gallery().unwrap();
        let all = (0..set.len()).filter_map(|index| set.load(index).unwrap());
        all.into_iter().find(|request| request.id == id).unwrap()
    }

    proptest! {
        #[test]
        fn spreading_loses_nothing(count in 0_usize..3_000) {
            let mut spread = spread((0..count).collect::<Vec<_>>());
            spread.sort_unstable();
            prop_assert_eq!(spread, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn only_what_leaves_is_encoded() {
        let request = sample("16-say-all");
        let actions = [ModalityAction::Drop, ModalityAction::Whole];
        let media = request.prepare(actions, &Scored::default()).unwrap();
        assert!(media.images.is_empty());
        let given = request.given(None);
        assert_eq!(media.audio.unwrap().media().bytes.len() as u64, given[1].whole_bytes);
        let nothing = request.prepare([ModalityAction::Edge; 2], &Scored::default()).unwrap();
        assert_eq!(nothing, PreparedMedia::default());
    }

    #[test]
    fn kept_squares_travel_in_the_order_of_frames() {
        let request = sample("27-clip-what");
        let tiles = RgbaPixels { width: 8, height: 8, pixels: vec![255; 256] };
        let frame = |frame, kept: [bool; 2]| PrunedImage {
            frame,
            mask: KeepMask::new(&kept),
            tiles: tiles.clone(),
            split: None,
        };
        let images = vec![frame(2, [true, false]), frame(0, [false, true])];
        let scored = Scored { images, ..Scored::default() };
        let media = request.prepare([ModalityAction::Pruned, ModalityAction::Drop], &scored).unwrap();
        let second_is_kept = |image: &ImageInput| match image {
            ImageInput::Kept(kept) => kept.mask.is_kept(1),
            other => panic!("{other:?}"),
        };
        assert_eq!(media.images.iter().map(second_is_kept).collect::<Vec<_>>(), [true, false]);
        let beyond = Scored { images: vec![frame(9, [true; 2])], ..Scored::default() };
        assert!(request.prepare([ModalityAction::Pruned, ModalityAction::Drop], &beyond).is_err());
    }
}
