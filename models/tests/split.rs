//! A decoder cut in two writes what it writes whole, bit for bit, wherever it is cut.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::path::Path;

use burn::tensor::Device;
use msao_models::{Assistant, CheckpointFiles, FirstLayers, Flops, LastLayers, ModelError, Prompt, RgbImage};
use pollster::block_on;

const MAX_NEW_TOKENS: usize = 12;

fn target() -> Assistant {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights/pocket-cloud");
    Assistant::load(&CheckpointFiles::from_dir(folder).unwrap(), &Device::flex()).unwrap()
}

fn prompt() -> Prompt {
    let pixels = (0..192 * 192 * 3_u32).map(|at| (at.wrapping_mul(36) >> 3) as u8).collect();
    let images = vec![RgbImage::from_rgb(192, 192, pixels).unwrap()];
    Prompt { question: "Describe the picture.".into(), images, ..Prompt::default() }
}

#[test]
fn halves_give_the_hidden_values_of_the_whole() {
    let target = target();
    let decoder = &target.model().decoder;
    let embeddings = decoder.embed(&[target.tokenizer().encode("How many red circles are there?").unwrap()]);
    let count = embeddings.dims()[1];
    let bits = |tensor: burn::tensor::Tensor<3>| -> Vec<u32> {
        tensor.into_data().try_into_vec::<f32>().unwrap().iter().map(|value| value.to_bits()).collect()
    };
    let whole = bits(decoder.forward(embeddings.clone(), count, &mut decoder.new_cache(1, count)));
    let mut cache = decoder.new_cache(1, count + 1);
    let last = bits(decoder.forward_last(embeddings.clone(), count, &mut cache));
    assert_eq!(last, whole[whole.len() - last.len()..], "the last position alone");
    let mut after_all = decoder.new_cache(1, count + 1);
    decoder.forward(embeddings.clone(), count, &mut after_all);
    let next = decoder.embed(&[vec![9]]);
    let follows = bits(decoder.forward(next.clone(), 1, &mut after_all));
    assert_eq!(bits(decoder.forward(next, 1, &mut cache)), follows, "it keeps what all positions leave");

    let layers = decoder.num_layers();
    for cut in 0..layers {
        let mut first = decoder.new_cache_of(cut, 1, count);
        let mut last = decoder.new_cache_of(layers - cut, 1, count);
        let hidden = decoder.forward_layers(embeddings.clone(), count, &mut first, 0..cut);
        let hidden = decoder.forward_layers(hidden, count, &mut last, cut..layers);
        assert_eq!(bits(hidden), whole, "cut behind layer {cut}");
    }
}

#[test]
fn halves_write_the_answer_of_the_whole() {
    let target = target();
    let prompt = prompt();
    let mut whole = block_on(target.start(&prompt)).unwrap().with_max_new_tokens(MAX_NEW_TOKENS);
    while block_on(whole.next_token()).unwrap().is_some() {}
    assert!(whole.tokens().len() > 3, "{:?}", whole.tokens());
    let encoded = target.encode(&prompt).unwrap();
    for cut in 0..target.model().decoder.num_layers() {
        let (mut first, mut rows) = block_on(FirstLayers::start(&target, &encoded, cut)).unwrap();
        let positions = encoded.num_tokens() + MAX_NEW_TOKENS;
        let mut last = LastLayers::new(&target, cut, positions).unwrap();
        let mut tokens = Vec::new();
        loop {
            let token = block_on(last.next(rows)).unwrap();
            if token == target.end_of_utterance_id() {
                break;
            }
            tokens.push(token);
            if tokens.len() == MAX_NEW_TOKENS {
                break;
            }
            rows = block_on(first.next(token)).unwrap();
        }
        assert_eq!(tokens, whole.tokens(), "cut behind layer {cut}");
    }
}

#[test]
fn impossible_cuts_and_rows_are_refused() {
    let target = target();
    let layers = target.model().decoder.num_layers();
    let hidden = target.config().text_config.hidden_size;
    let refused = |result: Result<u32, ModelError>| assert!(matches!(result, Err(ModelError::Prompt { .. })));
    assert!(LastLayers::new(&target, layers, 8).is_err());
    assert!(LastLayers::new(&target, 1, target.max_sequence() + 1).is_err());
    let mut last = LastLayers::new(&target, 1, 2).unwrap();
    refused(block_on(last.next(Vec::new())));
    refused(block_on(last.next(vec![0.0; hidden + 1])));
    refused(block_on(last.next(vec![0.0; 3 * hidden])));
    refused(block_on(last.next(vec![f32::INFINITY; hidden])));
    assert!(block_on(last.next(vec![0.1; 2 * hidden])).is_ok());
    refused(block_on(last.next(vec![0.1; hidden])));
    let encoded = target.encode(&prompt()).unwrap();
    let (mut first, rows) = block_on(FirstLayers::start(&target, &encoded, 1)).unwrap();
    assert_eq!(rows.len(), encoded.num_tokens() * hidden);
    assert!(block_on(first.next(target.config().text_config.vocab_size as u32)).is_err());
}

#[test]
fn operations_of_the_halves_add_up() {
    let target = target();
    let flops = Flops::of(target.config());
    let layers = target.config().text_config.num_hidden_layers;
    for cut in 0..=layers {
        let halves = flops.layers(cut, 7, 40) + flops.layers(layers - cut, 7, 40) + flops.head(1);
        assert_eq!(halves, flops.decoder(7, 40, 1));
    }
}
