//! Tests of packed products against the plain product, in each format.

use proptest::prelude::*;

use super::*;

fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn product(weight: &PackedWeight, x: &[f32]) -> Vec<f32> {
    let mut out = vec![f32::NAN; x.len() / weight.in_features() * weight.out_features()];
    weight.product(x, &mut out);
    out
}

fn format() -> impl Strategy<Value = WeightsFormat> {
    prop::sample::select(vec![WeightsFormat::F32, WeightsFormat::F16, WeightsFormat::Int8, WeightsFormat::Q4])
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

proptest! {
    #[test]
    fn weights_that_are_f16_give_the_same_bits_in_half_the_bytes(
        rows in 1_usize..20, inputs in 1_usize..300, outputs in 1_usize..90, seed in any::<u64>(),
    ) {
        let rounded = |weight: &f32| f16::from_f32(*weight).to_f32();
        let weight: Vec<f32> = numbers(inputs * outputs, seed).iter().map(rounded).collect();
        let x = numbers(rows * inputs, !seed);
        let [wide, narrow] = [WeightsFormat::F32, WeightsFormat::F16]
            .map(|format| product(&PackedWeight::new(&weight, inputs, format), &x));
        prop_assert_eq!(bits(&wide), bits(&narrow));
    }

    #[test]
    fn q4_weights_give_the_bits_of_the_numbers_they_stand_for(
        rows in 1_usize..20, sixteens in 1_usize..20, outputs in 1_usize..90, seed in any::<u64>(),
    ) {
        let inputs = 16 * sixteens;
        let mut stored = StoredWeight::empty(inputs, WeightsFormat::Q4);
        stored.push_rows(&numbers(inputs * outputs, seed));
        let x = numbers(rows * inputs, !seed);
        let wide = PackedWeight::new(&stored.dequantised(), inputs, WeightsFormat::F32);
        prop_assert_eq!(bits(&product(&PackedWeight::from_stored(&stored), &x)), bits(&product(&wide, &x)));
    }

    #[test]
    fn narrow_weights_that_become_f32_first_give_the_same_bits(
        rows in 1_usize..20, sixteens in 1_usize..20, outputs in 1_usize..90, adds in any::<bool>(), seed in any::<u64>(),
        format in format(),
    ) {
        let inputs = 16 * sixteens;
        let weight = PackedWeight::new(&numbers(inputs * outputs, seed), inputs, format);
        let x = numbers(rows * inputs, !seed);
        let [narrow, wide] = [false, true].map(|widens| {
            let mut out = vec![0.5; rows * outputs];
            weight.run_as(&x, &mut out, adds, widens);
            out
        });
        prop_assert_eq!(bits(&narrow), bits(&wide));
    }

    #[test]
    fn a_row_is_read_as_the_numbers_it_stands_for(
        inputs in 1_usize..100, outputs in 1_usize..40, row in any::<prop::sample::Index>(), seed in any::<u64>(),
        format in format(),
    ) {
        let mut stored = StoredWeight::empty(inputs, format);
        stored.push_rows(&numbers(inputs * outputs, seed));
        let (row, mut values) = (row.index(outputs), vec![f32::NAN; inputs]);
        PackedWeight::from_stored(&stored).read_row(row, &mut values);
        prop_assert_eq!(bits(&values), bits(&stored.dequantised()[row * inputs..][..inputs]));
    }

    #[test]
    fn int8_weights_are_off_by_half_a_step_at_most(
        inputs in 1_usize..300, outputs in 1_usize..40, input in any::<prop::sample::Index>(), seed in any::<u64>(),
    ) {
        let weight = numbers(inputs * outputs, seed);
        let packed = PackedWeight::new(&weight, inputs, WeightsFormat::Int8);
        // One input of 1 reads the weights of that input.
        let mut x = vec![0.0; inputs];
        let input = input.index(inputs);
        x[input] = 1.0;
        for (found, weight) in product(&packed, &x).iter().zip(weight.chunks_exact(inputs)) {
            let step = weight.iter().fold(0.0_f32, |most, weight| most.max(weight.abs())) / 127.0;
            prop_assert!((found - weight[input]).abs() <= 0.5001 * step, "{found} {}", weight[input]);
        }
    }

    #[test]
    fn adding_adds_the_product_to_what_is_there(
        rows in 1_usize..20, inputs in 1_usize..100, outputs in 1_usize..90, seed in any::<u64>(), format in format(),
    ) {
        let weight = PackedWeight::new(&numbers(inputs * outputs, seed), inputs, format);
        let (x, before) = (numbers(rows * inputs, !seed), numbers(rows * outputs, seed ^ 1));
        let mut out = before.clone();
        weight.add_product(&x, &mut out);
        let sums: Vec<f32> = product(&weight, &x).iter().zip(&before).map(|(sum, before)| sum + before).collect();
        prop_assert_eq!(bits(&out), bits(&sums));
    }

    #[test]
    fn any_sizes_equal_the_plain_product(
        rows in 1_usize..70, inputs in 1_usize..150, outputs in 1_usize..90, seed in any::<u64>(),
    ) {
        let (weight, x) = (numbers(inputs * outputs, seed), numbers(rows * inputs, !seed));
        let out = product(&PackedWeight::new(&weight, inputs, WeightsFormat::F32), &x);
        for (row, x) in x.chunks_exact(inputs).enumerate() {
            for (output, weight) in weight.chunks_exact(inputs).enumerate() {
                let plain: f64 = x.iter().zip(weight).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
                let found = f64::from(out[row * outputs + output]);
                prop_assert!((plain - found).abs() < 1e-5 * inputs as f64, "{plain} {found}");
            }
        }
    }

    #[test]
    fn a_row_has_the_same_result_bit_for_bit_whatever_shares_its_pass(
        rows in 1_usize..70, inputs in 1_usize..600, outputs in 1_usize..600, seed in any::<u64>(), format in format(),
    ) {
        let weight = PackedWeight::new(&numbers(inputs * outputs, seed), inputs, format);
        let x = numbers(rows * inputs, !seed);
        let together = product(&weight, &x);
        let apart: Vec<f32> = x.chunks_exact(inputs).flat_map(|x| product(&weight, x)).collect();
        prop_assert!(together.iter().zip(&apart).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
}

#[test]
fn what_is_no_number_stays_so_and_in_its_row() {
    let weight = PackedWeight::new(&numbers(40 * 9, 1), 40, WeightsFormat::F32);
    let mut x = numbers(5 * 40, 2);
    x[2 * 40 + 7] = f32::NAN;
    for (row, out) in product(&weight, &x).chunks_exact(9).enumerate() {
        assert!(out.iter().all(|value| value.is_nan() == (row == 2)));
    }
}
