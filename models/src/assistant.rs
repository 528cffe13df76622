//! A loaded checkpoint: from a prompt of raw media and text to a running [`Generation`].

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};

use crate::checkpoint::{CheckpointFiles, Weights};
use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::generation::{Generation, read_back};
use crate::model::MultimodalModel;
use crate::preprocess::{Pcm, Preprocessor, RgbImage};
use crate::shapes::MAX_STEP_ROWS;
use crate::text::{PromptTemplate, TextTokenizer};

/// Tokens of an answer where the caller sets no other bound.
pub const DEFAULT_MAX_NEW_TOKENS: usize = 128;

/// A question with what it is about.
#[derive(Debug, Clone, Default)]
pub struct Prompt {
    /// What the person asks.
    pub question: String,
    /// Pictures, or the frames of a clip in order.
    pub images: Vec<RgbImage>,
    /// A recording.
    pub audio: Option<Pcm>,
}

/// A prompt whose media went through their towers; ready for prefill.
#[derive(Debug, Clone)]
pub struct EncodedPrompt {
    token_ids: Vec<u32>,
    /// Embeddings that take the place of placeholder tokens: `[1, positions, hidden]` each.
    media: Vec<(Range<usize>, Tensor<3>)>,
}

impl EncodedPrompt {
    /// Number of positions that the prompt takes in the decoder.
    pub fn num_tokens(&self) -> usize {
        self.token_ids.len()
    }

    /// The prompt's tokens, media placeholders included.
    pub fn token_ids(&self) -> &[u32] {
        &self.token_ids
    }
}

/// A loaded checkpoint on its device. Cloning shares the weights.
#[derive(Debug, Clone)]
pub struct Assistant {
    pub(crate) parts: Arc<Parts>,
}

#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) model: MultimodalModel,
    pub(crate) config: ModelConfig,
    pub(crate) tokenizer: TextTokenizer,
    pub(crate) template: PromptTemplate,
    preprocessor: Preprocessor,
    device: Device,
    num_parameters: usize,
}

impl Assistant {
    /// Validates a checkpoint and puts it on a device.
    ///
    /// # Errors
    /// A [`ModelError`] naming the file or tensor that is missing, damaged or of another shape.
    pub fn load(files: &CheckpointFiles, device: &Device) -> Result<Self, ModelError> {
        let config = ModelConfig::from_json(&files.config_json)?;
        let tokenizer = TextTokenizer::from_json(&files.tokenizer_json)?;
        let template = PromptTemplate::new(&tokenizer, &config)?;
        let preprocessor = Preprocessor::from_json(&files.preprocessor_json, &config)?;
        if tokenizer.vocab_size() > config.text_config.vocab_size {
            let (tokens, rows) = (tokenizer.vocab_size(), config.text_config.vocab_size);
            let reason = format!("it has {tokens} tokens, the embedding table of config.json {rows} rows");
            return Err(ModelError::Tokenizer { reason });
        }
        let weights = Weights::parse(&files.safetensors, device)?;
        let model = MultimodalModel::load(&weights, &config)?;
        let num_parameters = weights.num_parameters();
        let device = device.clone();
        let parts = Parts { model, config, tokenizer, template, preprocessor, device, num_parameters };
        Ok(Self { parts: Arc::new(parts) })
    }

