//! The prompt a checkpoint was trained on, at the level of tokens.
//!
//! | form | of which checkpoints |
//! |---|---|
//! | SmolVLM's | the pocket pair, and those with SmolVLM's own template |
//! | ChatML | those with SmolLM2's template, with or without its system message |
//! | the checkpoint's template, rendered | others, where templates are compiled in |
//! | plain text | those of text alone without a template: a conversation's texts, line by line |
//!
//! Pictures stand as transformers' processors expand them; one audio part of the same kind comes behind them. A modality that
//! is absent leaves no token behind. Earlier turns stand before the question in the same form, each with its answer and the
//! token that ends it. The first two forms are written here and held to the rendered templates by tests: a browser then needs
//! no renderer, which would be larger than the tokenizer.

use std::ops::Range;

use super::image_tokens::{ImageTokens, ImageWords};
use super::jinja::ChatTemplate;
use super::prompt_builder::PromptBuilder;
use super::{TextTokenizer, published, video_words};
use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::preprocess::{Clip, ImageLayout};

/// A prompt up to and including `Assistant:` or what stands for it, and where the towers' outputs go in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PromptTokens {
    /// Every token, placeholders included.
    pub ids: Vec<u32>,
    /// Each image of all turns in order, from its first placeholder to its last.
    pub image_spans: Vec<Range<usize>>,
    /// For each image of all turns those of its inputs that are looked at.
    pub image_inputs: Vec<Vec<InputSpan>>,
    /// The placeholders of each recording of all turns, in order.
    pub audio_spans: Vec<Range<usize>>,
}

/// The placeholders of one input of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputSpan {
    /// Which input of [`ImageLayout`].
    pub input: usize,
    /// Where they are.
    pub span: Range<usize>,
}

/// One turn of a conversation, its media as numbers of tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnTokens<'a> {
    /// What was asked.
    pub question: &'a str,
    /// The images.
    pub images: Vec<ImageTokens>,
    /// That they are frames of a video.
    pub clip: Option<&'a Clip>,
    /// Tokens looked at of the recording, if there is one.
    pub audio_tokens: Option<usize>,
    /// What was answered; `None` for the question to be answered, which stands last.
    pub answer: Option<&'a str>,
}

/// Builds prompts; its special tokens are looked up once.
#[derive(Debug, Clone)]
pub struct PromptTemplate {
    form: Form,
    end_of_answer: u32,
    image: Option<ImageWords>,
    audio: Option<AudioWords>,
}

#[derive(Debug, Clone)]
enum Form {
    SmolVlm {
        start: u32,
        /// What stands between `User:` and a question that follows it directly.
        before_bare_question: &'static str,
    },
    ChatMl {
        start: u32,
        system: Option<&'static str>,
    },
    Rendered(ChatTemplate),
    Plain,
}

#[derive(Debug, Clone, Copy)]
struct AudioWords {
    start: u32,
    end: u32,
    placeholder: u32,
    count: usize,
}

/// The id of a token that a prompt needs.
pub(super) fn special(tokenizer: &TextTokenizer, token: &str) -> Result<u32, ModelError> {
    tokenizer
        .token_id(token)
        .ok_or_else(|| ModelError::Tokenizer { reason: format!("it has no token `{token}`") })
}

/// As [`special`], for a token that config.json names too.
pub(super) fn placeholder(
    tokenizer: &TextTokenizer,
    token: &str,
    expected: u32,
    key: &str,
) -> Result<u32, ModelError> {
    match special(tokenizer, token)? {
        found if found == expected => Ok(found),
        found => Err(ModelError::Tokenizer {
            reason: format!("`{token}` is token {found}, but {key} in config.json is {expected}"),
        }),
    }
}

impl PromptTemplate {
    /// Most characters of a question; longer ones are refused before they are tokenised.
    pub const MAX_QUESTION_CHARS: usize = 2_000;
    /// Most images of one prompt.
    pub const MAX_IMAGES: usize = 64;

    /// A checkpoint's own form where it comes without a template.
    ///
    /// # Errors
    /// As [`Self::with_template`].
    pub fn new(tokenizer: &TextTokenizer, config: &ModelConfig) -> Result<Self, ModelError> {
        Self::with_template(tokenizer, config, None)
    }

