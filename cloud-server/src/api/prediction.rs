//! A predicted answer as drafts: all of it at once, and after a correction what is left of it.
//!
//! OpenAI's `prediction` is text that the answer probably repeats, such as a file before a small change. Its tokens are
//! drafts like any others: the target verifies them in shared passes, and where it goes another way, its own word counts.
//! Where the answer comes back to the prediction, the rest of it is proposed again. So a prediction changes how long an
//! answer takes, and nothing else.

use msao_protocol::{Draft, RequestId, TokenId};

/// Tokens that have to agree before the answer counts as back on the prediction: after fewer it often is not.
const ANCHOR_TOKENS: usize = 2;

/// A prediction, and how the answer has gone so far.
#[derive(Debug)]
pub(super) struct Prediction {
    request_id: RequestId,
    tokens: Vec<TokenId>,
    written: Vec<TokenId>,
    /// Corrections known.
    revision: u32,
    /// The prediction's token that was proposed for the answer's token `base.1`, where the answer follows it.
    base: Option<(usize, usize)>,
    /// Of the prediction, what the answer has passed.
    passed: usize,
}

impl Prediction {
    pub(super) fn new(request_id: RequestId, tokens: Vec<TokenId>) -> Self {
        Self { request_id, tokens, written: Vec::new(), revision: 0, base: Some((0, 0)), passed: 0 }
    }

    /// Tokens of the prediction.
    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// All of it, as the first draft.
    pub(super) fn whole(&self) -> Draft {
        self.draft(0)
    }

    /// Learns what stands, and proposes the rest of the prediction where the answer has come back to it.
    pub(super) fn settle(
        &mut self,
        settled: impl IntoIterator<Item = TokenId>,
        revision: u32,
    ) -> Option<Draft> {
        self.written.extend(settled);
        if revision != self.revision {
            self.revision = revision;
            // The last token stands in place of the draft that was wrong.
            if let Some((from, at)) = self.base.take() {
                let accepted = self.written.len().saturating_sub(at + 1);
                self.passed = (from + accepted).min(self.tokens.len());
            }
        }
        if self.base.is_some() {
            return None;
        }
        let from = self.find_anchor()?;
        self.base = Some((from, self.written.len()));
        Some(self.draft(from))
    }

    /// Where the prediction goes on after what was written last, in the part that the answer has not passed.
    fn find_anchor(&self) -> Option<usize> {
        let anchor = self.written.last_chunk::<ANCHOR_TOKENS>()?;
        // The anchor may begin with a token before the one that was wrong.
        let first = self.passed.saturating_sub(ANCHOR_TOKENS - 1);
        let at = self.tokens[first..].windows(ANCHOR_TOKENS).position(|window| window == anchor)?;
        let from = first + at + ANCHOR_TOKENS;
        (from < self.tokens.len()).then_some(from)
    }

    fn draft(&self, from: usize) -> Draft {
        Draft {
            request_id: self.request_id,
            revision: self.revision,
            start: self.written.len() as u32,
            tokens: self.tokens[from..].to_vec(),
            distributions: Vec::new(),
            is_last: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prediction_that_comes_true_is_proposed_once() {
        let mut prediction = Prediction::new(1, vec![1, 2, 3, 4]);
        assert_eq!(prediction.whole().tokens, [1, 2, 3, 4]);
        assert_eq!(prediction.settle([1, 2, 3], 0), None);
        assert_eq!(prediction.settle([4, 9], 0), None);
    }

    #[test]
    fn the_rest_is_proposed_again_where_the_answer_comes_back() {
        let mut prediction = Prediction::new(1, vec![1, 2, 3, 4, 5, 6, 7]);
        // 3 is replaced by 8.
        assert_eq!(prediction.settle([1, 2, 8], 1), None);
        assert_eq!(prediction.settle([4], 1), None);
        let draft = prediction.settle([5], 1).unwrap();
        assert_eq!((draft.start, draft.revision, draft.tokens), (5, 1, vec![6, 7]));
        assert_eq!(prediction.settle([6, 7], 1), None);

        // 3 is left out: 4 in its place, and back at once.
        let mut prediction = Prediction::new(1, vec![1, 2, 3, 4, 5, 6]);
        assert_eq!(prediction.settle([1, 2, 4], 1), None);
        assert_eq!(prediction.settle([5], 1).unwrap().tokens, [6]);

        // Something is put in before 3.
        let mut prediction = Prediction::new(1, vec![1, 2, 3, 4, 5]);
        assert_eq!(prediction.settle([1, 2, 9], 1), None);
        assert_eq!(prediction.settle([3], 1), None);
        assert_eq!(prediction.settle([4], 1).unwrap().tokens, [5]);
    }

    #[test]
    fn what_was_passed_is_not_proposed_again() {
        let mut prediction = Prediction::new(1, vec![1, 2, 3, 1, 2, 4, 5]);
        assert_eq!(prediction.settle([1, 2, 3, 1, 2, 8], 1), None);
        // 1, 2 stands in the prediction, but before what was passed.
        assert_eq!(prediction.settle([1, 2], 1), None);
        assert_eq!(prediction.settle([4], 1).unwrap().tokens, [5]);
        // Wrong again: nothing is left.
        assert_eq!(prediction.settle([4, 5], 2), None);
    }
}
