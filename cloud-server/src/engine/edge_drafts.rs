//! What the edge has proposed for one answer, as far as it still applies.
//!
//! The edge drafts ahead of the target and hears of corrections a round trip late. So a draft says how many
//! corrections it knew and where it begins: one that did not know them all, leaves a gap, or contradicts what stands is
//! ignored. Ignoring is safe, since drafts only ever save time. A token never parts from the distribution that it was drawn
//! from.

use msao_protocol::{Candidate, Draft};

#[derive(Debug, Default)]
pub(super) struct EdgeDrafts {
    /// What stands, and the drafts behind it.
    tokens: Vec<u32>,
    /// For each of them what it was drawn from; empty for certain choices, and for what stands.
    distributions: Vec<Vec<Candidate>>,
    /// Corrections so far.
    revision: u32,
    is_last: bool,
}

impl EdgeDrafts {
    /// Corrections so far.
    pub(super) fn revision(&self) -> u32 {
        self.revision
    }

    /// Whether the edge said that nothing further comes before a correction.
    pub(super) fn is_last(&self) -> bool {
        self.is_last
    }

    /// The drafts behind what stands.
    pub(super) fn behind(&self, standing: &[u32]) -> &[u32] {
        self.tokens.get(standing.len()..).unwrap_or_default()
    }

    /// What the drafts behind what stands were drawn from, one each; empty for certain choices.
    pub(super) fn distributions_behind(&self, standing: &[u32]) -> &[Vec<Candidate>] {
        self.distributions.get(standing.len()..).unwrap_or_default()
    }

    /// The edge is asked anew, whatever it has called its last draft.
    pub(super) fn reopen(&mut self) {
        self.is_last = false;
    }

    /// Takes a draft if it goes on from what is known; of two that overlap the later one counts. Tokens past `limit`
    /// are cut off.
    pub(super) fn push(&mut self, draft: Draft, standing: &[u32], limit: usize) {
        let start = draft.start as usize;
        if draft.revision != self.revision || start > self.tokens.len() {
            return;
        }
        let overlap = standing.get(start..).unwrap_or_default();
        if overlap.iter().zip(&draft.tokens).any(|(stands, drafted)| stands != drafted) {
            return;
        }
        if start + draft.tokens.len() >= standing.len() {
            let keep = start.max(standing.len());
            let Draft { tokens, mut distributions, .. } = draft;
            distributions.resize(tokens.len(), Vec::new());
            self.truncate(keep);
            self.tokens.extend(tokens.into_iter().skip(keep - start));
            self.distributions.extend(distributions.into_iter().skip(keep - start));
            self.truncate(limit.max(standing.len()));
        }
        self.is_last = draft.is_last;
    }

    /// Learns what stands after a round. Whatever contradicts a draft counts as a correction, and makes void what the
    /// edge sent before it heard of it.
    pub(super) fn settle(&mut self, standing: &[u32], corrected: bool) {
        let contradicted = self.tokens.iter().zip(standing).any(|(drafted, stands)| drafted != stands);
        if corrected || contradicted {
            self.revision += 1;
            self.is_last = false;
            self.begin_behind(standing);
        } else if self.tokens.len() < standing.len() {
            self.begin_behind(standing);
        }
    }

    fn begin_behind(&mut self, standing: &[u32]) {
        self.tokens = standing.to_vec();
        self.distributions = vec![Vec::new(); standing.len()];
    }

