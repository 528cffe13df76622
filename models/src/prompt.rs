//! What goes into a model: a question with its media, and the conversation before it.

use crate::kept::{KeptTokens, kept_of};
use crate::preprocess::{Clip, ImageLayout, Pcm, Preprocessor, RgbImage};
use crate::text::{ImageTokens, TurnTokens};
use crate::{ModelConfig, ModelError};

/// A question with what it is about.
#[derive(Debug, Clone, Default)]
pub struct Prompt {
    /// What the person asks.
    pub question: String,
    /// Pictures, or the frames of a clip in order.
    pub images: Vec<RgbImage>,
    /// Whether pictures are split into tiles.
    pub splitting: Splitting,
    /// For each picture that is split what shows the whole of it beside its tiles, in a square of the tower's side; `None` makes it
    /// of the picture. Empty: of all pictures.
    pub wholes: Vec<Option<RgbImage>>,
    /// When the pictures were, if they are frames of a video whose times are known; they are not split then.
    pub clip: Option<Clip>,
    /// A recording.
    pub audio: Option<Pcm>,
    /// Which of their tokens are looked at.
    pub kept: KeptTokens,
    /// What was asked and answered before, oldest first.
    pub history: Vec<PastTurn>,
}

/// Whether pictures are split into tiles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Splitting {
    /// As the checkpoint has it: by its preprocessor_config.json.
    #[default]
    AsPublished,
    /// Each picture is one input: of pictures of which parts alone are there, and of frames.
    Never,
}

/// An earlier question of a conversation and its answer.
#[derive(Debug, Clone, Default)]
pub struct PastTurn {
    /// The question; a history of its own is not looked at.
    pub asked: Prompt,
    /// What was answered.
    pub answer: String,
}

impl Prompt {
    /// The questions of the conversation in order, this one last.
    pub fn questions(&self) -> impl Iterator<Item = &Prompt> {
        self.history.iter().map(|turn| &turn.asked).chain([self])
    }

    /// The same media with all of their tokens looked at. Of pictures whose tiles are not all there it takes the squares that
    /// show the whole, and splits none beside them.
    #[must_use]
    pub fn whole(mut self) -> Self {
        self.keep_all();
        for turn in &mut self.history {
            turn.asked.keep_all();
        }
        self
    }

    fn keep_all(&mut self) {
        self.kept = KeptTokens::default();
        let wholes = std::mem::take(&mut self.wholes);
        for (image, whole) in self.images.iter_mut().zip(wholes) {
            let Some(whole) = whole else { continue };
            self.splitting = Splitting::Never;
            *image = whole;
        }
    }

    /// Leaves out the pictures that are not marked, with what belongs to them. A video is one of fewer frames then, each at its own
    /// time, and as long as before.
    ///
    /// # Panics
    /// If there is not one mark for each picture.
    pub fn retain_images(&mut self, kept: &[bool]) {
        assert_eq!(kept.len(), self.images.len(), "marks for {} pictures", self.images.len());
        retain(&mut self.images, kept);
        retain(&mut self.wholes, kept);
        retain(&mut self.kept.images, kept);
        if let Some(clip) = &mut self.clip {
            retain(&mut clip.times_s, kept);
        }
    }

    /// What shows the whole of picture `index` beside its tiles, where it was given.
    pub fn given_whole(&self, index: usize) -> Option<&RgbImage> {
        self.wholes.get(index).and_then(Option::as_ref)
    }

    /// Holds the given wholes against the pictures and the side of the tower's square, in pixels.
    fn check_wholes(&self, inputs: &[usize], side: usize) -> Result<(), ModelError> {
        for index in 0..self.wholes.len() {
            let Some(whole) = self.given_whole(index) else { continue };
            let (width, height) = (whole.width(), whole.height());
            let fits = (width as usize, height as usize) == (side, side);
            if !fits || inputs.get(index).is_none_or(|inputs| *inputs == 1) {
                let reason = format!(
                    "a whole of {width}x{height} pixels stands beside picture {index}; it takes one that is split, and {side}x{side}"
                );
                return Err(ModelError::Prompt { reason });
            }
        }
        Ok(())
    }