    /// Looks up the special tokens and holds them against the configuration.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] when a token is missing, or the placeholders are not those of config.json;
    /// [`ModelError::Config`] for a template that cannot be rendered here.
    pub fn with_template(
        tokenizer: &TextTokenizer,
        config: &ModelConfig,
        template: Option<&str>,
    ) -> Result<Self, ModelError> {
        let audio = match (&config.audio_config, config.audio_token_id) {
            (Some(audio), Some(expected)) => Some(AudioWords {
                start: special(tokenizer, "<audio_start>")?,
                end: special(tokenizer, "<audio_end>")?,
                placeholder: placeholder(tokenizer, "<audio>", expected, "audio_token_id")?,
                count: audio.num_audio_tokens(),
            }),
            _ => None,
        };
        let image = ImageWords::new(tokenizer, config)?;
        // Checkpoints that hear are trained here, and no template knows of recordings.
        let template = template.filter(|_| audio.is_none());
        let smolvlm = |before_bare_question| -> Result<Form, ModelError> {
            Ok(Form::SmolVlm { start: special(tokenizer, "<|im_start|>")?, before_bare_question })
        };
        let chat_ml = |system| -> Result<Form, ModelError> {
            Ok(Form::ChatMl { start: special(tokenizer, "<|im_start|>")?, system })
        };
        let form = match template {
            // Checkpoints that hear have the same prompt with and without pictures.
            None if audio.is_some() => smolvlm("")?,
            None if image.is_some() => smolvlm(" ")?,
            None => Form::Plain,
            Some(text) if published::SMOLVLM.contains(&text) => smolvlm(" ")?,
            Some(text) if text == published::CHAT_ML => chat_ml(None)?,
            Some(text) if text == published::SMOLLM2 => chat_ml(Some(published::SMOLLM2_SYSTEM))?,
            Some(text) => Form::Rendered(ChatTemplate::new(text, tokenizer, config)?),
        };
        let end_of_answer = match &form {
            Form::SmolVlm { .. } => special(tokenizer, "<end_of_utterance>")?,
            Form::ChatMl { .. } => special(tokenizer, "<|im_end|>")?,
            Form::Rendered(_) | Form::Plain => end_of_text(tokenizer, config, template),
        };
        Ok(Self { form, end_of_answer, image, audio })
    }

    /// The token that ends an answer.
    pub fn end_of_utterance_id(&self) -> u32 {
        self.end_of_answer
    }

    /// Holds the grid of tiles against the vocabulary.
    pub(crate) fn check_tiles(&self, max_per_side: u32) -> Result<(), ModelError> {
        match &self.image {
            Some(words) if max_per_side > 0 => {
                words.tile(max_per_side - 1, max_per_side as usize - 1).map(|_| ())
            }
            _ => Ok(()),
        }
    }

    /// The prompt for a question about pictures that are not split and a recording, all of whose tokens are looked at.
    ///
    /// # Errors
    /// As [`Self::conversation`].
    pub fn prompt(
        &self,
        tokenizer: &TextTokenizer,
        question: &str,
        num_images: usize,
        has_audio: bool,
    ) -> Result<PromptTokens, ModelError> {
        let audio_tokens = has_audio.then(|| self.audio.map_or(0, |audio| audio.count));
        let count = self.image.as_ref().map_or(0, |image| image.count);
        // Bounded before anything of that size is made.
        let images =
            vec![ImageTokens::all_of(ImageLayout::WHOLE, count); num_images.min(Self::MAX_IMAGES + 1)];
        let turn = TurnTokens { question, images, clip: None, audio_tokens, answer: None };
        self.conversation(tokenizer, &[turn])
    }

