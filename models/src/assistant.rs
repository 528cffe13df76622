//! A loaded checkpoint: from a prompt of raw media and text to a running [`Generation`].

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};

use crate::checkpoint::{CheckpointFiles, Weights};
use crate::config::ModelConfig;
use crate::end_tokens::EndTokens;
use crate::error::ModelError;
use crate::generation::{Generation, read_back};
use crate::kept::KeptTokens;
use crate::kv_cache::KvCache;
use crate::mas_probe::{EarlyFeatures, MasProbe, MasScores, ProbeConfig};
use crate::model::MultimodalModel;
use crate::preprocess::{ImageLayout, Pcm, Preprocessor, Tiling, VideoSampling};
use crate::prompt::Prompt;
use crate::seeing::spread;
use crate::shapes::MAX_STEP_ROWS;
use crate::text::{PromptTemplate, PromptTokens, TextTokenizer};

/// Tokens of an answer where the caller sets no other bound.
pub const DEFAULT_MAX_NEW_TOKENS: usize = 128;

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

/// A prompt whose media went through the first layers of their towers, as far as a probe needs them.
#[derive(Debug)]
pub struct LookedAt {
    tokens: PromptTokens,
    question: Vec<u32>,
    early: EarlyFeatures,
    vision_layers: usize,
    audio_layers: usize,
    num_images: usize,
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
    pub(crate) ends: EndTokens,
    pub(crate) preprocessor: Preprocessor,
    pub(crate) device: Device,
    num_parameters: usize,
}