    /// Whether none of this question's pictures is split, whatever the checkpoint does.
    pub(crate) fn never_splits(&self) -> bool {
        self.splitting == Splitting::Never || self.clip.is_some()
    }

    /// How an image of this question is shown.
    pub(crate) fn layout(&self, image: &RgbImage, preprocessor: &Preprocessor) -> ImageLayout {
        if self.never_splits() {
            ImageLayout::WHOLE
        } else {
            preprocessor.layout(image.width(), image.height())
        }
    }

    /// Tokens looked at of each image of this question alone.
    pub(crate) fn image_tokens(&self, config: &ModelConfig, preprocessor: &Preprocessor) -> Vec<ImageTokens> {
        let all = config.num_image_tokens();
        let of = |(index, image)| {
            let layout = self.layout(image, preprocessor);
            let Some(kept) = self.kept.image(index) else { return ImageTokens::all_of(layout, all) };
            let counts = (0..layout.num_inputs()).map(|input| kept_of(kept, input, all).len()).collect();
            ImageTokens { layout, counts }
        };
        self.images.iter().enumerate().map(of).collect()
    }

    /// Tokens looked at of this question's own recording, if it has one.
    pub fn audio_tokens(&self, config: &ModelConfig) -> Option<usize> {
        let all = config.audio_config.as_ref().map_or(0, |audio| audio.num_audio_tokens());
        self.audio.as_ref().map(|_| self.kept.audio.as_ref().map_or(all, Vec::len))
    }

    /// The conversation as the template sees it.
    pub(crate) fn turns(
        &self,
        config: &ModelConfig,
        preprocessor: &Preprocessor,
    ) -> Result<Vec<TurnTokens<'_>>, ModelError> {
        let answers = self.history.iter().map(|turn| Some(turn.answer.as_str())).chain([None]);
        self.questions()
            .zip(answers)
            .map(|(asked, answer)| {
                let inputs: Vec<usize> =
                    asked.images.iter().map(|image| asked.layout(image, preprocessor).num_inputs()).collect();
                asked.kept.check(config, &inputs)?;
                let side = config.vision_config.as_ref().map_or(0, |vision| vision.image_size);
                asked.check_wholes(&inputs, side)?;
                Ok(TurnTokens {
                    question: &asked.question,
                    images: asked.image_tokens(config, preprocessor),
                    clip: asked.clip.as_ref(),
                    audio_tokens: asked.audio_tokens(config),
                    answer,
                })
            })
            .collect()
    }
}

/// Keeps the parts that are marked, and those that have no mark.
fn retain<Part>(parts: &mut Vec<Part>, kept: &[bool]) {
    let mut kept = kept.iter();
    parts.retain(|_| kept.next().is_none_or(|kept| *kept));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_video_without_some_of_its_frames_keeps_the_times_of_the_others() {
        let frame = |value| RgbImage::from_rgb(1, 1, vec![value; 3]).unwrap();
        let mut video = Prompt {
            images: (0..4).map(frame).collect(),
            wholes: vec![None; 4],
            kept: KeptTokens { images: vec![None, None, None, Some(vec![1])], audio: None },
            clip: Some(Clip { duration_s: 9.0, times_s: vec![0.0, 1.5, 3.0, 4.5] }),
            ..Prompt::default()
        };
        video.retain_images(&[true, false, false, true]);
        assert_eq!(video.images, [frame(0), frame(3)]);
        assert_eq!((video.wholes.len(), video.kept.images), (2, vec![None, Some(vec![1])]));
        assert_eq!(video.clip, Some(Clip { duration_s: 9.0, times_s: vec![0.0, 4.5] }));
        let mut pictures = Prompt { images: vec![frame(0), frame(1)], ..Prompt::default() };
        pictures.retain_images(&[false, true]);
        assert_eq!((pictures.images, pictures.wholes.len()), (vec![frame(1)], 0));
    }
}
