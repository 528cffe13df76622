//! Which patches of a picture stand out: what is known of them without a trained probe.
//!
//! It reads what the tower's first layers make of a picture, and says for each patch how much it differs from the picture's
//! mean and from what is beside it. It knows no question: how alike a patch and a question's words are was
//! measured too, and chose worse (models/README.md). So it orders patches and never says that a picture is not needed.
//!
//! `training/saliency.py` is the reference.

use burn::tensor::Tensor;

use crate::assistant::Assistant;
use crate::error::ModelError;
use crate::flops::Flops;
use crate::generation::read_back;
use crate::preprocess::RgbImage;

/// One of so many of the tower's layers is run, and at least one: a fraction of what one tile costs.
const LAYERS_SHARE: usize = 6;
/// How far probabilities spread: a patch of one deviation more counts several times as much.
const SHARPNESS: f32 = 5.0;
/// As PyTorch's layer norm.
const EPS: f32 = 1e-5;

impl Assistant {
    /// The tower's layers that run before patches are compared.
    pub fn saliency_layers(&self) -> usize {
        let layers = self.config().vision_config.as_ref().map_or(0, |vision| vision.num_hidden_layers);
        (layers / LAYERS_SHARE).max(1).min(layers)
    }

    /// How much each patch of a whole picture stands out, row by row: weights in 0 to 1.
    ///
    /// A picture that is split in tiles is looked at as a whole, in the square that its prompt ends with.
    ///
    /// # Errors
    /// [`ModelError::Prompt`] where the checkpoint cannot see, [`ModelError::ReadBack`] if the device fails.
    pub async fn saliency(&self, image: &RgbImage) -> Result<Vec<f32>, ModelError> {
        let (Some(seeing), Some(vision)) = (&self.parts.model.vision, &self.parts.config.vision_config)
        else {
            let reason = "this checkpoint cannot see; leave the pictures out".to_owned();
            return Err(ModelError::Prompt { reason });
        };
        let pixels = self.pixels(&[self.parts.preprocessor.whole(image)]);
        let early: Tensor<3> = seeing.tower.early(pixels, self.saliency_layers());
        let features = read_back(early.narrow(0, 0, 1)).await?;
        Ok(stands_out(&features, vision.hidden_size))
    }

    /// Operations of one [`Self::saliency`].
    pub fn saliency_flops(&self) -> u64 {
        Flops::of(self.config()).early_image(self.saliency_layers())
    }
}

/// How much each patch of a square of patches stands out, in 0 to 1.
///
/// # Shapes
/// - features: `patches * size`, patch by patch
fn stands_out(features: &[f32], size: usize) -> Vec<f32> {
    let patches: Vec<Vec<f32>> = features.chunks_exact(size).map(normed).collect();
    let from_mean = standard(from_mean(&patches));
    let from_neighbours = standard(from_neighbours(&patches));
    let logistic = |z: f32| 1.0 / (1.0 + (-z).exp());
    let both = from_mean.iter().zip(&from_neighbours).map(|(mean, beside)| SHARPNESS * (mean + beside) / 2.0);
    both.map(logistic).collect()
}

/// At zero mean and unit deviation, as a layer norm without weights.
fn normed(values: &[f32]) -> Vec<f32> {
    let count = values.len() as f32;
    let mean = values.iter().sum::<f32>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / count;
    let scale = 1.0 / (variance + EPS).sqrt();
    values.iter().map(|value| (value - mean) * scale).collect()
}

/// Zero mean and unit deviation over the patches; all zero where they are alike or not finite.
fn standard(mut values: Vec<f32>) -> Vec<f32> {
    const ALIKE: f32 = 1e-6;
    let count = values.len().max(1) as f32;
    let mean = values.iter().sum::<f32>() / count;
    let deviation = (values.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / count).sqrt();
    if !deviation.is_finite() || deviation <= ALIKE {
        values.fill(0.0);
        return values;
    }
    values.iter_mut().for_each(|value| *value = (*value - mean) / deviation);
    values
}

fn from_mean(patches: &[Vec<f32>]) -> Vec<f32> {
    let mut mean = vec![0.0; patches.first().map_or(0, Vec::len)];
    for patch in patches {
        mean.iter_mut().zip(patch).for_each(|(mean, value)| *mean += value / patches.len() as f32);
    }
    patches.iter().map(|patch| distance(patch, &mean)).collect()
}

/// The mean distance from the two to four neighbours.
fn from_neighbours(patches: &[Vec<f32>]) -> Vec<f32> {
    let side = patches.len().isqrt();
    let (mut total, mut count) = (vec![0.0; patches.len()], vec![0.0_f32; patches.len()]);
    let mut compare = |one: usize, other: usize| {
        let apart = distance(&patches[one], &patches[other]);
        for patch in [one, other] {
            total[patch] += apart;
            count[patch] += 1.0;
        }
    };
    for patch in 0..side * side {
        if patch % side + 1 < side {
            compare(patch, patch + 1);
        }
        if patch + side < side * side {
            compare(patch, patch + side);
        }
    }
    total.iter().zip(&count).map(|(total, count)| total / count.max(1.0)).collect()
}

fn distance(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(one, other)| (one - other).powi(2)).sum::<f32>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Patches of four numbers, all alike but one.
    fn one_differs(side: usize, odd: usize) -> Vec<f32> {
        let patch = |at: usize| if at == odd { [0.0, 4.0, 0.0, 0.0] } else { [1.0, 2.0, 3.0, 4.0] };
        (0..side * side).flat_map(patch).collect()
    }

    #[test]
    fn what_differs_stands_out_wherever_it_is() {
        for odd in 0..16 {
            let saliency = stands_out(&one_differs(4, odd), 4);
            assert_eq!(saliency.len(), 16);
            assert!(saliency.iter().all(|weight| (0.0..=1.0).contains(weight)), "{saliency:?}");
            let rest = (0..16).filter(|&at| at != odd).map(|at| saliency[at]).fold(0.0, f32::max);
            assert!(saliency[odd] > 0.9 && rest < saliency[odd], "{odd}: {saliency:?}");
        }
    }

    #[test]
    fn where_nothing_differs_every_patch_counts_the_same() {
        assert_eq!(stands_out(&[0.5; 36], 4), [0.5; 9]);
        let broken = [f32::NAN; 16];
        assert_eq!(stands_out(&broken, 4), [0.5; 4], "broken features choose nothing");
        assert_eq!(stands_out(&[1.0, 2.0, 3.0], 3), [0.5], "one patch");
    }

    /// `saliency.weights(x)` of training/saliency.py.
    #[test]
    fn weights_are_those_of_the_reference() {
        let features: Vec<f32> = (0..96).map(|n| (n * 7919 % 1000) as f32 / 500.0 - 1.0).collect();
        let expected = [
            0.13445, 0.12856, 0.97633, 0.01350, 0.26191, 0.02045, 0.97191, 0.00222, 0.98965, 0.03087,
            0.96432, 0.00222, 0.99966, 0.37775, 0.99991, 0.03803,
        ];
        for (found, expected) in stands_out(&features, 6).iter().zip(expected) {
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
    }

    #[test]
    fn brightness_and_contrast_of_a_vector_do_not_matter() {
        let plain = one_differs(3, 4);
        let scaled: Vec<f32> = plain.iter().map(|value| value * 7.0 + 3.0).collect();
        for (one, other) in stands_out(&plain, 4).iter().zip(stands_out(&scaled, 4)) {
            assert!((one - other).abs() < 1e-3, "{one} {other}");
        }
    }
}
