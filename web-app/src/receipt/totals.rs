//! The conversation so far, in figures.

use serde::{Deserialize, Serialize};

use super::{TurnReceipt, authors::AUTHORS};
use crate::format;

/// Sums over the questions of a conversation that have a receipt.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Questions with a receipt.
    pub questions: u32,
    /// Those of them that the device answered alone.
    pub device_alone: u32,
    /// Bytes of pictures and sound that left the device.
    pub sent_bytes: u64,
    /// Bytes of pictures and sound that would have left it under cloud only.
    pub cloud_only_bytes: u64,
    /// Tokens of the answers by who wrote them first, in the order of
    /// [`AUTHORS`](super::authors::AUTHORS): device, draft model on the server, cloud on partial context, cloud.
    pub tokens_by_author: [u64; 4],
    /// Draft tokens that were proposed.
    pub proposed_drafts: u64,
    /// Draft tokens that stand.
    pub accepted_drafts: u64,
    /// Floating-point operations on the device, counted.
    pub edge_flops: u64,
    /// Floating-point operations in the cloud, counted.
    pub cloud_flops: u64,
    /// Floating-point operations that the cloud was spared, reckoned low; see
    /// [`TurnReceipt::spared_flops`]. `None` where no model in the cloud was known.
    pub spared_flops: Option<i64>,
    /// Median of the milliseconds from a question to the end of its answer.
    pub median_latency_ms: Option<f64>,
}

impl Totals {
    /// The sums of these receipts.
    pub fn of<'a>(receipts: impl IntoIterator<Item = &'a TurnReceipt>) -> Self {
        let mut totals = Self::default();
        let mut latencies = Vec::new();
        for receipt in receipts {
            let (sent_bytes, cloud_only_bytes) = receipt.media_bytes();
            totals.questions += 1;
            totals.device_alone += u32::from(receipt.is_of_device_alone());
            totals.sent_bytes += sent_bytes;
            totals.cloud_only_bytes += cloud_only_bytes;
            for (count, author) in totals.tokens_by_author.iter_mut().zip(AUTHORS) {
                *count += receipt.plan.tokens.iter().filter(|token| token.source == author).count() as u64;
            }
            totals.proposed_drafts += u64::from(receipt.plan.proposed_drafts);
            totals.accepted_drafts += u64::from(receipt.plan.accepted_drafts);
            totals.edge_flops = totals.edge_flops.saturating_add(receipt.plan.edge_flops);
            totals.cloud_flops = totals.cloud_flops.saturating_add(receipt.plan.cloud_flops);
            if let Some(spared) = receipt.spared_flops() {
                totals.spared_flops = Some(totals.spared_flops.unwrap_or(0).saturating_add(spared));
            }
            latencies.extend(receipt.latency_ms().filter(|ms| ms.is_finite()));
        }
        totals.median_latency_ms = median(latencies);
        totals
    }

    /// The figures with their labels.
    pub fn lines(&self) -> Vec<(&'static str, &'static str, String)> {
        let tokens: u64 = self.tokens_by_author.iter().sum();
        let by_device = self.tokens_by_author[0];
        let left = if self.cloud_only_bytes == 0 {
            "–".to_owned()
        } else {
            format::sent_of(self.sent_bytes, self.cloud_only_bytes)
        };
        vec![
            ("questions", "Questions", self.questions.to_string()),
            ("alone", "Device alone", format!("{} of {}", self.device_alone, self.questions)),
            ("bytes", "Pictures and sound sent", left),
            ("tokens", "Tokens by the device", format!("{by_device} of {tokens}")),
            (
                "flops",
                "Work saved in the cloud",
                self.spared_flops.map_or_else(|| "–".to_owned(), format::saved_operations),
            ),
            (
                "latency",
                "Median answer",
                self.median_latency_ms.map_or_else(|| "–".to_owned(), format::duration_ms),
            ),
        ]
    }

    /// The figures that matter most in a line, for where there is no room for more.
    pub fn line(&self) -> String {
        let mut parts = vec![format::count(self.questions.into(), "question")];
        if self.cloud_only_bytes > 0 {
            parts.push(format!("{} sent", format::sent_of(self.sent_bytes, self.cloud_only_bytes)));
        }
        parts.extend(self.median_latency_ms.map(|ms| format!("median {}", format::duration_ms(ms))));
        parts.join(" · ")
    }

    /// The figures as rows of a list in HTML.
    pub fn markup(&self) -> String {
        let row = |(name, label, value)| {
            format!(r#"<div><dt>{label}</dt><dd data-testid="totals-{name}">{value}</dd></div>"#)
        };
        self.lines().into_iter().map(row).collect()
    }
}

/// The middle value, or the mean of the two middle ones.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len() % 2 == 1 { upper } else { (values[middle - 1] + upper) / 2.0 })
}

#[cfg(test)]
mod tests {
    use msao_protocol::{TokenFate, TokenOrigin, TokenSource};
    use proptest::prelude::{prop_assert, proptest};

    use super::*;
    use crate::receipt::fixtures::receipt;

    fn alone() -> TurnReceipt {
        let mut alone = TurnReceipt { cloud: None, ..receipt() };
        alone.plan.tokens =
            vec![TokenOrigin { source: TokenSource::EdgeDraft, fate: TokenFate::Unverified }; 3];
        alone.plan.modalities[0].sent_bytes = 0;
        alone
    }

    #[test]
    fn a_conversation_adds_up() {
        let totals = Totals::of(&[receipt(), alone(), receipt()]);
        assert_eq!((totals.questions, totals.device_alone), (3, 1));
        assert_eq!((totals.sent_bytes, totals.cloud_only_bytes), (1_800, 36_000));
        assert_eq!(totals.tokens_by_author, [5, 0, 0, 2]);
        assert_eq!(totals.median_latency_ms, Some(100.0), "40 alone, 100 with the cloud");
        assert_eq!(totals.spared_flops, Some(2_000_000 * (68 + 68 + 75)));
        assert_eq!(totals.line(), "3 questions · 1.8 kB of 36.0 kB sent · median 100 ms");
        let lines = totals.lines();
        let of = |name| lines.iter().find(|(id, ..)| *id == name).unwrap().2.as_str();
        assert_eq!(of("bytes"), "1.8 kB of 36.0 kB");
        assert_eq!((of("alone"), of("tokens"), of("flops")), ("1 of 3", "5 of 7", "0.42 GFLOP"));
    }

    #[test]
    fn nothing_asked_is_no_division_by_zero() {
        let totals = Totals::of(&[]);
        assert_eq!(totals, Totals::default());
        assert_eq!(totals.line(), "0 questions");
        assert!(totals.lines().iter().any(|(.., value)| value == "–"));
    }

    proptest! {
        #[test]
        fn as_many_lie_below_the_median_as_above(values in proptest::collection::vec(0.0..1e6, 1..40)) {
            let middle = median(values.clone()).unwrap();
            let below = values.iter().filter(|value| **value < middle).count();
            let above = values.iter().filter(|value| **value > middle).count();
            prop_assert!(below * 2 <= values.len() && above * 2 <= values.len());
        }
    }
}
