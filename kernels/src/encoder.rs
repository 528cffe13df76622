//! What lies between the products of an encoder's layers, row by row: layer norm and GELU.

use macerator::{Simd, Vector, vload_unaligned, vstore_unaligned};

use crate::element::splat;
use crate::rows::{exp, panel_of, put_panel, share_rows};
use crate::tile::PANEL;

/// What a norm of a value costs, in multiplications of a product.
const NORM_COST: usize = 16;
/// What an activation of a value costs.
const ACTIVATION_COST: usize = 32;

/// Which form of GELU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gelu {
    /// With the error function.
    Exact,
    /// With a hyperbolic tangent in its place.
    Tanh,
}

/// `out = (x - mean) / sqrt(var + eps) * weight + bias`, for each row.
///
/// # Shapes
/// - x, out: `[rows, weight.len()]`; bias: as weight
///
/// # Panics
/// If they are not.
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
    assert!(x.len() == out.len() && x.len().is_multiple_of(weight.len()), "rows of {}", weight.len());
    assert_eq!(bias.len(), weight.len(), "a bias for each column");
    share_rows(out, weight.len(), NORM_COST, &|first, out| {
        norm_rows(&x[first * weight.len()..][..out.len()], weight, bias, eps, out);
    });
}

#[allow(
    clippy::extra_unused_type_parameters,
    reason = "it is compiled for each set of vectors, which the compiler then finds by itself"
)]
#[macerator::with_simd]
fn norm_rows<'a, S: Simd>(x: &'a [f32], weight: &'a [f32], bias: &'a [f32], eps: f32, out: &'a mut [f32]) {
    let width = weight.len();
    for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        let mean = sum_of(x, |x| x) / width as f32;
        let variance = sum_of(x, |x| (x - mean) * (x - mean)) / width as f32;
        let scale = (variance + eps).sqrt().recip();
        for (((out, x), weight), bias) in out.iter_mut().zip(x).zip(weight).zip(bias) {
            *out = (x - mean) * scale * weight + bias;
        }
    }
}

/// Apart by place in a panel, so that each row adds in the same order whatever the processor's vectors are.
#[inline(always)]
fn sum_of(x: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut sums = [0.0_f32; PANEL];
    for x in x.chunks(PANEL) {
        for (sum, x) in sums.iter_mut().zip(x) {
            *sum += of(*x);
        }
    }
    sums.iter().sum()
}

/// `x = gelu(x + bias)`, for each row.
///
/// # Shapes
/// - x: `[rows, bias.len()]`
///
/// # Panics
/// If it is not.
pub fn add_gelu(x: &mut [f32], bias: &[f32], form: Gelu) {
    assert!(x.len().is_multiple_of(bias.len()), "rows of {}", bias.len());
    share_rows(x, bias.len(), ACTIVATION_COST, &|_, x| gelu_rows(x, bias, form));
}

#[macerator::with_simd]
fn gelu_rows<'a, S: Simd>(x: &'a mut [f32], bias: &'a [f32], form: Gelu) {
    for row in x.chunks_exact_mut(bias.len()) {
        for (x, bias) in row.chunks_mut(PANEL).zip(bias.chunks(PANEL)) {
            let (mut values, bias) = (panel_of(x), panel_of(bias));
            for first in (0..PANEL).step_by(S::lanes32()) {
                // SAFETY: a panel is a multiple of every vector.
                unsafe {
                    let value: Vector<S, f32> = vload_unaligned(values.as_ptr().add(first));
                    let value = value + vload_unaligned(bias.as_ptr().add(first));
                    let value = match form {
                        Gelu::Exact => exact(value),
                        Gelu::Tanh => tanh(value),
                    };
                    vstore_unaligned(values.as_mut_ptr().add(first), value);
                }
            }
            put_panel(&values, x);
        }
    }
}

/// `x / (1 + e^(-2 z))` with `z = sqrt(2 / pi) (x + 0.044715 x^3)`: the tanh form, since `1 + tanh z = 2 / (1 + e^(-2 z))`.
#[inline(always)]
fn tanh<S: Simd>(x: Vector<S, f32>) -> Vector<S, f32> {
    const MINUS_TWICE_SQRT_2_OVER_PI: f32 = -1.595_769;
    let cubic = (x * x).mul_add(splat(0.044_715), splat(1.0));
    x / (splat(1.0) + exp(x * cubic * splat(MINUS_TWICE_SQRT_2_OVER_PI)))
}

