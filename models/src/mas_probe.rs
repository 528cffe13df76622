//! The MAS probe: how much each modality, and each patch, matters to a question.
//!
//! It reads what the edge computes anyway, the vectors after the first layers of its towers, beside the question's token
//! embeddings, and costs about one per cent of the towers. It is trained in `training/train_probe.py`, whose `mas_probe.py`
//! is this network's reference. What is done with the scores is not known here.

use std::fs;
use std::path::Path;

use burn::tensor::activation::{gelu, sigmoid, softmax};
use burn::tensor::{Device, Tensor, TensorData};
use serde::Deserialize;

use crate::checkpoint::{Scope, Weights};
use crate::config::{AudioConfig, ModelConfig, VisionConfig};
use crate::error::ModelError;
use crate::generation::read_back;
use crate::linear::Linear;
use crate::norm::LayerNorm;
use crate::shapes::ShapePolicy;

const FILE: &str = "mas_probe.json";
/// PyTorch's default.
const LAYER_NORM_EPS: f64 = 1e-5;
/// Far below any activation, so that padding never is the largest.
const NEVER_LARGEST: f32 = -1e4;

/// The files of a probe, as bytes.
#[derive(Debug, Clone, Default)]
pub struct ProbeFiles {
    /// `mas_probe.json`
    pub config_json: Vec<u8>,
    /// `mas_probe.safetensors`
    pub safetensors: Vec<u8>,
}

impl ProbeFiles {
    /// Reads the files from a checkpoint's folder; `None` if it has no probe.
    ///
    /// # Errors
    /// [`ModelError::File`] naming the file that is there and could not be read.
    pub fn from_dir(folder: impl AsRef<Path>) -> Result<Option<Self>, ModelError> {
        let folder = folder.as_ref();
        if !folder.join(FILE).exists() {
            return Ok(None);
        }
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read(&path).map_err(|source| ModelError::File { path: path.display().to_string(), source })
        };
        Ok(Some(Self { config_json: read(FILE)?, safetensors: read("mas_probe.safetensors")? }))
    }
}

/// Shapes of a probe (`mas_probe.json`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeConfig {
    /// Vision layers that run before it looks.
    pub vision_layers: usize,
    /// Audio layers that run before it listens; 0 where the checkpoint cannot hear.
    pub audio_layers: usize,
    /// Encoder frames in one audio window.
    pub window_frames: usize,
    /// Tokens of a question that it reads.
    pub max_question_tokens: usize,
    /// Hidden width.
    pub width: usize,
    /// Hidden width of the read-out of relevances.
    pub modal_hidden: usize,
}

/// A loaded probe, made for one checkpoint.
#[derive(Debug)]
pub struct MasProbe {
    config: ProbeConfig,
    text_norm: LayerNorm,
    text: Linear,
    vision: Side,
    /// `None` where the checkpoint cannot hear.
    audio: Option<Side>,
    modal_1: Linear,
    modal_2: Linear,
    /// Mean early features `[cells][size]` of a frame: hashes of frames are taken around them.
    frame_mean: Vec<f32>,
    cells_per_side: usize,
}

/// What the probe looks at.
#[derive(Debug, Clone, Default)]
pub struct EarlyFeatures {
    /// `[images, patches, size]` after [`ProbeConfig::vision_layers`].
    pub vision: Option<Tensor<3>>,
    /// `[1, positions, size]` after [`ProbeConfig::audio_layers`].
    pub audio: Option<Tensor<3>>,
}

/// What the probe says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MasScores {
    /// P(the answer changes without the pictures), 0 to 1; `None` without pictures.
    pub vision_relevance: Option<f32>,
    /// P(the answer changes without the recording), 0 to 1; `None` without one.
    pub audio_relevance: Option<f32>,
    /// For each image, for each patch row by row: P(it decides the answer), given that the pictures matter.
    pub patches: Vec<Vec<f32>>,
    /// For each image, for each cell of a coarse grid: its mean-centred early features, for hashing.
    pub frame_cells: Vec<Vec<Vec<f32>>>,
}

/// One medium under the question.
#[derive(Debug)]
struct Side {
    norm: LayerNorm,
    input: Linear,
    question: Linear,
    output: Linear,
}

