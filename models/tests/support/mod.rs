//! What the parity tests share: the golden checkpoint, and plain greedy decoding on its modules.

use burn::tensor::{Device, Tensor, TensorData};
use msao_models::ModelConfig;
use msao_models::decoder::Decoder;
use msao_models::kv_cache::KvCache;
use msao_models::model::MultimodalModel;
use safetensors::SafeTensors;

use crate::comparison::{SCRIPT, read, values};

/// The tiny random checkpoint with the reference's inputs and outputs.
pub(crate) struct Golden {
    pub(crate) config: ModelConfig,
    pub(crate) model: MultimodalModel,
    tensors: Vec<u8>,
    device: Device,
}

impl Golden {
    pub(crate) fn load(device: &Device) -> Self {
        let config = ModelConfig::from_json(&read("tiny_config.json")).unwrap();
        let model = MultimodalModel::from_bytes(&config, &read("tiny_model.safetensors"), device).unwrap();
        Self { config, model, tensors: read("tiny_goldens.safetensors"), device: device.clone() }
    }

    /// One of the reference's tensors as plain values.
    pub(crate) fn values(&self, name: &str) -> Vec<f32> {
        let tensors = SafeTensors::deserialize(&self.tensors).unwrap();
        let view = tensors.tensor(name).unwrap_or_else(|_| panic!("no golden `{name}`: run {SCRIPT}"));
        view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    /// One of the reference's tensors on the device.
    pub(crate) fn tensor<const D: usize>(&self, name: &str) -> Tensor<D> {
        let tensors = SafeTensors::deserialize(&self.tensors).unwrap();
        let shape: [usize; D] = tensors.tensor(name).unwrap().shape().try_into().unwrap();
        Tensor::from_data(TensorData::new(self.values(name), shape), &self.device)
    }

    /// One of the reference's token lists.
    pub(crate) fn tokens(&self, name: &str) -> Vec<u32> {
        self.values(name).into_iter().map(|value| value as u32).collect()
    }

    /// The prompt with the towers' outputs in place of the placeholders: `[1, positions, hidden]`.
    pub(crate) fn prompt_embeddings(&self) -> Tensor<3> {
        let ids = self.tokens("ids");
        let mut embeddings = self.model.decoder.embed(std::slice::from_ref(&ids));
        let hidden = embeddings.dims()[2];
        let images = self.model.vision.as_ref().unwrap().encode(self.tensor("pixels"));
        let audio = self.model.audio.as_ref().unwrap().encode(self.tensor("mel"));
        let image_id = self.config.image_token_id.unwrap();
        let starts = (0..ids.len()).filter(|&at| ids[at] == image_id && ids[at - 1] != image_id);
        for (index, start) in starts.enumerate() {
            let tokens = images.clone().narrow(0, index, 1);
            let count = tokens.dims()[1];
            embeddings = embeddings.slice_assign([0..1, start..start + count, 0..hidden], tokens);
        }
        let start = ids.iter().position(|&id| Some(id) == self.config.audio_token_id).unwrap();
        let count = audio.dims()[1];
        embeddings.slice_assign([0..1, start..start + count, 0..hidden], audio)
    }
}

pub(crate) fn argmax(scores: &[f32]) -> u32 {
    (0..scores.len()).fold(0, |best, token| if scores[token] > scores[best] { token } else { best }) as u32
}

/// Runs positions with the padding that the device asks for; returns the scores of the real ones.
pub(crate) fn run(decoder: &Decoder, embeddings: Tensor<3>, cache: &mut KvCache) -> Tensor<3> {
    let [batch, count, hidden] = embeddings.dims();
    let rows = decoder.shapes().rows(count).min(cache.capacity());
    let padding = Tensor::zeros([batch, rows - count, hidden], &embeddings.device());
    let padded = if rows > count { Tensor::cat(vec![embeddings, padding], 1) } else { embeddings };
    decoder.logits(decoder.forward(padded, count, cache)).narrow(1, 0, count)
}

/// Greedy tokens after a prompt, one decode step each.
pub(crate) fn greedy(decoder: &Decoder, prompt: Tensor<3>, count: usize) -> Vec<u32> {
    let positions = prompt.dims()[1];
    let mut cache = decoder.new_cache(1, positions + count);
    let scores = run(decoder, prompt, &mut cache);
    let mut tokens = vec![argmax(&values(scores.narrow(1, positions - 1, 1)))];
    while tokens.len() < count {
        let last = decoder.embed(&[vec![tokens[tokens.len() - 1]]]);
        tokens.push(argmax(&values(run(decoder, last, &mut cache))));
    }
    tokens
}
