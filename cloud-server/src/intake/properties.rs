//! Whatever numbers a client sends, those that get through make sense: every float and every mask of the wire.

use msao_protocol::{
    Ask, Candidate, Draft, ImageInput, KeepMask, KeptImage, Limits, Media, MediaKind, Sampling, Speculation,
};
use proptest::collection::vec;
use proptest::prelude::*;

use super::check::tests::{ask, engine};
use super::drafting::check_sampling;
use super::{check_ask, check_draft, decode};

const VOCABULARY: u32 = 100;

/// Any float there is, the odd ones often.
fn any_float() -> impl Strategy<Value = f32> {
    let odd = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MIN_POSITIVE,
        1e-45,
        f32::MAX,
    ];
    prop_oneof![any::<u32>().prop_map(f32::from_bits), prop::sample::select(odd.to_vec()), 0.0_f32..2.5]
}

fn draft(tokens: Vec<u32>, distributions: Vec<Vec<Candidate>>) -> Draft {
    Draft { request_id: 1, revision: 0, start: 0, tokens, distributions, is_last: false }
}

fn is_let_in(draft: &Draft) -> bool {
    check_draft(draft, Speculation::Distributed { patience_ms: 1 }, &Limits::default(), &engine()).is_ok()
}

/// A mask as the wire carries it: its parts and its bits, which need not fit each other.
fn mask_off_the_wire(parts: u32, bits: &[u8]) -> KeepMask {
    let bytes = msao_protocol::frame::encode(&(parts, bits)).unwrap();
    msao_protocol::frame::decode(&bytes).unwrap()
}

/// A mono WAV of 32-bit floats.
fn wav(samples: &[f32]) -> Vec<u8> {
    let bytes = samples.len() as u32 * 4;
    let mut file = b"RIFF".to_vec();
    file.extend((36 + bytes).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x03\0\x01\0");
    file.extend(8_000_u32.to_le_bytes());
    file.extend(32_000_u32.to_le_bytes());
    file.extend(b"\x04\0\x20\0data");
    file.extend(bytes.to_le_bytes());
    file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    file
}

proptest! {
    #[test]
    fn sampling_is_in_range_or_refused(temperature in any_float(), top_p in any_float()) {
        let in_range = temperature > 0.0 && temperature <= 2.0 && top_p > 0.0 && top_p <= 1.0;
        prop_assert_eq!(check_sampling(&Sampling { temperature, top_p, seed: 1 }).is_ok(), in_range);
    }

    #[test]
    fn a_distribution_that_gets_in_is_one(
        tokens in vec(0..VOCABULARY + 20, 1..4),
        pairs in vec(vec((0..VOCABULARY + 20, any_float()), 0..5), 0..5),
    ) {
        let candidates = |pairs: &Vec<(u32, f32)>| {
            pairs.iter().map(|&(id, probability)| Candidate { id, probability }).collect::<Vec<_>>()
        };
        let draft = draft(tokens, pairs.iter().map(candidates).collect());
        if !is_let_in(&draft) {
            return Ok(());
        }
        prop_assert!(draft.tokens.iter().all(|&token| token < VOCABULARY));
        prop_assert!(draft.distributions.is_empty() || draft.distributions.len() == draft.tokens.len());
        for (token, candidates) in draft.tokens.iter().zip(&draft.distributions) {
            let sum: f64 = candidates.iter().map(|candidate| f64::from(candidate.probability)).sum();
            prop_assert!((sum - 1.0).abs() < 2e-3, "{}", sum);
            prop_assert!(candidates.iter().all(|one| one.probability > 0.0 && one.probability.is_finite()));
            prop_assert!(candidates.iter().any(|one| one.id == *token));
        }
    }

    #[test]
    fn one_bad_number_is_found_in_a_good_distribution(
        weights in vec(0.01_f32..1.0, 1..16),
        at in any::<prop::sample::Index>(),
        bad in any_float(),
    ) {
        let sum: f32 = weights.iter().sum();
        let mut candidates: Vec<Candidate> = (0..).zip(&weights).map(|(id, weight)| Candidate { id, probability: weight / sum }).collect();
        prop_assert!(is_let_in(&draft(vec![0], vec![candidates.clone()])));
        let at = at.index(candidates.len());
        let good = candidates[at].probability;
        candidates[at].probability = bad;
        // What is almost the right number may stand.
        let stands = (bad - good).abs() < 3e-3;
        prop_assert!(stands || !is_let_in(&draft(vec![0], vec![candidates])));
    }

    #[test]
    fn a_mask_that_gets_in_fits_the_grid(parts in prop_oneof![0_u32..12, any::<u32>()], bits in vec(any::<u8>(), 0..4)) {
        let mask = mask_off_the_wire(parts, &bits);
        let tiles = Media { kind: MediaKind::Png, bytes: vec![1] };
        let ask = Ask { images: vec![ImageInput::Kept(KeptImage { mask: mask.clone(), tiles })], ..ask("what?") };
        let fits = mask.parts() == 4 && mask.kept() >= 1;
        prop_assert_eq!(check_ask(&ask, &Limits::default(), &engine()).is_ok(), fits);
        prop_assert!(mask.kept() <= mask.parts());
    }

    #[test]
    fn samples_that_get_in_are_numbers_that_a_model_can_take(samples in vec(any_float(), 1..40)) {
        let limits = Limits { audio_s: 4.8, ..Limits::default() };
        let media = Media { kind: MediaKind::Wav, bytes: wav(&samples) };
        let ask = Ask { audio: Some(msao_protocol::AudioInput::Whole(media)), ..ask("what?") };
        let sane = samples.iter().all(|sample| sample.is_finite() && sample.abs() <= 65_536.0);
        match decode(&ask, &limits, &engine().model) {
            Ok(prompt) => prop_assert!(sane, "{:?}", prompt.audio),
            // Silence is refused as well.
            Err(refusal) => prop_assert!(!sane || refusal.code == msao_protocol::ErrorCode::AudioSilent, "{}", refusal),
        }
    }
}
