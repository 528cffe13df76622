//! The prompt a checkpoint was trained on, at the level of tokens.
//!
//! Follows SmolVLM's chat template and the expansion that its processor does for one unsplit image, with one
//! audio part of the same kind after the images. A modality that is absent leaves no token behind. Earlier turns stand
//! before the question in the same form, each with its answer and the token that ends it.

use std::ops::Range;

use super::TextTokenizer;
use crate::config::ModelConfig;
use crate::error::ModelError;

/// A prompt up to and including `Assistant:`, and where the towers' outputs go in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptTokens {
    /// Every token, placeholders included.
    pub ids: Vec<u32>,
    /// The placeholders of each image of all turns, in order.
    pub image_spans: Vec<Range<usize>>,
    /// The placeholders of each recording of all turns, in order.
    pub audio_spans: Vec<Range<usize>>,
}

/// One turn of a conversation, its media as numbers of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnTokens<'a> {
    /// What was asked.
    pub question: &'a str,
    /// Tokens looked at of each image.
    pub image_tokens: Vec<usize>,
    /// Tokens looked at of the recording, if there is one.
    pub audio_tokens: Option<usize>,
    /// What was answered; `None` for the question to be answered, which stands last.
    pub answer: Option<&'a str>,
}

/// Builds prompts; its special tokens are looked up once.
#[derive(Debug, Clone)]
pub struct PromptTemplate {
    start: u32,
    end_of_utterance: u32,
    image: ImageTokens,
    audio: Option<AudioTokens>,
    /// `User:`, where an image or a recording follows.
    user: Vec<u32>,
    /// The line break and `User:`, in a later turn.
    next_user: Vec<u32>,
    /// The line break and `Assistant:`.
    assistant: Vec<u32>,
    /// What stands between `User:` and a question that follows it directly.
    before_bare_question: &'static str,
}

#[derive(Debug, Clone, Copy)]
struct ImageTokens {
    around: u32,
    global: u32,
    placeholder: u32,
    count: usize,
}

#[derive(Debug, Clone, Copy)]
struct AudioTokens {
    start: u32,
    end: u32,
    placeholder: u32,
    count: usize,
}

impl PromptTemplate {
    /// Most characters of a question; longer ones are refused before they are tokenised.
    pub const MAX_QUESTION_CHARS: usize = 2_000;
    /// Most images of one prompt.
    pub const MAX_IMAGES: usize = 64;

    /// Looks up the special tokens and holds them against the configuration.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] when a token is missing, or the placeholders are not those of config.json.
    pub fn new(tokenizer: &TextTokenizer, config: &ModelConfig) -> Result<Self, ModelError> {
        let special = |token: &str| {
            tokenizer
                .token_id(token)
                .ok_or_else(|| ModelError::Tokenizer { reason: format!("it has no token `{token}`") })
        };
        let placeholder = |token: &str, expected: u32, key: &str| match special(token)? {
            found if found == expected => Ok(found),
            found => Err(ModelError::Tokenizer {
                reason: format!("`{token}` is token {found}, but {key} in config.json is {expected}"),
            }),
        };
        let image = ImageTokens {
            around: special("<fake_token_around_image>")?,
            global: special("<global-img>")?,
            placeholder: placeholder("<image>", config.image_token_id, "image_token_id")?,
            count: config.num_image_tokens(),
        };
        let audio = match (&config.audio_config, config.audio_token_id) {
            (Some(audio), Some(expected)) => Some(AudioTokens {
                start: special("<audio_start>")?,
                end: special("<audio_end>")?,
                placeholder: placeholder("<audio>", expected, "audio_token_id")?,
                count: audio.num_audio_tokens(),
            }),
            _ => None,
        };
        Ok(Self {
            start: special("<|im_start|>")?,
            end_of_utterance: special("<end_of_utterance>")?,
            image,
            audio,
            user: tokenizer.encode("User:")?,
            next_user: tokenizer.encode("\nUser:")?,
            assistant: tokenizer.encode("\nAssistant:")?,
            // SmolVLM's published template puts a space before a message that begins with text; checkpoints
            // that hear, which are trained here, have the same prompt with and without pictures.
            before_bare_question: if config.audio_config.is_some() { "" } else { " " },
        })
    }

