//! Which tokens of a prompt's media are looked at.
//!
//! What is left out costs nothing: its patches do not enter the vision tower, its frames not the audio layers, its
//! tokens not the decoder. The grain is a token of the model: a square of patches that the connector folds, a stack of
//! audio frames. Who chooses, and why, is not known here.

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::config::ModelConfig;
use crate::error::ModelError;

/// What is looked at; the default is everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeptTokens {
    /// For each image the kept tokens in rising order, row by row of the token grid and input by input where it is split;
    /// `None` keeps all. Inputs of which no token is kept are not looked at. Empty: all images are kept whole.
    pub images: Vec<Option<Vec<usize>>>,
    /// The kept audio tokens in rising order; `None` keeps all.
    pub audio: Option<Vec<usize>>,
}

impl KeptTokens {
    /// The tokens of a split picture of which these tiles are kept, row by row, and the whole of it, where each input has
    /// `count` tokens.
    pub fn of_tiles(tiles: &[bool], count: usize) -> Vec<usize> {
        tokens_of_inputs(tiles.iter().chain([&true]), count)
    }

    /// The kept tokens of image `index`.
    pub fn image(&self, index: usize) -> Option<&[usize]> {
        self.images.get(index).and_then(Option::as_deref)
    }

    /// Holds the indices against a checkpoint's numbers of tokens.
    ///
    /// # Errors
    /// [`ModelError::Prompt`] for lists that are empty, unsorted, out of range or not one for each image.
    ///
    /// `inputs` are the numbers of inputs of the images.
    pub(crate) fn check(&self, config: &ModelConfig, inputs: &[usize]) -> Result<(), ModelError> {
        if !self.images.is_empty() && self.images.len() != inputs.len() {
            let (lists, images) = (self.images.len(), inputs.len());
            return Err(refusal(format!(
                "{lists} lists of kept tokens for {images} images; give one for each"
            )));
        }
        for (kept, inputs) in self.images.iter().zip(inputs) {
            let Some(kept) = kept else { continue };
            check_list(kept, config.num_image_tokens() * inputs, "image")?;
        }
        match (&self.audio, &config.audio_config) {
            (Some(kept), Some(audio)) => check_list(kept, audio.num_audio_tokens(), "audio"),
            _ => Ok(()),
        }
    }
}

fn check_list(kept: &[usize], count: usize, what: &str) -> Result<(), ModelError> {
    let Some(&last) = kept.last() else {
        return Err(refusal(format!("no {what} token is kept; leave the {what} out instead")));
    };
    if last >= count || !kept.is_sorted_by(|a, b| a < b) {
        return Err(refusal(format!("kept {what} tokens must rise and lie below {count}")));
    }
    Ok(())
}

fn refusal(reason: String) -> ModelError {
    ModelError::Prompt { reason }
}

/// Of the kept tokens of an image those of one of its inputs, each of which has `count` tokens.
pub(crate) fn kept_of(kept: &[usize], input: usize, count: usize) -> &[usize] {
    let below = |limit: usize| kept.partition_point(|&token| token < limit);
    &kept[below(input * count)..below((input + 1) * count)]
}

/// The tokens of the inputs that are kept whole, each of which has `count` tokens.
fn tokens_of_inputs<'a>(kept: impl Iterator<Item = &'a bool>, count: usize) -> Vec<usize> {
    let inputs = kept.enumerate().filter(|(_, kept)| **kept);
    inputs.flat_map(|(input, _)| input * count..(input + 1) * count).collect()
}

/// The patches of kept image tokens, each token's together and in the connector's order.
pub(crate) fn patches_of(kept: &[usize], tokens_per_side: usize, scale: usize) -> Vec<usize> {
    let patches_per_side = tokens_per_side * scale;
    let patches = |&token: &usize| {
        let (row, column) = (token / tokens_per_side * scale, token % tokens_per_side * scale);
        (0..scale * scale).map(move |n| (row + n / scale) * patches_per_side + column + n % scale)
    };
    kept.iter().flat_map(patches).collect()
}

/// The encoder positions of kept audio tokens.
pub(crate) fn positions_of(kept: &[usize], stack: usize) -> Vec<usize> {
    kept.iter().flat_map(|token| token * stack..(token + 1) * stack).collect()
}

/// Positions among `count` as a device sees them.
#[derive(Debug)]
pub(crate) struct Selection {
    indices: Tensor<1, Int>,
    /// `[1, 1, 1, count]`: 0 for selected positions, far below zero for the others.
    mask: Tensor<4>,
}

impl Selection {
    pub(crate) fn new(positions: &[usize], count: usize, device: &Device) -> Self {
        let mut mask = vec![MASKED; count];
        for &position in positions {
            mask[position] = 0.0;
        }
        let indices = positions.iter().map(|&position| position as i32).collect();
        Self {
            indices: Tensor::from_data(TensorData::new::<i32, _>(indices, [positions.len()]), device),
            mask: Tensor::from_data(TensorData::new(mask, [1, 1, 1, count]), device),
        }
    }

    /// The selected positions of `[batch, count, size]`, in the order they were given in.
    pub(crate) fn of(&self, x: Tensor<3>) -> Tensor<3> {
        x.select(1, self.indices.clone())
    }

    /// The additive mask that hides all other positions.
    pub(crate) fn mask(&self) -> Tensor<4> {
        self.mask.clone()
    }
}

/// Score of a hidden key: far below any real one, and finite so that no row of a softmax is undefined.
pub(crate) const MASKED: f32 = -1e9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_s_patches_stand_together() {
        assert_eq!(patches_of(&[0, 3], 2, 2), [0, 1, 4, 5, 10, 11, 14, 15]);
        assert_eq!(positions_of(&[1, 4], 3), [3, 4, 5, 12, 13, 14]);
    }

    #[test]
    fn tokens_are_counted_through_the_inputs() {
        let kept = [0, 3, 4, 9, 11];
        assert_eq!(
            (kept_of(&kept, 0, 4), kept_of(&kept, 1, 4), kept_of(&kept, 2, 4)),
            (&[0, 3][..], &[4][..], &[9, 11][..])
        );
        assert!(kept_of(&[8], 1, 4).is_empty());
        assert_eq!(tokens_of_inputs([true, false, true].iter(), 2), [0, 1, 4, 5]);
    }

    #[test]
    fn lists_that_no_checkpoint_has_are_refused() {
        for kept in [&[][..], &[1, 1], &[2, 1], &[0, 9]] {
            assert!(matches!(check_list(kept, 9, "image"), Err(ModelError::Prompt { .. })), "{kept:?}");
        }
        assert!(check_list(&[0, 8], 9, "image").is_ok());
    }
}