impl MasProbe {
    /// Validates a probe and puts it on the device.
    ///
    /// # Errors
    /// A [`ModelError`] naming the key or tensor that does not fit the checkpoint.
    pub fn load(files: &ProbeFiles, model: &ModelConfig, device: &Device) -> Result<Self, ModelError> {
        let config: ProbeConfig =
            serde_json::from_slice(&files.config_json).map_err(|error| ModelError::json(FILE, &error))?;
        let Some(seen) = &model.vision_config else {
            return Err(invalid("the checkpoint cannot see, a probe looks at pictures".to_owned()));
        };
        let side = seen.patches_per_side();
        config.check(seen, model.audio_config.as_ref())?;
        let weights = Weights::parse_one(&files.safetensors, device)?;
        let scope = weights.root();
        let (width, vision_size) = (config.width, seen.hidden_size);
        let cells_per_side = side / CELL_PATCHES;
        let text_size = model.text_config.hidden_size;
        Ok(Self {
            config,
            text_norm: LayerNorm::load(&scope.child("text_norm"), text_size, LAYER_NORM_EPS)?,
            text: Linear::load(&scope.child("text"), 3 * text_size, width, true)?,
            vision: Side::load(&scope.child("vision"), vision_size, width, 2)?,
            audio: match &model.audio_config {
                Some(audio) => Some(Side::load(&scope.child("audio"), audio.d_model, width, 1)?),
                None => None,
            },
            modal_1: Linear::load(&scope.child("modal_1"), 6 * width, config.modal_hidden, true)?,
            modal_2: Linear::load(&scope.child("modal_2"), config.modal_hidden, 2, true)?,
            frame_mean: scope.values("frame_mean", &[cells_per_side * cells_per_side, vision_size])?,
            cells_per_side,
        })
    }

    /// The probe's shapes.
    pub fn config(&self) -> &ProbeConfig {
        &self.config
    }

    /// Operations of one look at `patches` patches and `windows` windows, as [`Flops`](crate::Flops) counts them.
    pub fn flops(&self, question_tokens: usize, patches: usize, windows: usize) -> u64 {
        let linear =
            |rows: usize, layer: &Linear| 2 * (rows * layer.in_features() * layer.out_features()) as u64;
        let side = |rows: usize, side: &Side| {
            linear(rows, &side.input) + linear(1, &side.question) + linear(rows, &side.output)
        };
        linear(question_tokens, &self.text)
            + side(patches, &self.vision)
            + self.audio.as_ref().map_or(0, |audio| side(windows, audio))
            + linear(1, &self.modal_1)
            + linear(1, &self.modal_2)
    }

    /// Scores a question about early features. One read-back.
    ///
    /// # Shapes
    /// - question: `[1, tokens, text hidden]`, embeddings of the question alone; longer ones are cut
    ///
    /// # Errors
    /// [`ModelError::ReadBack`] if the device fails.
    pub async fn score(
        &self,
        question: Tensor<3>,
        features: &EarlyFeatures,
    ) -> Result<MasScores, ModelError> {
        let device = question.device();
        let asked = self.read_question(question);
        let nothing = || Tensor::<2>::zeros([1, 2 * self.config.width], &device);
        let num_images = features.vision.as_ref().map_or(0, |vision| vision.dims()[0]);
        let (patches, seen) = match &features.vision {
            Some(vision) => {
                let [images, count, size] = vision.dims();
                let (logits, seen) =
                    self.vision.forward(vision.clone().reshape([1, images * count, size]), &asked);
                (Some(logits.narrow(2, 1, 1).reshape([images * count])), seen)
            }
            None => (None, nothing()),
        };
        let heard = match (&features.audio, &self.audio) {
            (Some(audio), Some(side)) => side.forward(self.windows(audio.clone()), &asked).1,
            _ => nothing(),
        };
        let all = Tensor::cat(vec![asked, seen, heard], 1);
        let relevance = self.modal_2.forward(gelu(self.modal_1.forward(all))).reshape([2]);
        let mut scores = vec![sigmoid(relevance)];
        scores.extend(patches.map(sigmoid));
        let count = features.vision.as_ref().map_or(0, |vision| vision.dims()[1]);
        scores.extend(features.vision.as_ref().map(|vision| vision.clone().reshape([-1])));
        let values = read_back(Tensor::cat(scores, 0)).await?;
        let (relevance, values) = values.split_at(2);
        let (patches, early) = values.split_at(num_images * count);
        Ok(MasScores {
            vision_relevance: (num_images > 0).then_some(relevance[0]),
            audio_relevance: features.audio.is_some().then_some(relevance[1]),
            patches: patches.chunks(count.max(1)).map(<[f32]>::to_vec).collect(),
            frame_cells: early
                .chunks((early.len() / num_images.max(1)).max(1))
                .map(|frame| self.cells(frame))
                .collect(),
        })
    }

