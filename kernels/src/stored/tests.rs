//! Tests of what formats keep of weights.

use proptest::prelude::*;

use super::quantising::{inverse_of, q4_step};
use super::*;

fn stored(weights: &[f32], inputs: usize, format: WeightsFormat) -> StoredWeight {
    let mut stored = StoredWeight::empty(inputs, format);
    stored.push_rows(weights);
    stored
}

fn squares(weights: &[f32], others: &[f32]) -> f32 {
    weights.iter().zip(others).map(|(weight, other)| (weight - other).powi(2)).sum()
}

/// Rows of multiples of 16 inputs.
fn rows() -> impl Strategy<Value = (usize, Vec<f32>)> {
    (1_usize..8, 1_usize..5).prop_flat_map(|(sixteens, outputs)| {
        let inputs = 16 * sixteens;
        (Just(inputs), prop::collection::vec(-2.0_f32..2.0, inputs * outputs))
    })
}

proptest! {
    #[test]
    fn q4_is_never_worse_than_the_greatest_weight_s_own_scale((inputs, weights) in rows()) {
        let kept = stored(&weights, inputs, WeightsFormat::Q4).dequantised();
        for (row, kept) in weights.chunks_exact(inputs).zip(kept.chunks_exact(inputs)) {
            for (group, kept) in row.chunks(GROUP).zip(kept.chunks(GROUP)) {
                let most = group.iter().fold(0.0_f32, |most, w| if w.abs() > most.abs() { *w } else { most });
                let scale = f16::from_f32(-most / 8.0);
                let steps = |w: &f32| (w / scale.to_f32()).round().clamp(-8.0, 7.0);
                let plain: Vec<f32> = group.iter().map(|w| steps(w) * scale.to_f32()).collect();
                let (kept, plain) = (squares(group, kept), squares(group, &plain));
                // Sums in another order differ in their last bits.
                prop_assert!(kept <= plain * 1.00001, "{kept} is more than {plain}");
            }
        }
    }

    #[test]
    fn steps_are_the_nearest_ones(weight in -2.0_f32..2.0, scale in 0.01_f32..0.5) {
        let scale = f16::from_f32(scale);
        let kept = q4_step(weight, inverse_of(scale));
        prop_assert!((-8.0..=7.0).contains(&kept) && kept == kept.trunc());
        let nearest = (weight / scale.to_f32()).clamp(-8.0, 7.0);
        prop_assert!((kept - nearest).abs() <= 0.50001, "{kept} for {nearest}");
    }

    #[test]
    fn many_rows_on_many_threads_are_those_of_one_after_the_other(seed in any::<u32>()) {
        let inputs = 48;
        let weights: Vec<f32> =
            (0..200 * inputs as u32).map(|i| ((i ^ seed).wrapping_mul(2_654_435_761) >> 8) as f32 - 8e6).collect();
        for format in [WeightsFormat::Int8, WeightsFormat::Q4] {
            let mut one_by_one = StoredWeight::empty(inputs, format);
            weights.chunks_exact(inputs).for_each(|row| one_by_one.push_rows(row));
            prop_assert_eq!(stored(&weights, inputs, format), one_by_one);
        }
    }

    #[test]
    fn what_is_stored_stays_as_it_is(
        (inputs, weights) in rows(), format in prop_oneof![Just(WeightsFormat::F16), Just(WeightsFormat::Q4)],
    ) {
        let once = stored(&weights, inputs, format);
        let again = StoredWeight::from_values(inputs, once.values().clone());
        prop_assert_eq!(again.dequantised(), once.dequantised());
        prop_assert_eq!(again.outputs(), weights.len() / inputs);
    }

    #[test]
    fn rows_are_stored_one_by_one((inputs, weights) in rows(), at in any::<prop::sample::Index>(), int8 in any::<bool>()) {
        let format = if int8 { WeightsFormat::Int8 } else { WeightsFormat::Q4 };
        let (first, second) = weights.split_at(at.index(weights.len() / inputs) * inputs);
        let mut pushed = stored(first, inputs, format);
        let mut joined = pushed.clone();
        pushed.push_rows(second);
        joined.append(stored(second, inputs, format));
        prop_assert_eq!(&pushed, &stored(&weights, inputs, format));
        prop_assert_eq!(pushed, joined);
    }
}

#[test]
fn q4_wants_whole_words_and_keeps_zero_and_the_greatest() {
    assert_eq!(WeightsFormat::Q4.of_rows(588), WeightsFormat::Int8);
    assert_eq!(WeightsFormat::Q4.of_rows(4304), WeightsFormat::Q4);
    assert_eq!(stored(&[0.0; 64], 32, WeightsFormat::Q4).dequantised(), [0.0; 64]);
    assert_eq!(stored(&[1e-30; 64], 32, WeightsFormat::Q4).dequantised(), [0.0; 64]);
    let tiny = stored(&[1e-44; 64], 32, WeightsFormat::Int8).dequantised();
    assert!(tiny.iter().all(|weight| weight.abs() <= 1e-44), "{tiny:?}");
    let mut one = [0.0; 32];
    one[7] = -1.5;
    assert_eq!(stored(&one, 32, WeightsFormat::Q4).dequantised(), one);
}