impl Assistant {
    /// Validates a checkpoint and puts it on a device.
    ///
    /// # Errors
    /// A [`ModelError`] naming the file or tensor that is missing, damaged or of another shape.
    pub fn load(files: &CheckpointFiles, device: &Device) -> Result<Self, ModelError> {
        let config = ModelConfig::from_json(&files.config_json)?;
        let format = files.check_memory(&config)?;
        let tokenizer = TextTokenizer::from_json(&files.tokenizer_json)?;
        let template = PromptTemplate::with_template(&tokenizer, &config, files.chat_template.as_deref())?;
        let ends = EndTokens::new(template.end_of_utterance_id(), &config, files.generation_json.as_deref())?;
        let preprocessor = Preprocessor::from_json(&files.preprocessor_json, &config)?;
        template.check_tiles(preprocessor.max_tiles_per_side())?;
        if tokenizer.vocab_size() > config.text_config.vocab_size {
            let (tokens, rows) = (tokenizer.vocab_size(), config.text_config.vocab_size);
            let reason = format!("it has {tokens} tokens, the embedding table of config.json {rows} rows");
            return Err(ModelError::Tokenizer { reason });
        }
        let weights = Weights::parse(&files.safetensors, device)?.kept_as(format);
        let model = MultimodalModel::load(&weights, &config)?;
        let num_parameters = weights.num_parameters();
        let device = device.clone();
        let parts = Parts { model, config, tokenizer, template, ends, preprocessor, device, num_parameters };
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

    /// How one of a question's pictures is shown.
    ///
    /// # Panics
    /// If there are fewer pictures.
    pub fn image_layout(&self, asked: &Prompt, index: usize) -> ImageLayout {
        asked.layout(&asked.images[index], &self.parts.preprocessor)
    }

    /// The tokens of a split picture of which these tiles are kept, row by row, and the whole of it.
    pub fn tokens_of_tiles(&self, tiles: &[bool]) -> Vec<usize> {
        KeptTokens::of_tiles(tiles, self.parts.config.num_image_tokens())
    }

    /// The token that ends a turn of the prompt; others may end an answer as well: [`Self::end_tokens`].
    pub fn end_of_utterance_id(&self) -> u32 {
        self.parts.template.end_of_utterance_id()
    }

    /// The tokens that end an answer.
    pub fn end_tokens(&self) -> &EndTokens {
        &self.parts.ends
    }

    /// How pictures are split; `None` where they are not.
    pub fn tiling(&self) -> Option<Tiling> {
        self.parts.preprocessor.tiling()
    }

    /// How often frames of a video are looked at; `None` where the checkpoint says nothing of videos: frames are
    /// pictures to it.
    pub fn video_sampling(&self) -> Option<VideoSampling> {
        self.parts.preprocessor.video_sampling()
    }

    /// Sampling rate in Hz and number of samples of the recording that the audio tower hears at once; `None` where the
    /// checkpoint cannot hear.
    pub fn audio_chunk(&self) -> Option<(u32, usize)> {
        self.parts.preprocessor.audio_chunk()
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
        self.encode_behind(prompt, 0)
    }

    /// As [`Self::encode`] where the first `known` positions need not be read: media of questions before them are left
    /// out.
    pub(crate) fn encode_behind(&self, prompt: &Prompt, known: usize) -> Result<EncodedPrompt, ModelError> {
        let tokens = self.layout(prompt)?;
        let mut media = Vec::with_capacity(tokens.image_spans.len() + tokens.audio_spans.len());
        let mut image_spans = &tokens.image_spans[..];
        let mut image_inputs = &tokens.image_inputs[..];
        let mut audio_spans = tokens.audio_spans.iter();
        for asked in prompt.questions() {
            let (spans, rest) = image_spans.split_at(asked.images.len());
            let (inputs, rest_of_inputs) = image_inputs.split_at(asked.images.len());
            (image_spans, image_inputs) = (rest, rest_of_inputs);
            if let Some(seeing) = &self.parts.model.vision
                && spans.last().is_some_and(|span| span.end > known)
            {
                self.encode_images(seeing, asked, inputs, &mut media);
            }
            if let Some(recording) = &asked.audio
                && let Some(span) = audio_spans.next()
                && span.end > known
            {
                media.push((span.clone(), self.encode_audio(recording, asked.kept.audio.as_deref())?));
            }
        }
        Ok(EncodedPrompt { token_ids: tokens.ids, media })
    }

    /// Runs whole pictures and recording through the first layers of their towers only; [`Self::encode_rest`] goes
    /// on from there, so that a probe's look costs nothing twice.
    ///
    /// # Errors
    /// As [`Self::encode`]; [`ModelError::Prompt`] too where tokens are to be left out, or turns came before.
    pub fn look(&self, prompt: &Prompt, probe: &MasProbe) -> Result<LookedAt, ModelError> {
        let parts = &*self.parts;
        if prompt.kept != KeptTokens::default() || !prompt.history.is_empty() {
            let reason =
                "a probe looks at one question's whole media; leave `kept` and `history` empty".to_owned();
            return Err(ModelError::Prompt { reason });
        }
        let tokens = self.layout(prompt)?;
        let ProbeConfig { vision_layers, audio_layers, .. } = *probe.config();
        let num_images = prompt.images.len();
        if tokens.image_inputs.iter().any(|inputs| inputs.len() != 1) {
            let reason = "a probe looks at pictures that are not split; set `splitting` to never".to_owned();
            return Err(ModelError::Prompt { reason });
        }
        let vision = match &parts.model.vision {
            Some(seeing) if num_images > 0 => {
                let inputs = (0..num_images).flat_map(|index| self.inputs_of(prompt, index));
                Some(seeing.tower.early(self.pixels(&inputs.collect::<Vec<_>>()), vision_layers))
            }
            _ => None,
        };
        let audio = match (&prompt.audio, &parts.model.audio) {
            (Some(recording), Some(hearing)) => Some(hearing.tower.early(self.mel(recording)?, audio_layers)),
            _ => None,
        };
        let question = parts.tokenizer.encode(&prompt.question)?;
        let early = EarlyFeatures { vision, audio };
        Ok(LookedAt { tokens, question, early, vision_layers, audio_layers, num_images })
    }

    /// Scores what was looked at.
    ///
    /// # Errors
    /// [`ModelError::ReadBack`] if the device fails.
    pub async fn score(&self, looked: &LookedAt, probe: &MasProbe) -> Result<MasScores, ModelError> {
        let mut question = looked.question.clone();
        if question.is_empty() {
            question.push(self.parts.config.pad_token_id);
        }
        let embedded = self.parts.model.decoder.embed(&[question]);
        let early = &looked.early;
        // Without the black images that fill a GPU's batch.
        let vision = early.vision.clone().map(|vision| vision.narrow(0, 0, looked.num_images));
        probe.score(embedded, &EarlyFeatures { vision, audio: early.audio.clone() }).await
    }

    /// The rest of the towers for what [`Self::look`] began.
    pub fn encode_rest(&self, looked: LookedAt) -> EncodedPrompt {
        let model = &self.parts.model;
        let LookedAt { tokens, early, vision_layers, audio_layers, .. } = looked;
        let mut media = Vec::with_capacity(tokens.image_spans.len() + 1);
        if let (Some(vision), Some(seeing)) = (early.vision, &model.vision) {
            let features = seeing.connector.forward(seeing.tower.finish(vision, vision_layers));
            media.extend(spread(&tokens.image_spans, &features));
        }
        if let (Some(audio), Some(hearing), Some(span)) =
            (early.audio, &model.audio, tokens.audio_spans.first())
        {
            media.push((span.clone(), hearing.projector.forward(hearing.tower.finish(audio, audio_layers))));
        }
        EncodedPrompt { token_ids: tokens.ids, media }
    }

    /// The prompt's tokens and where its media go, held against the longest sequence; no medium is looked at.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn layout(&self, prompt: &Prompt) -> Result<PromptTokens, ModelError> {
        let parts = &*self.parts;
        let tokens = parts
            .template
            .conversation(&parts.tokenizer, &prompt.turns(&parts.config, &parts.preprocessor)?)?;
        // At least one position is left for the answer.
        let limit = self.max_sequence() - 1;
        if tokens.ids.len() > limit {
            return Err(ModelError::PromptTooLong { tokens: tokens.ids.len(), limit });
        }
        Ok(tokens)
    }

