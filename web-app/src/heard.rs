//! What the device hears in a recording, and in which words that is told. Knows no browser.

use msao_planner::speech::Outcome;
use msao_protocol::SpeechReceipt;

use crate::{format, receipt::words::Line};

/// A recording that is being written down here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ListeningHere {
    /// How much of it is done; `None` before it was begun.
    pub seconds_done: Option<f64>,
    /// Its length.
    pub seconds: f64,
}

impl ListeningHere {
    /// How far that is.
    pub fn words(&self) -> String {
        let whole = self.seconds.ceil();
        match self.seconds_done {
            None => "Waiting for the speech model…".to_owned(),
            Some(done) => format!("Listening… {:.0} of {whole:.0} s", done.floor().min(whole)),
        }
    }
}

/// A recording that was written down here.
#[derive(Debug, Clone, PartialEq)]
pub struct HeardHere {
    /// The words; empty where none were understood.
    pub text: String,
    /// Who wrote them down, and how sure it was.
    pub speech: SpeechReceipt,
    /// What became of them.
    pub outcome: Outcome,
    /// Milliseconds it took.
    pub ms: f64,
    /// Bytes that the sound would have been on the network.
    pub sound_bytes: u64,
}

impl HeardHere {
    /// Whether the words were asked in the place of the sound.
    pub fn replaces_sound(&self) -> bool {
        self.outcome != Outcome::Offload
    }

    /// What to think of the words.
    pub fn remark(&self) -> String {
        let sure = format::probability(self.speech.confidence);
        let language = &self.speech.language;
        match self.outcome {
            Outcome::Words => format!("Heard on this device ({language}), {sure} sure. No sound left it."),
            Outcome::Offload => {
                format!("Heard on this device ({language}), only {sure} sure: the server may listen itself.")
            }
            Outcome::Doubtful => format!(
                "Heard on this device ({language}), only {sure} sure, and nobody else may listen. Check the words, and edit them where they are wrong."
            ),
        }
    }

    /// For the receipt.
    pub fn line(&self) -> Line {
        let SpeechReceipt { model, language, seconds, tokens, .. } = &self.speech;
        let sure = format::probability(self.speech.confidence);
        let saved = if self.replaces_sound() {
            format!("{} of sound were not sent", format::bytes(self.sound_bytes))
        } else {
            "the sound was left to the server".to_owned()
        };
        let ms = self.ms.round();
        (
            "Heard here",
            format!(
                "{seconds:.1} s by {model}, {language}, {tokens} tokens in {ms} ms, {sure} sure; {saved}"
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(outcome: Outcome) -> HeardHere {
        let speech = SpeechReceipt {
            model: "whisper-tiny".into(),
            language: "de".into(),
            confidence: 0.5,
            seconds: 2.0,
            bytes: 0,
            tokens: 7,
        };
        HeardHere { text: "Was ist das?".into(), speech, outcome, ms: 420.4, sound_bytes: 64_000 }
    }

    #[test]
    fn while_it_listens_it_tells_how_far_it_is() {
        let words = |seconds_done| ListeningHere { seconds_done, seconds: 39.2 }.words();
        assert!(words(None).starts_with("Waiting"));
        assert_eq!(words(Some(0.0)), "Listening… 0 of 40 s");
        assert_eq!(words(Some(12.9)), "Listening… 12 of 40 s");
        assert_eq!(words(Some(39.2)), "Listening… 39 of 40 s");
    }

    #[test]
    fn it_is_told_whether_sound_has_left() {
        assert!(heard(Outcome::Words).remark().contains("No sound left"));
        assert!(heard(Outcome::Doubtful).remark().contains("Check the words"));
        assert!(heard(Outcome::Offload).remark().contains("server"));
        let (_, words) = heard(Outcome::Words).line();
        for told in ["whisper-tiny", "de", "7 tokens", "420 ms", "not sent"] {
            assert!(words.contains(told), "no `{told}` in: {words}");
        }
        assert!(!heard(Outcome::Offload).line().1.contains("not sent"));
    }
}
