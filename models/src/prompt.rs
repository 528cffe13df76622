//! What goes into a model: a question with its media, and the conversation before it.

use crate::kept::KeptTokens;
use crate::preprocess::{Pcm, RgbImage};
use crate::text::TurnTokens;
use crate::{ModelConfig, ModelError};

/// A question with what it is about.
#[derive(Debug, Clone, Default)]
pub struct Prompt {
    /// What the person asks.
    pub question: String,
    /// Pictures, or the frames of a clip in order.
    pub images: Vec<RgbImage>,
    /// A recording.
    pub audio: Option<Pcm>,
    /// Which of their tokens are looked at.
    pub kept: KeptTokens,
    /// What was asked and answered before, oldest first.
    pub history: Vec<PastTurn>,
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

    /// The same media with all of their tokens looked at.
    #[must_use]
    pub fn whole(mut self) -> Self {
        self.kept = KeptTokens::default();
        for turn in &mut self.history {
            turn.asked.kept = KeptTokens::default();
        }
        self
    }

    /// Tokens looked at of each image of this question alone.
    pub fn image_tokens(&self, config: &ModelConfig) -> Vec<usize> {
        let all = config.num_image_tokens();
        (0..self.images.len()).map(|index| self.kept.image(index).map_or(all, <[usize]>::len)).collect()
    }

    /// Tokens looked at of this question's own recording, if it has one.
    pub fn audio_tokens(&self, config: &ModelConfig) -> Option<usize> {
        let all = config.audio_config.as_ref().map_or(0, |audio| audio.num_audio_tokens());
        self.audio.as_ref().map(|_| self.kept.audio.as_ref().map_or(all, Vec::len))
    }

    /// The conversation as the template sees it.
    pub(crate) fn turns(&self, config: &ModelConfig) -> Result<Vec<TurnTokens<'_>>, ModelError> {
        let answers = self.history.iter().map(|turn| Some(turn.answer.as_str())).chain([None]);
        self.questions()
            .zip(answers)
            .map(|(asked, answer)| {
                asked.kept.check(config, asked.images.len())?;
                Ok(TurnTokens {
                    question: &asked.question,
                    image_tokens: asked.image_tokens(config),
                    audio_tokens: asked.audio_tokens(config),
                    answer,
                })
            })
            .collect()
    }
}
