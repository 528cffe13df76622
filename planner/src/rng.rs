//! A small seeded generator, so that what is random can be replayed bit for bit on every platform.
//!
//! SplitMix64 (Steele, Lea and Flood 2014): one addition and two multiplications a number, passes BigCrush.
//! Not for secrets.

/// SplitMix64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// The generator whose sequence `seed` names.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Uniform in [0, 1), on a grid of 2^-53.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Standard normal, by Box and Muller's transform.
    pub fn normal(&mut self) -> f64 {
        // 1 - u is in (0, 1], where the logarithm is finite.
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Beta distributed, for shapes above 0, as the share of two gamma variables.
    pub fn beta(&mut self, alpha: f64, beta: f64) -> f64 {
        let (left, right) = (self.gamma(alpha), self.gamma(beta));
        // Both underflow for shapes next to 0 alone, where the distribution is a coin.
        if left + right > 0.0 {
            left / (left + right)
        } else {
            f64::from(u8::from(self.uniform() * (alpha + beta) < alpha))
        }
    }

    /// Gamma distributed with scale 1, by Marsaglia and Tsang (2000).
    fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let boost = (1.0 - self.uniform()).powf(1.0 / shape);
            return self.gamma(shape + 1.0) * boost;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && (1.0 - self.uniform()).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        let mut rng = SplitMix64::new(1_234_567);
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(expected.map(|_| rng.next_u64()), expected);
    }

    #[test]
    fn moments_are_those_of_the_named_distributions() {
        let mut rng = SplitMix64::new(7);
        let n = 100_000;
        let mean = |draws: &[f64]| draws.iter().sum::<f64>() / f64::from(n);
        let uniform: Vec<f64> = (0..n).map(|_| rng.uniform()).collect();
        let normal: Vec<f64> = (0..n).map(|_| rng.normal()).collect();
        let squares: Vec<f64> = normal.iter().map(|x| x * x).collect();
        assert!(uniform.iter().all(|x| (0.0..1.0).contains(x)));
        assert!((mean(&uniform) - 0.5).abs() < 5.0 * (1.0_f64 / 12.0 / f64::from(n)).sqrt());
        assert!(mean(&normal).abs() < 5.0 / f64::from(n).sqrt());
        assert!((mean(&squares) - 1.0).abs() < 5.0 * (2.0 / f64::from(n)).sqrt());
    }

    #[test]
    fn beta_has_its_mean_and_variance() {
        let n = 40_000;
        for (alpha, beta) in [(0.3, 0.6), (1.0, 1.0), (1.0, 8.0), (40.0, 3.5)] {
            let mut rng = SplitMix64::new(8);
            let draws: Vec<f64> = (0..n).map(|_| rng.beta(alpha, beta)).collect();
            let mean = draws.iter().sum::<f64>() / f64::from(n);
            let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(n);
            let total: f64 = alpha + beta;
            let expected = alpha * beta / (total * total * (total + 1.0));
            assert!(
                (mean - alpha / total).abs() < 5.0 * (expected / f64::from(n)).sqrt(),
                "{alpha}, {beta}: {mean}"
            );
            assert!((variance / expected - 1.0).abs() < 0.05, "{alpha}, {beta}: {variance} for {expected}");
        }
        assert!((0.0..=1.0).contains(&SplitMix64::new(1).beta(1e-9, 1e-9)));
    }
}
