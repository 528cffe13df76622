//! From a question's pictures to embeddings in its prompt: each becomes inputs of the vision tower, of which those that are
//! looked at go through it, whole ones together.

use std::ops::Range;

use burn::tensor::{Tensor, TensorData};

use crate::assistant::Assistant;
use crate::kept::kept_of;
use crate::model::Seeing;
use crate::prompt::Prompt;
use crate::text::InputSpan;

/// Patches that go through the vision tower together: beyond it a pass gains no speed and takes more memory.
const PATCHES_PER_PASS: usize = 4_096;

impl Assistant {
    /// Inputs of the vision tower that one question's pictures make, tiles included.
    pub fn num_image_inputs(&self, asked: &Prompt) -> usize {
        let layouts = asked.images.iter().map(|image| asked.layout(image, &self.parts.preprocessor));
        layouts.map(|layout| layout.num_inputs()).sum()
    }

    /// One question's pictures through their tower, each input that is looked at to its span; whole ones go together.
    pub(crate) fn encode_images(
        &self,
        seeing: &Seeing,
        asked: &Prompt,
        inputs: &[Vec<InputSpan>],
        media: &mut Vec<(Range<usize>, Tensor<3>)>,
    ) {
        let all = self.parts.config.num_image_tokens();
        let (mut spans, mut together) = (Vec::new(), Vec::new());
        for (index, looked_at) in inputs.iter().enumerate() {
            let mut pixels = self.inputs_of(asked, index);
            for InputSpan { input, span } in looked_at {
                let pixels = std::mem::take(&mut pixels[*input]);
                if let Some(kept) = asked.kept.image(index) {
                    let kept: Vec<usize> =
                        kept_of(kept, *input, all).iter().map(|token| token - input * all).collect();
                    media.push((span.clone(), seeing.encode_kept(self.pixels(&[pixels]), &kept)));
                    continue;
                }
                spans.push(span.clone());
                together.push(pixels);
                if together.len() == self.images_per_pass() {
                    media.extend(spread(&spans, &seeing.encode(self.pixels(&together))));
                    (spans, together) = (Vec::new(), Vec::new());
                }
            }
        }
        if !together.is_empty() {
            media.extend(spread(&spans, &seeing.encode(self.pixels(&together))));
        }
    }

    /// The vision tower's inputs for one of a question's pictures, as its layout has them.
    pub(crate) fn inputs_of(&self, asked: &Prompt, index: usize) -> Vec<Vec<f32>> {
        let (preprocessor, image) = (&self.parts.preprocessor, &asked.images[index]);
        match asked.given_whole(index) {
            _ if asked.never_splits() => vec![preprocessor.image(image)],
            Some(whole) => preprocessor.inputs_beside(image, whole),
            None => preprocessor.inputs(image),
        }
    }

    /// Inputs that go through the vision tower together; on a GPU one of the batches that it runs anyway.
    fn images_per_pass(&self) -> usize {
        const GPU_BATCH: usize = 4;
        let patches = self.parts.config.vision_config.as_ref().map_or(1, |vision| vision.num_patches());
        let count = (PATCHES_PER_PASS / patches.max(1)).max(1);
        if count > GPU_BATCH { count - count % GPU_BATCH } else { count }
    }

    /// `[inputs, 3, side, side]`; on a GPU padded with black images to a known batch.
    pub(crate) fn pixels(&self, inputs: &[Vec<f32>]) -> Tensor<4> {
        let parts = &*self.parts;
        let side = parts.config.vision_config.as_ref().map_or(0, |vision| vision.image_size);
        let batch = parts.model.decoder.shapes().images(inputs.len());
        let mut values = Vec::with_capacity(batch * 3 * side * side);
        inputs.iter().for_each(|input| values.extend_from_slice(input));
        values.resize(batch * 3 * side * side, 0.0);
        Tensor::from_data(TensorData::new(values, [batch, 3, side, side]), &parts.device)
    }
}

/// Each image's features with the place of its tokens.
pub(crate) fn spread(spans: &[Range<usize>], features: &Tensor<3>) -> Vec<(Range<usize>, Tensor<3>)> {
    let of = |(index, span): (usize, &Range<usize>)| (span.clone(), features.clone().narrow(0, index, 1));
    spans.iter().enumerate().map(of).collect()
}
