//! Tests of norms, gates and rotations against their plain forms.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn norms_and_gates_equal_the_plain_form_in_each_row(
        rows in 1_usize..6, width in 1_usize..70, values in prop::collection::vec(-90.0_f32..90.0, 12 * 70),
    ) {
        let (x, weight) = (&values[..rows * width], &values[values.len() - width..]);
        let mut out = vec![f32::NAN; rows * width];
        rms_norm(x, weight, 1e-5, &mut out);
        for (x, out) in x.chunks_exact(width).zip(out.chunks_exact(width)) {
            let mean = x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / width as f64;
            for ((x, weight), found) in x.iter().zip(weight).zip(out) {
                let plain = f64::from(*x) / (mean + 1e-5).sqrt() * f64::from(*weight);
                prop_assert!((plain - f64::from(*found)).abs() <= 1e-5 * (1.0 + plain.abs()), "{plain} {found}");
            }
        }

        let gate_up = &values[..2 * rows * width];
        swiglu(gate_up, width, &mut out);
        for (gate_up, out) in gate_up.chunks_exact(2 * width).zip(out.chunks_exact(width)) {
            for (index, found) in out.iter().enumerate() {
                let (gate, up) = (f64::from(gate_up[index]), f64::from(gate_up[width + index]));
                let plain = gate / (1.0 + (-gate).exp()) * up;
                prop_assert!((plain - f64::from(*found)).abs() <= 1e-6 * (1e-6 + plain.abs()), "{plain} {found}");
            }
        }
    }
}

#[test]
fn a_rotation_turns_pairs_of_both_halves() {
    let mut x = [1.0, 2.0, 3.0, 4.0];
    rotate(&mut x, &[0.0, 1.0], &[1.0, 0.0]);
    assert_eq!(x, [-3.0, 2.0, 1.0, 4.0]);
}

#[test]
fn what_is_no_number_stays_so() {
    let mut out = [0.0; 3];
    swiglu(&[f32::NAN, 1.0, 1.0, 1.0, f32::NAN, 1.0], 3, &mut out);
    assert!(out[0].is_nan() && out[1].is_nan() && !out[2].is_nan(), "{out:?}");
}
