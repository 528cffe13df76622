//! What the user wants plans to weigh, beside the latency.

/// Longest draft that can be asked for, in tokens.
pub const MAX_DRAFT_TOKENS: u8 = 16;
/// What 1024 bytes to the cloud cost, in milliseconds of latency, where as little as possible is to be sent: more than
/// any answer takes, so that bytes decide and time only between plans that send as many.
const FRUGAL_MS_PER_KIB: f64 = 60_000.0;

/// Wishes of the user for all questions to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preferences {
    /// Send as little as possible, whatever time that takes.
    pub frugal: bool,
    /// Longest draft proposed at a time, in tokens; 1 to [`MAX_DRAFT_TOKENS`].
    pub longest_draft_tokens: u8,
}

impl Default for Preferences {
    fn default() -> Self {
        Self { frugal: false, longest_draft_tokens: MAX_DRAFT_TOKENS }
    }
}

impl Preferences {
    /// Price of 1024 bytes from edge to cloud, in milliseconds.
    pub(super) fn per_uplink_kib(self) -> f64 {
        if self.frugal { FRUGAL_MS_PER_KIB } else { 0.0 }
    }

    /// The longest draft, within what is possible.
    pub(super) fn longest(self) -> u8 {
        self.longest_draft_tokens.clamp(1, MAX_DRAFT_TOKENS)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Knowledge, Present},
        *,
    };

    #[test]
    fn drafts_are_no_longer_than_wished() {
        let mut knowledge = Knowledge::new(7);
        let before: Vec<u8> = (0..40).map(|_| knowledge.draft_tokens()).collect();
        assert!(before.iter().any(|length| *length > 2), "nothing would be cut: {before:?}");
        knowledge.preferences.longest_draft_tokens = 2;
        assert!((0..40).all(|_| knowledge.draft_tokens() <= 2));
        assert_eq!(knowledge.situation(&Present::default()).capabilities.max_draft_tokens, 2);
        knowledge.preferences.longest_draft_tokens = 200;
        assert_eq!(knowledge.situation(&Present::default()).capabilities.max_draft_tokens, MAX_DRAFT_TOKENS);
    }

    #[test]
    fn bytes_have_a_price_only_for_the_frugal() {
        let mut knowledge = Knowledge::new(7);
        assert_eq!(knowledge.situation(&Present::default()).weights.per_uplink_kib, 0.0);
        knowledge.preferences.frugal = true;
        assert!(knowledge.situation(&Present::default()).weights.per_uplink_kib > 0.0);
    }
}
