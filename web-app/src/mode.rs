//! What an answer is held to: the two modes in words, for the control, the address and the receipt.

use msao_protocol::AnswerMode;

/// The bounds that the page offers: shares of all questions.
pub const OFFERED: [f32; 4] = [0.01, 0.02, 0.05, 0.10];
/// The bound unless another is chosen.
pub const DEFAULT_EPSILON: f32 = 0.05;
/// The bounds that the address may ask for. Below them nothing would ever stand, above them a bound says little.
const LEAST_EPSILON: f32 = 0.001;
const MOST_EPSILON: f32 = 0.5;

/// Name of [`AnswerMode::Verified`] in the address.
pub const VERIFIED: &str = "verified";
/// Name of [`AnswerMode::RiskControlled`] in the address.
pub const RISK_CONTROLLED: &str = "risk_controlled";

/// Whether the mode of that name lets confident answers stand; `None` if there is no such mode.
pub fn from_name(wanted: &str) -> Option<bool> {
    match wanted {
        VERIFIED => Some(false),
        RISK_CONTROLLED => Some(true),
        _ => None,
    }
}

/// A bound as the address or the control writes it: a share such as `0.05`, from 0.001 to 0.5.
pub fn epsilon(written: &str) -> Option<f32> {
    written.parse().ok().filter(|epsilon| (LEAST_EPSILON..=MOST_EPSILON).contains(epsilon))
}

/// A bound for people: `5 %`, `0.5 %`.
pub fn percent(epsilon: f32) -> String {
    // Seven digits are what an f32 holds; the rest is what writing it in binary has added.
    let percent = (f64::from(epsilon) * 1e7).round() / 1e5;
    format!("{percent} %")
}

/// A mode in a few words.
pub fn label(mode: AnswerMode) -> String {
    match mode {
        AnswerMode::Verified => "Verified: every token checked".to_owned(),
        AnswerMode::RiskControlled { epsilon } => {
            format!("Risk-controlled: confident answers stand, at most {} differ", percent(epsilon))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read_as_they_are_written() {
        for offered in OFFERED {
            assert_eq!(epsilon(&offered.to_string()), Some(offered));
        }
        for nonsense in ["", "0", "-0.1", "0.9", "NaN", "inf", "5 %"] {
            assert_eq!(epsilon(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn percentages_are_round_where_the_bound_is() {
        assert_eq!(OFFERED.map(percent), ["1 %", "2 %", "5 %", "10 %"]);
        assert_eq!([0.001, 0.025].map(percent), ["0.1 %", "2.5 %"]);
    }
}