/// `max(x, 0) - |x| / 2 erfc(|x| / sqrt 2)`, with Abramowitz and Stegun's formula 7.1.26, whose error is below 1.5e-7.
#[inline(always)]
fn exact<S: Simd>(x: Vector<S, f32>) -> Vector<S, f32> {
    const P: f32 = 0.327_591_1;
    const POLYNOMIAL: [f32; 5] = [1.061_405_4, -1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6];
    let zero: Vector<S, f32> = splat(0.0);
    let size = x.max(zero - x);
    let y = size * splat(std::f32::consts::FRAC_1_SQRT_2);
    let t = splat(1.0) / y.mul_add(splat(P), splat(1.0));
    let mut sum: Vector<S, f32> = splat(POLYNOMIAL[0]);
    for factor in &POLYNOMIAL[1..] {
        sum = sum.mul_add(t, splat(*factor));
    }
    let tail = sum * t * exp(zero - y * y);
    let value = x.max(zero) - size * splat(0.5) * tail;
    // What is no number stays so: the greater of it and zero may be zero.
    x.eq(x).select(value, x)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The error function by its series, or its continued fraction where that converges sooner.
    fn erf(x: f64) -> f64 {
        if x.abs() > 3.0 {
            let tail = (0..60).rev().fold(0.0, |rest, k| f64::from(k + 1) / 2.0 / (x.abs() + rest));
            return x.signum() * (1.0 - (-x * x).exp() / std::f64::consts::PI.sqrt() / (x.abs() + tail));
        }
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    }

    fn plain_gelu(x: f64, form: Gelu) -> f64 {
        match form {
            Gelu::Exact => 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)),
            Gelu::Tanh => {
                0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh())
            }
        }
    }

    proptest! {
        #[test]
        fn gelu_is_that_of_the_books(
            values in prop::collection::vec(-12.0_f32..12.0, 1..80), bias in -2.0_f32..2.0, is_exact in any::<bool>(),
        ) {
            let form = if is_exact { Gelu::Exact } else { Gelu::Tanh };
            let mut found = values.clone();
            add_gelu(&mut found, &vec![bias; values.len()], form);
            for (found, value) in found.iter().zip(&values) {
                let plain = plain_gelu(f64::from(value + bias), form);
                prop_assert!((f64::from(*found) - plain).abs() < 2e-6, "{value} + {bias}: {found}, not {plain}");
            }
        }

        #[test]
        fn normed_rows_are_those_of_the_books(
            values in prop::collection::vec(-9.0_f32..9.0, 30), width in prop::sample::select(vec![2_usize, 3, 5, 6, 10, 15, 30]),
        ) {
            let weight: Vec<f32> = (0..width).map(|at| 0.5 + at as f32 / 10.0).collect();
            let bias: Vec<f32> = (0..width).map(|at| at as f32 - 3.0).collect();
            let mut out = vec![f32::NAN; values.len()];
            layer_norm(&values, &weight, &bias, 1e-3, &mut out);
            for (x, out) in values.chunks(width).zip(out.chunks(width)) {
                let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / width as f64;
                let variance = x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / width as f64;
                for at in 0..width {
                    let normed = (f64::from(x[at]) - mean) / (variance + 1e-3).sqrt();
                    let plain = normed * f64::from(weight[at]) + f64::from(bias[at]);
                    prop_assert!((f64::from(out[at]) - plain).abs() < 1e-4, "{} {plain}", out[at]);
                }
            }
        }
    }

    #[test]
    fn what_is_no_number_stays_so_and_where_it_is() {
        for form in [Gelu::Exact, Gelu::Tanh] {
            let mut x = vec![1.0; 40];
            x[17] = f32::NAN;
            add_gelu(&mut x, &[0.0; 20], form);
            assert!(x.iter().enumerate().all(|(at, x)| x.is_nan() == (at == 17)), "{form:?} {x:?}");
        }
    }
}
