//! How much longer than usual the steps of a request take: what a machine does beside its work.
//!
//! Step times are means. Measured ones vary from request to request, by spells rather than from step to step, so that one
//! factor is drawn for all of a request's steps on a side.

use msao_planner::SplitMix64;

/// Factors of 1 on average.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pace {
    pub(super) edge: f64,
    pub(super) server: f64,
}

/// What paces are drawn from.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Paces {
    /// Time over mean time of each of some requests; empty: all take as long as the mean.
    pub(crate) edge: Vec<f64>,
    /// The same of the server.
    pub(crate) server: Vec<f64>,
}

/// Every step takes as long as the mean.
pub(crate) static EVEN: Paces = Paces { edge: Vec::new(), server: Vec::new() };

impl Paces {
    /// That of the next request.
    pub(super) fn draw(&self, rng: &mut SplitMix64) -> Pace {
        let mut one = |factors: &[f64]| match factors.len() {
            0 => 1.0,
            count => factors[((rng.uniform() * count as f64) as usize).min(count - 1)],
        };
        Pace { edge: one(&self.edge), server: one(&self.server) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paces_are_those_that_were_measured_and_without_any_all_are_even() {
        let mut rng = SplitMix64::new(1);
        assert_eq!(EVEN.draw(&mut rng), Pace { edge: 1.0, server: 1.0 });
        let paces = Paces { edge: vec![0.5, 1.5], server: vec![2.0] };
        let drawn: Vec<Pace> = (0..100).map(|_| paces.draw(&mut rng)).collect();
        assert!(drawn.iter().all(|pace| [0.5, 1.5].contains(&pace.edge) && pace.server == 2.0));
        assert!([0.5, 1.5].iter().all(|edge| drawn.iter().any(|pace| pace.edge == *edge)));
    }
}