    fn truncate(&mut self, count: usize) {
        self.tokens.truncate(count);
        self.distributions.truncate(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(revision: u32, start: u32, tokens: &[u32]) -> Draft {
        Draft {
            request_id: 1,
            revision,
            start,
            tokens: tokens.to_vec(),
            distributions: Vec::new(),
            is_last: false,
        }
    }

    #[test]
    fn drafts_in_order_make_one_run_and_what_is_settled_leaves_it() {
        let mut drafts = EdgeDrafts::default();
        drafts.push(draft(0, 0, &[1, 2]), &[], 9);
        drafts.push(draft(0, 2, &[3, 4]), &[], 9);
        assert_eq!(drafts.behind(&[]), [1, 2, 3, 4]);
        drafts.settle(&[1, 2, 3], false);
        assert_eq!((drafts.behind(&[1, 2, 3]), drafts.revision()), (&[4][..], 0));
        // The target wrote on by itself.
        drafts.settle(&[1, 2, 3, 4, 5], false);
        assert_eq!((drafts.behind(&[1, 2, 3, 4, 5]), drafts.revision()), (&[][..], 0));
    }

    #[test]
    fn stale_gapped_and_contradicting_drafts_are_ignored() {
        let mut drafts = EdgeDrafts::default();
        drafts.settle(&[1, 2], true);
        for ignored in [draft(0, 2, &[3]), draft(2, 2, &[3]), draft(1, 3, &[4]), draft(1, 1, &[9, 3])] {
            drafts.push(ignored, &[1, 2], 9);
            assert!(drafts.behind(&[1, 2]).is_empty());
        }
        drafts.push(draft(1, 1, &[2, 3, 4]), &[1, 2], 9);
        assert_eq!(drafts.behind(&[1, 2]), [3, 4]);
    }

    #[test]
    fn the_later_of_two_overlapping_drafts_counts_and_the_answer_s_length_bounds_all() {
        let mut drafts = EdgeDrafts::default();
        drafts.push(draft(0, 0, &[1, 2, 3]), &[], 4);
        drafts.push(draft(0, 1, &[7, 8, 9, 10]), &[], 4);
        assert_eq!(drafts.behind(&[]), [1, 7, 8, 9]);
        drafts.push(draft(0, u32::MAX, &[1]), &[], 4);
        assert_eq!(drafts.behind(&[]), [1, 7, 8, 9]);
    }

    #[test]
    fn tokens_keep_their_distributions_through_overlaps_cuts_and_corrections() {
        // A candidate for each token that tells which draft it came with.
        let drawn = |revision, start, tokens: &[u32], probability: f32| Draft {
            distributions: tokens.iter().map(|&id| vec![Candidate { id, probability }]).collect(),
            ..draft(revision, start, tokens)
        };
        let seen = |drafts: &EdgeDrafts, standing: &[u32]| -> Vec<(u32, Option<(u32, f32)>)> {
            let distributions = drafts.distributions_behind(standing);
            assert_eq!(distributions.len(), drafts.behind(standing).len());
            let candidate = |list: &Vec<Candidate>| list.first().map(|one| (one.id, one.probability));
            drafts.behind(standing).iter().copied().zip(distributions.iter().map(candidate)).collect()
        };
        let mut drafts = EdgeDrafts::default();
        drafts.push(drawn(0, 0, &[1, 2, 3], 0.5), &[], 5);
        drafts.push(draft(0, 3, &[4]), &[], 5);
        assert_eq!(
            seen(&drafts, &[]),
            [(1, Some((1, 0.5))), (2, Some((2, 0.5))), (3, Some((3, 0.5))), (4, None)]
        );
        drafts.settle(&[1], false);
        // Begins with what stands, replaces the rest, and is cut at the answer's length.
        drafts.push(drawn(0, 0, &[1, 2, 8, 9, 7, 6], 0.25), &[1], 5);
        let replaced = [2, 8, 9, 7].map(|id| (id, Some((id, 0.25))));
        assert_eq!(seen(&drafts, &[1]), replaced);
        drafts.settle(&[1, 2, 5], true);
        assert_eq!(seen(&drafts, &[1, 2, 5]), []);
        drafts.push(drawn(1, 2, &[5, 6], 0.75), &[1, 2, 5], 5);
        assert_eq!(seen(&drafts, &[1, 2, 5]), [(6, Some((6, 0.75)))]);
        // The target wrote on by itself.
        drafts.settle(&[1, 2, 5, 6, 7], false);
        assert_eq!(seen(&drafts, &[1, 2, 5, 6, 7]), []);
    }

    #[test]
    fn the_last_draft_is_the_last_until_a_correction() {
        let mut drafts = EdgeDrafts::default();
        drafts.push(Draft { is_last: true, ..draft(0, 0, &[1, 2]) }, &[], 9);
        drafts.settle(&[1, 2, 3], false);
        assert!(drafts.is_last());
        drafts.settle(&[1, 2, 3, 4], true);
        assert!(!drafts.is_last());
        // Another source's tokens stand where the edge had drafted otherwise: that is a correction to the edge.
        drafts.push(draft(1, 4, &[5, 6]), &[1, 2, 3, 4], 9);
        drafts.settle(&[1, 2, 3, 4, 7], false);
        assert_eq!(drafts.revision(), 2);
        drafts.push(Draft { is_last: true, ..draft(2, 5, &[6]) }, &[1, 2, 3, 4, 7], 9);
        assert!(drafts.is_last());
        drafts.reopen();
        assert!(!drafts.is_last());
    }
}
