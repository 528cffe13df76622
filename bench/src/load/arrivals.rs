//! When requests come: a Poisson process, each request drawn from all.

use msao_planner::SplitMix64;

const SEED: u64 = 0x006c_6f61_6400;

/// A visitor with a question.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Arrival {
    /// Seconds since the beginning.
    pub(super) at_s: f64,
    /// Which request.
    pub(super) request: usize,
}

/// All arrivals within so many seconds in the `repeat`-th draw of the process. The same at each call, and every rate has
/// the same requests in the same order.
pub(super) fn poisson(repeat: u32, rate_per_s: f64, seconds: f64, requests: usize) -> Vec<Arrival> {
    let mut rng = SplitMix64::new(SEED + u64::from(repeat));
    let mut arrivals = Vec::new();
    let mut at_s = 0.0;
    loop {
        // 1 - u is never 0.
        at_s -= (1.0 - rng.uniform()).ln() / rate_per_s;
        let request = ((rng.uniform() * requests as f64) as usize).min(requests.saturating_sub(1));
        if at_s >= seconds {
            return arrivals;
        }
        arrivals.push(Arrival { at_s, request });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counts_and_gaps_are_those_of_a_poisson_process() {
        let arrivals = poisson(0, 50.0, 200.0, 10);
        let expected = 50.0 * 200.0;
        assert!((arrivals.len() as f64 - expected).abs() < 4.0 * f64::sqrt(expected), "{}", arrivals.len());
        // Counts of whole seconds have the variance of their mean.
        let mut counts = vec![0.0_f64; 200];
        arrivals.iter().for_each(|arrival| counts[arrival.at_s as usize] += 1.0);
        let variance = counts.iter().map(|count| (count - 50.0).powi(2)).sum::<f64>() / 200.0;
        assert!((30.0..75.0).contains(&variance), "{variance}");
        assert!((0..10).all(|request| arrivals.iter().any(|arrival| arrival.request == request)));
    }

    proptest! {
        #[test]
        fn arrivals_are_in_order_and_within_their_time(
            repeat in 0_u32..5, rate in 0.1_f64..500.0, requests in 1_usize..50
        ) {
            let arrivals = poisson(repeat, rate, 3.0, requests);
            prop_assert!(arrivals.is_sorted_by(|one, next| one.at_s <= next.at_s));
            prop_assert!(arrivals.iter().all(|it| (0.0..3.0).contains(&it.at_s) && it.request < requests));
            prop_assert!(arrivals.is_empty() || arrivals != poisson(repeat + 1, rate, 3.0, requests));
            let twice = poisson(repeat, 2.0 * rate, 1.5, requests);
            prop_assert!(twice.iter().zip(&arrivals).all(|(one, other)| one.request == other.request));
        }
    }
}
