//! The composite model: towers, projections and decoder under one configuration.
//!
//! It works on tensors only; pictures, sounds and text become tensors elsewhere.

use burn::tensor::{Device, Tensor};

use crate::audio::{AudioProjector, AudioTower};
use crate::checkpoint::Weights;
use crate::config::ModelConfig;
use crate::decoder::Decoder;
use crate::error::ModelError;
use crate::kept::{Selection, patches_of, positions_of};
use crate::vision::{Connector, VisionTower};

/// All modules of one checkpoint.
#[derive(Debug)]
pub struct MultimodalModel {
    /// Image to image tokens, where the checkpoint can see.
    pub vision: Option<Seeing>,
    /// Sound to audio tokens, where the checkpoint can hear.
    pub audio: Option<Hearing>,
    /// Tokens to tokens.
    pub decoder: Decoder,
}

/// The two modules of a checkpoint that can see.
#[derive(Debug)]
pub struct Seeing {
    /// Image to patch vectors.
    pub tower: VisionTower,
    /// Patch vectors to image tokens.
    pub connector: Connector,
}

/// The two modules of a checkpoint that can hear.
#[derive(Debug)]
pub struct Hearing {
    /// Spectrogram to frame vectors.
    pub tower: AudioTower,
    /// Frame vectors to audio tokens.
    pub projector: AudioProjector,
}

impl MultimodalModel {
    /// Loads the modules alone, without tokenizer and preprocessing.
    ///
    /// # Errors
    /// As [`Assistant::load`](crate::Assistant::load).
    pub fn from_bytes(config: &ModelConfig, safetensors: &[u8], device: &Device) -> Result<Self, ModelError> {
        Self::load(&Weights::parse_one(safetensors, device)?, config)
    }

    pub(crate) fn load(weights: &Weights<'_>, config: &ModelConfig) -> Result<Self, ModelError> {
        weights.check(config)?;
        let scope = weights.scope("model");
        let text_hidden = config.text_config.hidden_size;
        let untied_head = (!config.tie_word_embeddings).then(|| weights.root().child("lm_head"));
        let load_hearing = |audio| -> Result<Hearing, ModelError> {
            Ok(Hearing {
                tower: AudioTower::load(&scope.child("audio_model"), audio)?,
                projector: AudioProjector::load(&scope.child("audio_projector"), audio, text_hidden)?,
            })
        };
        let load_seeing = |vision| -> Result<Seeing, ModelError> {
            Ok(Seeing {
                tower: VisionTower::load(&scope.child("vision_model"), vision)?,
                connector: Connector::load(&scope.child("connector"), vision, config)?,
            })
        };
        let text = weights.scope(config.text_prefix());
        Ok(Self {
            vision: config.vision_config.as_ref().map(load_seeing).transpose()?,
            audio: config.audio_config.as_ref().map(load_hearing).transpose()?,
            decoder: Decoder::load(&text, &config.text_config, untied_head.as_ref())?,
        })
    }
}

impl Seeing {
    /// Image tokens of a batch of images.
    ///
    /// # Shapes
    /// - images: `[batch, 3, side, side]`; output: `[batch, image tokens, text hidden]`
    pub fn encode(&self, images: Tensor<4>) -> Tensor<3> {
        self.connector.forward(self.tower.forward(images))
    }

    /// As [`Self::encode`], looking at some of the image tokens only, the same of each image.
    ///
    /// # Shapes
    /// - kept: rising indices below the number of image tokens; output: `[batch, kept, text hidden]`
    pub fn encode_kept(&self, images: Tensor<4>, kept: &[usize]) -> Tensor<3> {
        let (side, scale) = (images.dims()[3] / self.tower.patch_size(), self.connector.scale_factor());
        let patches = patches_of(kept, side / scale, scale);
        let selection = Selection::new(&patches, side * side, &images.device());
        self.connector.forward_grouped(self.tower.forward_selected(images, &selection))
    }
}

impl Hearing {
    /// Audio tokens of a batch of clips.
    ///
    /// # Shapes
    /// - mel: `[batch, mel bins, mel frames]`; output: `[batch, audio tokens, text hidden]`
    pub fn encode(&self, mel: Tensor<3>) -> Tensor<3> {
        self.projector.forward(self.tower.forward(mel))
    }

    /// As [`Self::encode`], listening to some of the audio tokens' time only.
    ///
    /// # Shapes
    /// - kept: rising indices below the number of audio tokens; output: `[batch, kept, text hidden]`
    pub fn encode_kept(&self, mel: Tensor<3>, kept: &[usize]) -> Tensor<3> {
        let positions = positions_of(kept, self.projector.stack_factor());
        let selection = Selection::new(&positions, mel.dims()[2] / 2, &mel.device());
        self.projector.forward(self.tower.forward_selected(mel, &selection))
    }
}
