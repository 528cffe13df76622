//! Whether a question goes on from the conversation, and what of it goes along. Knows no browser.
//!
//! The pocket pair has learned from single questions. Of 22 questions about the shipped cards it answers 22 rightly by
//! themselves, and 11 behind another question about the same card with its answer. So it is asked without, unless the
//! user wants it; other models are asked with.

use msao_protocol::{Limits, Turn};

/// When questions go on from the last answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ContextChoice {
    /// Where the server's model has learned to.
    #[default]
    Automatic,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl ContextChoice {
    /// All of them, as they are offered.
    pub const ALL: [Self; 3] = [Self::Automatic, Self::Always, Self::Never];

    /// Its name in the address and in what is stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Automatic => "auto",
            Self::Always => "on",
            Self::Never => "off",
        }
    }

    /// The choice of that name.
    pub fn from_name(wanted: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|choice| choice.name() == wanted)
    }

    /// In a few words.
    pub fn label(self) -> &'static str {
        match self {
            Self::Automatic => "Where the server's model has learned to",
            Self::Always => "Always",
            Self::Never => "Never",
        }
    }

    /// Whether questions to the model of that name go on from the last answer, unless the user says otherwise.
    pub fn goes_on(self, model: Option<&str>) -> bool {
        match self {
            Self::Automatic => model.is_some_and(|model| !model.starts_with("pocket-")),
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// The earlier questions and answers in words, oldest first, as many of the latest as the server takes.
pub fn history(earlier: &[(String, String)], limits: &Limits) -> Vec<Turn> {
    let mut chars = 0;
    let fits = |(question, answer): &&(String, String)| {
        chars += question.chars().count() + answer.chars().count();
        chars <= limits.history_chars as usize
    };
    let latest = earlier.iter().rev().take(limits.history_turns as usize).take_while(fits);
    let mut turns: Vec<_> = latest
        .map(|(question, answer)| Turn {
            images: Vec::new(),
            clip: None,
            audio: None,
            question: question.clone(),
            answer: answer.clone(),
        })
        .collect();
    turns.reverse();
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn earlier(count: usize) -> Vec<(String, String)> {
        (0..count).map(|index| (format!("q{index}"), format!("a{index}"))).collect()
    }

    #[test]
    fn the_pocket_pair_is_asked_without_context_and_others_with() {
        let automatic = ContextChoice::Automatic;
        assert!(!automatic.goes_on(Some("pocket-cloud")) && !automatic.goes_on(None));
        assert!(automatic.goes_on(Some("SmolVLM2-2.2B")));
        assert!(ContextChoice::Always.goes_on(Some("pocket-cloud")));
        assert!(!ContextChoice::Never.goes_on(Some("SmolVLM2-2.2B")));
        for choice in ContextChoice::ALL {
            assert_eq!(ContextChoice::from_name(choice.name()), Some(choice));
        }
    }

    #[test]
    fn the_latest_turns_go_along_as_far_as_they_fit() {
        let limits = Limits { history_turns: 3, history_chars: 9, ..Limits::default() };
        let questions = |turns: Vec<Turn>| turns.into_iter().map(|turn| turn.question).collect::<Vec<_>>();
        assert_eq!(questions(history(&earlier(1), &limits)), ["q0"]);
        assert_eq!(questions(history(&earlier(5), &limits)), ["q3", "q4"], "four characters each");
        let roomy = Limits { history_chars: 900, ..limits };
        assert_eq!(questions(history(&earlier(5), &roomy)), ["q2", "q3", "q4"]);
        assert!(history(&[], &limits).is_empty());
    }
}