    /// `[1, 2 * width]`: mean and largest of what each token and its neighbours say.
    fn read_question(&self, question: Tensor<3>) -> Tensor<2> {
        let [_, tokens, size] = question.dims();
        let device = question.device();
        let real = tokens.min(self.config.max_question_tokens);
        let rows = match ShapePolicy::for_device(&device) {
            ShapePolicy::Exact => real,
            ShapePolicy::Padded | ShapePolicy::Fused => self.config.max_question_tokens,
        };
        let x = self.text_norm.forward(question.narrow(1, 0, real));
        let padding = |count: usize| Tensor::<3>::zeros([1, count, size], &device);
        // One row of nothing before and after, for the neighbours of the first and last token.
        let x = Tensor::cat(vec![padding(1), x, padding(rows - real + 1)], 1);
        let shifted = |by: usize| x.clone().narrow(1, by, rows);
        let h = gelu(self.text.forward(Tensor::cat(vec![shifted(0), shifted(1), shifted(2)], 2)));
        let row = |inside: f32, outside: f32| {
            let values: Vec<f32> = (0..rows).map(|row| if row < real { inside } else { outside }).collect();
            Tensor::<3>::from_data(TensorData::new(values, [1, rows, 1]), &device)
        };
        let mean = (h.clone() * row(1.0 / real as f32, 0.0)).sum_dim(1);
        let largest = (h + row(0.0, NEVER_LARGEST)).max_dim(1);
        Tensor::cat(vec![mean, largest], 2).reshape([1, 2 * self.config.width])
    }

    /// `[1, positions, size]` to `[1, windows, size]`.
    fn windows(&self, audio: Tensor<3>) -> Tensor<3> {
        let [_, positions, size] = audio.dims();
        let frames = self.config.window_frames;
        audio.reshape([positions / frames, frames, size]).mean_dim(1).reshape([1, positions / frames, size])
    }

    /// Early features of one frame, averaged over cells of patches and taken around their mean.
    fn cells(&self, early: &[f32]) -> Vec<Vec<f32>> {
        let cells = self.cells_per_side;
        let side = cells * CELL_PATCHES;
        let size = early.len() / (side * side);
        let share = 1.0 / (CELL_PATCHES * CELL_PATCHES) as f32;
        let mut means: Vec<Vec<f32>> =
            self.frame_mean.chunks(size).map(|mean| mean.iter().map(|value| -value).collect()).collect();
        for (patch, values) in early.chunks_exact(size).enumerate() {
            let cell = patch / side / CELL_PATCHES * cells + patch % side / CELL_PATCHES;
            for (mean, value) in means[cell].iter_mut().zip(values) {
                *mean += value * share;
            }
        }
        means
    }
}

/// Patches along a side of a cell whose features are hashed.
const CELL_PATCHES: usize = 2;

impl Side {
    fn load(scope: &Scope<'_>, size: usize, width: usize, outputs: usize) -> Result<Self, ModelError> {
        Ok(Self {
            norm: LayerNorm::load(&scope.child("norm"), size, LAYER_NORM_EPS)?,
            input: Linear::load(&scope.child("input"), size, width, true)?,
            question: Linear::load(&scope.child("question"), 2 * width, width, false)?,
            output: Linear::load(&scope.child("output"), width, outputs, true)?,
        })
    }

    /// # Shapes
    /// - x: `[1, n, size]`; asked: `[1, 2 * width]`
    /// - output: logits `[1, n, outputs]`, of which the first pools, and the pooled `[1, 2 * width]`
    fn forward(&self, x: Tensor<3>, asked: &Tensor<2>) -> (Tensor<3>, Tensor<2>) {
        let question = self.question.forward(asked.clone()).unsqueeze_dim(1);
        let h = gelu(self.input.forward(self.norm.forward(x)) + question);
        let logits = self.output.forward(h.clone());
        let weights = softmax(logits.clone().narrow(2, 0, 1), 1);
        let pooled = Tensor::cat(vec![(weights * h.clone()).sum_dim(1), h.max_dim(1)], 2);
        let [_, _, width] = pooled.dims();
        (logits, pooled.reshape([1, width]))
    }
}

impl ProbeConfig {
    fn check(self, vision: &VisionConfig, audio: Option<&AudioConfig>) -> Result<(), ModelError> {
        let (audio_layers, positions) =
            audio.map_or((0, 0), |audio| (audio.encoder_layers, audio.max_source_positions));
        let side = vision.patches_per_side();
        let holds = |holds: bool, reason: &str| if holds { Ok(()) } else { Err(invalid(reason.to_owned())) };
        holds(self.vision_layers <= vision.num_hidden_layers, "vision_layers: the tower has fewer")?;
        holds(self.audio_layers <= audio_layers, "audio_layers: the tower has fewer")?;
        holds(
            self.window_frames > 0 && positions.is_multiple_of(self.window_frames),
            "window_frames must divide the positions",
        )?;
        holds(side.is_multiple_of(CELL_PATCHES), "the picture needs an even number of patches a side")?;
        holds((1..=1024).contains(&self.max_question_tokens), "max_question_tokens must be 1 to 1024")?;
        let widths = 1..=4096;
        holds(widths.contains(&self.width) && widths.contains(&self.modal_hidden), "widths must be 1 to 4096")
    }
}

fn invalid(reason: String) -> ModelError {
    ModelError::Config { file: FILE, reason }
}