    /// The checkpoint's configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.parts.config
    }

    /// The checkpoint's tokenizer.
    pub fn tokenizer(&self) -> &TextTokenizer {
        &self.parts.tokenizer
    }

    /// The modules themselves, for whoever works below prompts.
    pub fn model(&self) -> &MultimodalModel {
        &self.parts.model
    }

    /// The device that holds the weights.
    pub fn device(&self) -> &Device {
        &self.parts.device
    }

    /// Number of values in the weights, a tied head counted once.
    pub fn num_parameters(&self) -> usize {
        self.parts.num_parameters
    }

    /// Longest prompt and answer together, in tokens.
    pub fn max_sequence(&self) -> usize {
        self.parts.config.text_config.max_position_embeddings
    }

    /// Encodes media and prefills the decoder: [`Self::encode`], then [`Self::prefill`].
    ///
    /// # Errors
    /// As those two.
    pub async fn start(&self, prompt: &Prompt) -> Result<Generation, ModelError> {
        let encoded = self.encode(prompt)?;
        self.prefill(&encoded).await
    }

    /// Runs pictures and recording through their towers.
    ///
    /// On a GPU this only queues the work, and the time shows in the prefill that waits for it.
    ///
    /// # Errors
    /// [`ModelError::PromptTooLong`] and [`ModelError::Prompt`] for what does not fit this checkpoint.
    pub fn encode(&self, prompt: &Prompt) -> Result<EncodedPrompt, ModelError> {
        let parts = &*self.parts;
        let tokens = parts.template.prompt(
            &parts.tokenizer,
            &prompt.question,
            prompt.images.len(),
            prompt.audio.is_some(),
        )?;
        // At least one position is left for the answer.
        let limit = self.max_sequence() - 1;
        if tokens.ids.len() > limit {
            return Err(ModelError::PromptTooLong { tokens: tokens.ids.len(), limit });
        }
        let mut media = Vec::with_capacity(tokens.image_spans.len() + 1);
        if !prompt.images.is_empty() {
            let images = self.encode_images(&prompt.images);
            for (index, span) in tokens.image_spans.iter().enumerate() {
                media.push((span.clone(), images.clone().narrow(0, index, 1)));
            }
        }
        if let (Some(recording), Some(span)) = (&prompt.audio, &tokens.audio_span) {
            media.push((span.clone(), self.encode_audio(recording)?));
        }
        Ok(EncodedPrompt { token_ids: tokens.ids, media })
    }

    /// `[images, image tokens, hidden]`; on a GPU padded with black images to a known batch.
    fn encode_images(&self, images: &[RgbImage]) -> Tensor<3> {
        let parts = &*self.parts;
        let side = parts.config.vision_config.image_size;
        let batch = parts.model.decoder.shapes().images(images.len());
        let mut values = Vec::with_capacity(batch * 3 * side * side);
        for image in images {
            values.extend(parts.preprocessor.image(image));
        }
        values.resize(batch * 3 * side * side, 0.0);
        let pixels = Tensor::from_data(TensorData::new(values, [batch, 3, side, side]), &parts.device);
        parts.model.encode_images(pixels)
    }

    /// `[1, audio tokens, hidden]`
    fn encode_audio(&self, recording: &Pcm) -> Result<Tensor<3>, ModelError> {
        let parts = &*self.parts;
        let (Some(hearing), Some(config)) = (&parts.model.audio, &parts.config.audio_config) else {
            return Err(ModelError::Prompt {
                reason: "this checkpoint cannot hear; leave the recording out".into(),
            });
        };
        let mel = parts.preprocessor.audio(recording)?;
        let shape = [1, config.num_mel_bins, config.num_mel_frames()];
        Ok(hearing.encode(Tensor::from_data(TensorData::new(mel, shape), &parts.device)))
    }

    /// Runs a prompt through the decoder, up to the scores of the answer's first token.
    ///
    /// # Errors
    /// [`ModelError::ReadBack`] if the device fails.
    pub async fn prefill(&self, prompt: &EncodedPrompt) -> Result<Generation, ModelError> {
        let decoder = &self.parts.model.decoder;
        let count = prompt.token_ids.len();
        let budget = DEFAULT_MAX_NEW_TOKENS.min(self.max_sequence() - count);
        let mut cache = decoder.new_cache(1, count + budget);
        let padded = decoder.shapes().rows(count).min(cache.capacity());
        let mut ids = prompt.token_ids.clone();
        ids.resize(padded, self.parts.config.pad_token_id);
        let mut embeddings = decoder.embed(&[ids]);
        let hidden_size = self.parts.config.text_config.hidden_size;
        for (span, values) in &prompt.media {
            embeddings = embeddings.slice_assign([0..1, span.clone(), 0..hidden_size], values.clone());
        }
        let hidden = decoder.forward(embeddings, count, &mut cache);
        let scores = read_back(decoder.logits(hidden.narrow(1, count - 1, 1))).await?;
        Ok(Generation::new(self.clone(), cache, scores, budget))
    }

    /// Runs every padded shape once, so that no question waits for kernels to be compiled and tuned.
    ///
    /// On the CPU, where nothing is padded, this does nothing.
    ///
    /// # Errors
    /// [`ModelError::ReadBack`] if the device fails.
    pub async fn warm_up(&self) -> Result<(), ModelError> {
        let decoder = &self.parts.model.decoder;
        let all_rows = decoder.shapes().all_rows(self.max_sequence());
        if all_rows.is_empty() {
            return Ok(());
        }
        let side = self.parts.config.vision_config.image_size;
        for batch in [1, 4] {
            read_back(self.parts.model.encode_images(Tensor::zeros([batch, 3, side, side], self.device())))
                .await?;
        }
        if let (Some(hearing), Some(audio)) = (&self.parts.model.audio, &self.parts.config.audio_config) {
            let mel = Tensor::zeros([1, audio.num_mel_bins, audio.num_mel_frames()], self.device());
            read_back(hearing.encode(mel)).await?;
        }
        for rows in all_rows {
            let mut cache = decoder.new_cache(1, rows);
            let embeddings = decoder.embed(&[vec![self.parts.config.pad_token_id; rows]]);
            // A step scores all its rows, a prefill only the last.
            let scored = if rows <= MAX_STEP_ROWS { rows } else { 1 };
            let hidden = decoder.forward(embeddings, rows, &mut cache);
            read_back(decoder.logits(hidden.narrow(1, 0, scored))).await?;
        }
        Ok(())
    }
}
