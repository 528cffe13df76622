//! A share of the requests: large sets are measured by several runs side by side.

use std::str::FromStr;

use anyhow::{Context, Error, Result, ensure};

/// Runs side by side at most.
const MOST_PARTS: usize = 1_000;

/// The `number`-th of `count` shares, each with every `count`-th request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// From 1 on.
    number: usize,
    count: usize,
}

impl Part {
    /// The places of its requests among `all`, in order.
    pub(super) fn of(self, all: usize) -> impl ExactSizeIterator<Item = usize> {
        (self.number - 1..all.max(self.number - 1)).step_by(self.count)
    }
}

impl FromStr for Part {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts = text
            .split_once('/')
            .and_then(|(number, count)| Some((number.parse().ok()?, count.parse().ok()?)));
        let (number, count) = parts.context("a share is written as 2/4, the second of four")?;
        ensure!(
            (1..=MOST_PARTS).contains(&count) && (1..=count).contains(&number),
            "a share is one of 1/{count} to {count}/{count}, and there are at most {MOST_PARTS}"
        );
        Ok(Self { number, count })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn all_shares_together_are_all_requests_once(count in 1_usize..20, all in 0_usize..200) {
            let share = |number: usize| format!("{number}/{count}").parse::<Part>().unwrap().of(all);
            prop_assert!((1..=count).map(share).all(|share| share.len() <= all.div_ceil(count)));
            let mut together: Vec<usize> = (1..=count).flat_map(share).collect();
            together.sort_unstable();
            prop_assert_eq!(together, (0..all).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_no_share_is_refused() {
        for text in ["", "2", "0/4", "5/4", "1/0", "1/100000", "a/b"] {
            assert!(text.parse::<Part>().is_err(), "{text}");
        }
    }
}