    /// `[1, audio tokens, hidden]`
    fn encode_audio(&self, recording: &Pcm, kept: Option<&[usize]>) -> Result<Tensor<3>, ModelError> {
        let Some(hearing) = &self.parts.model.audio else {
            return Err(ModelError::Prompt {
                reason: "this checkpoint cannot hear; leave the recording out".into(),
            });
        };
        let mel = self.mel(recording)?;
        Ok(match kept {
            Some(kept) => hearing.encode_kept(mel, kept),
            None => hearing.encode(mel),
        })
    }

    /// `[1, mel bins, frames]`
    fn mel(&self, recording: &Pcm) -> Result<Tensor<3>, ModelError> {
        let parts = &*self.parts;
        let values = parts.preprocessor.audio(recording)?;
        let (bins, frames) = parts
            .config
            .audio_config
            .as_ref()
            .map_or((0, 0), |audio| (audio.num_mel_bins, audio.num_mel_frames()));
        Ok(Tensor::from_data(TensorData::new(values, [1, bins, frames]), &parts.device))
    }

    /// Runs a prompt through the decoder, up to the scores of the answer's first token.
    ///
    /// # Errors
    /// [`ModelError::ReadBack`] if the device fails.
    pub async fn prefill(&self, prompt: &EncodedPrompt) -> Result<Generation, ModelError> {
        let count = prompt.token_ids.len();
        let budget = DEFAULT_MAX_NEW_TOKENS.min(self.max_sequence() - count);
        let cache = self.parts.model.decoder.new_cache(1, count + budget);
        self.prefill_into(prompt, cache, budget).await
    }

    /// As [`Self::prefill`], going on from the positions that a cache holds.
    pub(crate) async fn prefill_into(
        &self,
        prompt: &EncodedPrompt,
        mut cache: KvCache,
        max_new_tokens: usize,
    ) -> Result<Generation, ModelError> {
        let decoder = &self.parts.model.decoder;
        let count = prompt.token_ids.len() - cache.len();
        let embeddings = self.embed(prompt, &cache);
        let hidden = decoder.forward_last(embeddings, count, &mut cache);
        let scores = read_back(decoder.logits(hidden)).await?;
        Ok(Generation::new(self.clone(), cache, scores, max_new_tokens))
    }

    /// The embeddings of a prompt's positions behind those in the cache, its media in their places, padded for the
    /// device and within the cache: `[1, positions >= those of the prompt, hidden]`
    pub(crate) fn embed(&self, prompt: &EncodedPrompt, cache: &KvCache) -> Tensor<3> {
        let decoder = &self.parts.model.decoder;
        let held = cache.len();
        let mut ids = prompt.token_ids[held..].to_vec();
        let rows = decoder.shapes().rows(ids.len()).min(cache.capacity() - held);
        ids.resize(rows, self.parts.config.pad_token_id);
        let mut embeddings = decoder.embed(&[ids]);
        let hidden_size = self.parts.config.text_config.hidden_size;
        for (span, values) in prompt.media.iter().filter(|(span, _)| span.start >= held) {
            let span = span.start - held..span.end - held;
            embeddings = embeddings.slice_assign([0..1, span, 0..hidden_size], values.clone());
        }
        embeddings
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
        if let (Some(seeing), Some(vision)) = (&self.parts.model.vision, &self.parts.config.vision_config) {
            let side = vision.image_size;
            for batch in [1, 4] {
                let images = Tensor::zeros([batch, 3, side, side], self.device());
                read_back(seeing.encode(images.clone())).await?;
                read_back(seeing.encode_kept(images, &[0])).await?;
            }
        }
        if let (Some(hearing), Some(audio)) = (&self.parts.model.audio, &self.parts.config.audio_config) {
            let mel = Tensor::zeros([1, audio.num_mel_bins, audio.num_mel_frames()], self.device());
            read_back(hearing.encode(mel.clone())).await?;
            read_back(hearing.encode_kept(mel, &[0])).await?;
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
