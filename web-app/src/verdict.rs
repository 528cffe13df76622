//! What the cloud's answer makes of the edge's.

/// The two answers compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The cloud gave the same answer.
    Confirmed,
    /// The cloud gave another answer, and it counts.
    Corrected,
}

impl Verdict {
    /// Compares two finished answers, word for word.
    pub fn of(edge: &str, cloud: &str) -> Self {
        if edge.split_whitespace().eq(cloud.split_whitespace()) { Self::Confirmed } else { Self::Corrected }
    }

    /// The word the page shows.
    pub fn label(self) -> &'static str {
        match self {
            Self::Confirmed => "Confirmed",
            Self::Corrected => "Corrected",
        }
    }

    /// One sentence that says what the word means.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::Confirmed => "The cloud gave the same answer.",
            Self::Corrected => "The cloud gave another answer; trust that one.",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_white_space_is_forgiven() {
        assert_eq!(Verdict::of(" red", "red "), Verdict::Confirmed);
        assert_eq!(Verdict::of("a red star", "a  red star"), Verdict::Confirmed);
        assert_eq!(Verdict::of("red", "Red"), Verdict::Corrected);
        assert_eq!(Verdict::of("", "red"), Verdict::Corrected);
    }
}