    /// The prompt for the last of these turns, which the others came before.
    ///
    /// # Errors
    /// [`ModelError::QuestionTooLong`], [`ModelError::Prompt`] for too many images or media that the checkpoint cannot see
    /// or hear, and whatever [`TextTokenizer::encode`] refuses.
    pub fn conversation(
        &self,
        tokenizer: &TextTokenizer,
        turns: &[TurnTokens<'_>],
    ) -> Result<PromptTokens, ModelError> {
        let num_images: usize = turns.iter().map(|turn| turn.images.len()).sum();
        if num_images > Self::MAX_IMAGES {
            let most = Self::MAX_IMAGES;
            return Err(refusal(format!("more than {most} images are given; use fewer")));
        }
        turns.iter().try_for_each(|turn| self.check(turn))?;
        let mut builder = PromptBuilder::new(tokenizer);
        match &self.form {
            Form::Rendered(template) if turns.iter().all(|turn| turn.clip.is_none()) => {
                template.render(turns, self.image.as_ref(), &mut builder)?;
            }
            // transformers, too, has one form for all videos, whatever the checkpoint's template.
            Form::Rendered(_) => {
                self.smolvlm(special(tokenizer, "<|im_start|>")?, " ", turns, &mut builder)?
            }
            Form::SmolVlm { start, before_bare_question } => {
                self.smolvlm(*start, before_bare_question, turns, &mut builder)?;
            }
            Form::ChatMl { start, system } => self.chat_ml(*start, *system, turns, &mut builder)?,
            Form::Plain => self.plain(turns, &mut builder)?,
        }
        builder.finish()
    }

    fn smolvlm(
        &self,
        start: u32,
        before_bare_question: &str,
        turns: &[TurnTokens<'_>],
        builder: &mut PromptBuilder<'_>,
    ) -> Result<(), ModelError> {
        builder.special(start)?;
        for (index, turn) in turns.iter().enumerate() {
            builder.text(if index > 0 { "\nUser:" } else { "User:" });
            if turn.clip.is_some() || turn.images.is_empty() && turn.audio_tokens.is_none() {
                builder.text(before_bare_question);
            }
            self.media(turn, builder)?;
            builder.text(turn.question);
            builder.special(self.end_of_answer)?;
            builder.text("\nAssistant:");
            if let Some(answer) = turn.answer {
                // The template's own space, unless the answer came as a model wrote it.
                let is_spaced = answer.is_empty() || answer.starts_with(char::is_whitespace);
                builder.text(if is_spaced { "" } else { " " });
                builder.text(answer);
                builder.special(self.end_of_answer)?;
            }
        }
        Ok(())
    }

    /// The pictures of a turn, or its video, and its recording.
    fn media(&self, turn: &TurnTokens<'_>, builder: &mut PromptBuilder<'_>) -> Result<(), ModelError> {
        if let Some(clip) = turn.clip {
            builder.text(&video_words::intro(turn.images.len(), clip.duration_s));
        }
        for (index, image) in turn.images.iter().enumerate() {
            if let Some(time_s) = turn.clip.and_then(|clip| clip.times_s.get(index)) {
                builder.text(&video_words::before_frame(*time_s));
            }
            if let Some(words) = &self.image {
                builder.image(words, image)?;
            }
        }
        if turn.clip.is_some() {
            builder.text(video_words::OUTRO);
        }
        if let (Some(count), Some(AudioWords { start, end, placeholder, .. })) =
            (turn.audio_tokens, self.audio)
        {
            builder.audio([start, placeholder, end], count)?;
        }
        Ok(())
    }

    fn chat_ml(
        &self,
        start: u32,
        system: Option<&str>,
        turns: &[TurnTokens<'_>],
        builder: &mut PromptBuilder<'_>,
    ) -> Result<(), ModelError> {
        let mut message = |role: &str, text: &str| -> Result<(), ModelError> {
            builder.special(start)?;
            builder.text(role);
            builder.text("\n");
            builder.text(text);
            builder.special(self.end_of_answer)?;
            builder.text("\n");
            Ok(())
        };
        system.map_or(Ok(()), |system| message("system", system))?;
        for turn in turns {
            message("user", turn.question)?;
            turn.answer.map_or(Ok(()), |answer| message("assistant", answer))?;
        }
        builder.special(start)?;
        builder.text("assistant\n");
        Ok(())
    }

    fn plain(&self, turns: &[TurnTokens<'_>], builder: &mut PromptBuilder<'_>) -> Result<(), ModelError> {
        let texts = turns.iter().flat_map(|turn| [Some(turn.question), turn.answer]).flatten();
        for (index, text) in texts.filter(|text| !text.is_empty()).enumerate() {
            builder.text(if index > 0 { "\n" } else { "" });
            builder.text(text);
        }
        // A decoder needs something to go on from.
        if turns.iter().all(|turn| turn.question.is_empty()) {
            builder.special(self.end_of_answer)
        } else {
            Ok(())
        }
    }

    /// Holds a turn against what the checkpoint can do.
    fn check(&self, turn: &TurnTokens<'_>) -> Result<(), ModelError> {
        check_question(turn.question)?;
        if !turn.images.is_empty() && self.image.is_none() {
            return Err(refusal("this checkpoint has no vision tower; leave the pictures out".to_owned()));
        }
        if turn.audio_tokens.is_some() && self.audio.is_none() {
            return Err(refusal("this checkpoint has no audio tower; leave the recording out".to_owned()));
        }
        match turn.clip {
            Some(clip) if clip.times_s.len() != turn.images.len() || turn.images.is_empty() => {
                let (times, frames) = (clip.times_s.len(), turn.images.len());
                Err(refusal(format!(
                    "{times} times are given for {frames} frames of a video; give one for each"
                )))
            }
            _ => Ok(()),
        }
    }

    /// The tokens of [`Self::prompt`] alone.
    ///
    /// # Errors
    /// As [`Self::prompt`].
    pub fn tokens(
        &self,
        tokenizer: &TextTokenizer,
        question: &str,
        num_images: usize,
        has_audio: bool,
    ) -> Result<Vec<u32>, ModelError> {
        Ok(self.prompt(tokenizer, question, num_images, has_audio)?.ids)
    }
}

/// Of the tokens that config.json lets end a text the one that the template writes, else the first.
fn end_of_text(tokenizer: &TextTokenizer, config: &ModelConfig, template: Option<&str>) -> u32 {
    let ends = &config.eos_token_ids;
    let is_written = |id: &&u32| {
        let name = tokenizer.special_tokens().find(|(_, token)| token == *id).map(|(name, _)| name);
        name.zip(template).is_some_and(|(name, template)| template.contains(name))
    };
    ends.iter().find(is_written).or(ends.first()).copied().unwrap_or_default()
}

fn refusal(reason: String) -> ModelError {
    ModelError::Prompt { reason }
}

fn check_question(question: &str) -> Result<(), ModelError> {
    let limit = PromptTemplate::MAX_QUESTION_CHARS;
    // A character has at most four bytes: a very long text need not be counted to be refused, but is, since
    // the message should name the number and counting is quick.
    let chars = question.chars().count();
    if chars > limit { Err(ModelError::QuestionTooLong { chars, limit }) } else { Ok(()) }
}
