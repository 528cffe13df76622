//! Exact binomial tails and the bounds that follow from them (Clopper and Pearson 1934).

/// `P(X <= successes)` for X binomial with `trials` and `probability` in 0..=1.
pub(super) fn cdf(successes: u64, trials: u64, probability: f64) -> f64 {
    if successes >= trials || probability <= 0.0 {
        return 1.0;
    }
    if probability >= 1.0 {
        return 0.0;
    }
    // In logarithms: the first term underflows for a few thousand trials.
    let (ln_p, ln_q) = (probability.ln(), (-probability).ln_1p());
    let mut ln_choose = 0.0;
    let mut sum = 0.0;
    for k in 0..=successes {
        if k > 0 {
            ln_choose += ((trials - k + 1) as f64 / k as f64).ln();
        }
        sum += (ln_choose + k as f64 * ln_p + (trials - k) as f64 * ln_q).exp();
    }
    sum.min(1.0)
}

/// The largest probability under which `successes` or fewer of `trials` are not rarer than `delta`: the upper
/// Clopper-Pearson bound at level 1 - delta.
pub(super) fn upper_bound(successes: u64, trials: u64, delta: f64) -> f64 {
    largest(|probability| cdf(successes, trials, probability) >= delta)
}

/// The largest probability under which more than `successes` of `trials` are at most as likely as `delta`.
pub(super) fn safe_probability(successes: u64, trials: u64, delta: f64) -> f64 {
    largest(|probability| 1.0 - cdf(successes, trials, probability) <= delta)
}

/// The largest count that, seen in `trials`, still rules out a probability above `probability` at level 1 -
/// delta; `None` if not even 0 does.
pub(super) fn largest_safe_count(trials: u64, probability: f64, delta: f64) -> Option<u64> {
    (0..trials).take_while(|count| cdf(*count, trials, probability) <= delta).last()
}

/// The end of the interval from 0 in which `holds` does.
fn largest(holds: impl Fn(f64) -> bool) -> f64 {
    if holds(1.0) {
        return 1.0;
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..50 {
        let middle = f64::midpoint(low, high);
        if holds(middle) { low = middle } else { high = middle }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_are_those_of_the_tables() {
        assert!((cdf(2, 10, 0.3) - 0.382_782_786_4).abs() < 1e-9);
        assert!((cdf(0, 5_000, 0.5) - 0.0).abs() < 1e-300);
        assert_eq!((cdf(10, 10, 0.3), cdf(0, 10, 0.0), cdf(3, 10, 1.0)), (1.0, 1.0, 0.0));
        assert!((cdf(520, 10_000, 0.05) - 0.826).abs() < 2e-3, "{}", cdf(520, 10_000, 0.05));
    }

    #[test]
    fn bounds_are_those_of_the_tables() {
        // Rule of three, and Clopper-Pearson's 97.5 % upper limit of 5 in 100.
        assert!((upper_bound(0, 100, 0.05) - 0.029_513).abs() < 1e-5);
        assert!((upper_bound(5, 100, 0.025) - 0.112_835).abs() < 1e-5);
        assert_eq!(upper_bound(7, 7, 0.05), 1.0);
        assert!((1.0 - cdf(50, 1_000, safe_probability(50, 1_000, 0.01)) - 0.01).abs() < 1e-6);
    }

    #[test]
    fn the_safe_count_is_the_last_whose_bound_holds() {
        let count = largest_safe_count(500, 0.05, 0.05).unwrap();
        assert!(upper_bound(count, 500, 0.05) <= 0.05);
        assert!(upper_bound(count + 1, 500, 0.05) > 0.05);
        assert_eq!(largest_safe_count(50, 0.05, 0.05), None, "50 samples cannot show 5 %");
    }
}