    /// The token that ends an answer.
    pub fn end_of_utterance_id(&self) -> u32 {
        self.end_of_utterance
    }

    /// The prompt for a question about pictures and a recording, all of whose tokens are looked at.
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
        // Bounded before anything of that size is made.
        let image_tokens = vec![self.image.count; num_images.min(Self::MAX_IMAGES + 1)];
        self.conversation(tokenizer, &[TurnTokens { question, image_tokens, audio_tokens, answer: None }])
    }

    /// The prompt for the last of these turns, which the others came before.
    ///
    /// # Errors
    /// [`ModelError::QuestionTooLong`], [`ModelError::Prompt`] for too many images or a recording that the
    /// checkpoint cannot hear, and whatever [`TextTokenizer::encode`] refuses.
    pub fn conversation(
        &self,
        tokenizer: &TextTokenizer,
        turns: &[TurnTokens<'_>],
    ) -> Result<PromptTokens, ModelError> {
        let num_images: usize = turns.iter().map(|turn| turn.image_tokens.len()).sum();
        if num_images > Self::MAX_IMAGES {
            let most = Self::MAX_IMAGES;
            return Err(ModelError::Prompt {
                reason: format!("more than {most} images are given; use fewer"),
            });
        }
        let mut tokens =
            PromptTokens { ids: vec![self.start], image_spans: Vec::new(), audio_spans: Vec::new() };
        for (index, turn) in turns.iter().enumerate() {
            self.ask(tokenizer, turn, index > 0, &mut tokens)?;
            tokens.ids.push(self.end_of_utterance);
            tokens.ids.extend(&self.assistant);
            if let Some(answer) = turn.answer {
                // The template's own space, unless the answer came as a model wrote it.
                let space =
                    if answer.is_empty() || answer.starts_with(char::is_whitespace) { "" } else { " " };
                tokens.ids.extend(tokenizer.encode(&format!("{space}{answer}"))?);
                tokens.ids.push(self.end_of_utterance);
            }
        }
        Ok(tokens)
    }

    /// What the person said in a turn.
    fn ask(
        &self,
        tokenizer: &TextTokenizer,
        turn: &TurnTokens<'_>,
        is_later: bool,
        PromptTokens { ids, image_spans, audio_spans }: &mut PromptTokens,
    ) -> Result<(), ModelError> {
        let TurnTokens { question, image_tokens, audio_tokens, answer: _ } = turn;
        check_question(question)?;
        let audio = match (*audio_tokens, self.audio) {
            (None, _) => None,
            (Some(count), Some(audio)) => Some(AudioTokens { count, ..audio }),
            (Some(_), None) => {
                let reason = "this checkpoint has no audio tower; leave the recording out".to_owned();
                return Err(ModelError::Prompt { reason });
            }
        };
        if image_tokens.is_empty() && audio.is_none() {
            // One text to the tokenizer, so that merges across the seam happen as in training.
            let user = if is_later { "\nUser:" } else { "User:" };
            ids.extend(tokenizer.encode(&format!("{user}{}{question}", self.before_bare_question))?);
            return Ok(());
        }
        ids.extend(if is_later { &self.next_user } else { &self.user });
        let ImageTokens { around, global, placeholder, count: _ } = self.image;
        for &count in image_tokens {
            ids.extend([around, global]);
            image_spans.push(push_placeholders(ids, placeholder, count));
            ids.push(around);
        }
        if let Some(AudioTokens { start, end, placeholder, count }) = audio {
            ids.push(start);
            audio_spans.push(push_placeholders(ids, placeholder, count));
            ids.push(end);
        }
        ids.extend(tokenizer.encode(question)?);
        Ok(())
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

fn push_placeholders(ids: &mut Vec<u32>, placeholder: u32, count: usize) -> Range<usize> {
    let start = ids.len();
    ids.resize(start + count, placeholder);
    start..ids.len()
}

fn check_question(question: &str) -> Result<(), ModelError> {
    let limit = PromptTemplate::MAX_QUESTION_CHARS;
    // A character has at most four bytes: a very long text need not be counted to be refused, but is, since
    // the message should name the number and counting is quick.
    let chars = question.chars().count();
    if chars > limit { Err(ModelError::QuestionTooLong { chars, limit }) } else { Ok(()) }
}
