//! The discrete Fourier transform of one frame of sound.
//!
//! Cooley and Tukey's mixed-radix recursion for any length with small prime factors. A general FFT crate plans
//! for every length and so makes the Wasm module larger by 85 kB (gzip); this serves one length, 400.

use std::f64::consts::TAU;

/// A transform of fixed length.
#[derive(Debug, Clone)]
pub(super) struct Fft {
    /// Prime factors of the length.
    factors: Vec<usize>,
    /// `exp(-2 pi i n / length)` as real and imaginary part.
    roots: Vec<[f64; 2]>,
}

impl Fft {
    pub(super) fn new(length: usize) -> Self {
        let mut factors = Vec::new();
        let (mut rest, mut factor) = (length, 2);
        while rest > 1 {
            if rest.is_multiple_of(factor) {
                factors.push(factor);
                rest /= factor;
            } else {
                factor += 1;
            }
        }
        let angle = |n: usize| -TAU * n as f64 / length as f64;
        Self { factors, roots: (0..length).map(|n| [angle(n).cos(), angle(n).sin()]).collect() }
    }

    /// Writes the spectrum of real samples.
    ///
    /// # Shapes
    /// `samples` and `spectrum`: `[length]`
    pub(super) fn transform(&self, samples: &[f64], spectrum: &mut [[f64; 2]]) {
        assert_eq!((samples.len(), spectrum.len()), (self.roots.len(), self.roots.len()));
        let largest = self.factors.iter().copied().max().unwrap_or(1);
        let mut terms = vec![[0.0; 2]; largest];
        self.recurse(samples, 1, spectrum, &self.factors, &mut terms);
    }

    /// Transforms every `stride`-th sample.
    fn recurse(
        &self,
        samples: &[f64],
        stride: usize,
        spectrum: &mut [[f64; 2]],
        factors: &[usize],
        terms: &mut [[f64; 2]],
    ) {
        let Some((&radix, rest)) = factors.split_first() else {
            spectrum[0] = [samples[0], 0.0];
            return;
        };
        let part = spectrum.len() / radix;
        for (first, spectrum) in spectrum.chunks_exact_mut(part).enumerate() {
            self.recurse(&samples[first * stride..], stride * radix, spectrum, rest, terms);
        }
        for bin in 0..part {
            // A root of this level is every `stride`-th root of the whole length.
            for (index, term) in terms[..radix].iter_mut().enumerate() {
                *term = multiply(spectrum[index * part + bin], self.roots[index * bin * stride]);
            }
            for output in 0..radix {
                let step = output * part * stride;
                let mut root = 0;
                let mut sum = [0.0; 2];
                for term in &terms[..radix] {
                    let [real, imaginary] = multiply(*term, self.roots[root]);
                    sum = [sum[0] + real, sum[1] + imaginary];
                    root = (root + step) % self.roots.len();
                }
                spectrum[output * part + bin] = sum;
            }
        }
    }
}

fn multiply([a, b]: [f64; 2], [c, d]: [f64; 2]) -> [f64; 2] {
    [a * c - b * d, a * d + b * c]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_sum_that_defines_it() {
        for length in [1, 2, 6, 7, 30, 32, 400] {
            let samples: Vec<f64> = (0..length).map(|n| ((n * n * 7 + 3 * n) % 23) as f64 - 11.0).collect();
            let mut spectrum = vec![[0.0; 2]; length];
            Fft::new(length).transform(&samples, &mut spectrum);
            for (bin, value) in spectrum.iter().enumerate() {
                let angle = |n: usize| -TAU * ((n * bin) % length) as f64 / length as f64;
                let expected = samples.iter().enumerate().fold([0.0; 2], |sum, (n, sample)| {
                    [sum[0] + sample * angle(n).cos(), sum[1] + sample * angle(n).sin()]
                });
                let error = (value[0] - expected[0]).hypot(value[1] - expected[1]);
                assert!(error < 1e-9, "bin {bin} of {length}: {value:?} instead of {expected:?}");
            }
        }
    }
}
