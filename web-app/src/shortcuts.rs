//! Keys that do something wherever the focus is, and the words of the dialog that lists them. Knows no browser.

/// What a key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortcut {
    /// Puts the cursor into the question.
    Prompt,
    /// Takes a picture.
    Snapshot,
    /// Takes a clip.
    Clip,
    /// Moves to the microphone.
    Voice,
    /// Begins a new conversation.
    NewConversation,
    /// Stops the answer.
    Stop,
    /// Lists the shortcuts.
    Help,
}

/// Where the key was pressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// In a field that takes letters or chooses by them.
    pub is_field: bool,
    /// While a dialog is open.
    pub is_dialog: bool,
    /// With Control, Alt or Meta, which belong to the browser.
    pub has_modifier: bool,
}

/// The keys with what they do, as the dialog lists them.
pub const LIST: [(&str, &str); 10] = [
    ("/", "Type a question"),
    ("Enter", "Ask; Shift+Enter begins a new line"),
    ("Escape", "Stop the answer; throw a recording away; close a dialog"),
    ("V", "Go to the microphone"),
    ("Space", "On the microphone: hold to talk, or tap to begin and tap to finish"),
    ("S", "Take a picture with the camera"),
    ("C", "Take a clip of four frames"),
    ("N", "New conversation"),
    ("?", "These keys"),
    ("Tab", "To the next control; the first one skips to the question"),
];

/// What a key means; `None` leaves it to the browser.
pub fn meaning(key: &str, place: Place) -> Option<Shortcut> {
    if place.is_dialog || place.has_modifier {
        return None;
    }
    if key == "Escape" {
        return Some(Shortcut::Stop);
    }
    if place.is_field {
        return None;
    }
    match key {
        "/" => Some(Shortcut::Prompt),
        "s" | "S" => Some(Shortcut::Snapshot),
        "c" | "C" => Some(Shortcut::Clip),
        "v" | "V" => Some(Shortcut::Voice),
        "n" | "N" => Some(Shortcut::NewConversation),
        "?" => Some(Shortcut::Help),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_belong_to_the_field_they_are_typed_into() {
        let field = Place { is_field: true, ..Place::default() };
        for key in ["/", "s", "c", "v", "n", "?"] {
            assert!(meaning(key, Place::default()).is_some(), "{key}");
            assert_eq!(meaning(key, field), None, "{key}");
        }
        assert_eq!(meaning("Escape", field), Some(Shortcut::Stop), "stopping works while typing");
    }

    #[test]
    fn dialogs_and_the_browser_keep_their_keys() {
        let dialog = Place { is_dialog: true, ..Place::default() };
        let modified = Place { has_modifier: true, ..Place::default() };
        for key in ["Escape", "s", "c", "/"] {
            assert_eq!(meaning(key, dialog), None, "{key}");
            assert_eq!(meaning(key, modified), None, "{key}");
        }
    }
}
