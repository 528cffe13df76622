//! The shipped samples and cards, as their JSON files list them.

use serde::Deserialize;

/// Content of `gallery/gallery.json`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Gallery {
    /// The samples, in the order shown.
    pub samples: Vec<Sample>,
}

/// A question with its media and the right answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Sample {
    /// Names the sample in tests and links.
    pub id: String,
    /// A few words for the thumbnail.
    pub title: String,
    /// The question; empty where the recording asks it.
    #[serde(default)]
    pub question: String,
    /// The right answer.
    pub answer: String,
    /// Kind of question.
    #[serde(default)]
    pub family: String,
    /// One picture or the frames of a clip, as file names beside the list.
    #[serde(default)]
    pub images: Vec<String>,
    /// A recording, as a file name beside the list.
    #[serde(default)]
    pub audio: Option<String>,
    /// What the answer depends on; the rest is there to be told apart from it.
    #[serde(default)]
    pub needs: Needs,
}

/// The senses that a question needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Needs {
    /// The pictures.
    pub vision: bool,
    /// The recording.
    pub audio: bool,
}

impl Sample {
    /// What the sample asks, in words for its button.
    pub fn asks(&self) -> &str {
        if self.question.is_empty() { "asked in the recording" } else { &self.question }
    }

    /// What is to be done for the answer: `look`, `watch` (a clip), `listen`, or two of them.
    pub fn badge(&self) -> &'static str {
        let is_clip = self.images.len() > 1;
        match (self.needs.vision, self.needs.audio) {
            (true, true) if is_clip => "watch and listen",
            (true, true) => "look and listen",
            (true, false) if is_clip => "watch",
            (true, false) => "look",
            (false, true) => "listen",
            (false, false) => "read",
        }
    }
}

/// Content of `cards/cards.json`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Cards {
    /// The cards, in the order shown.
    pub cards: Vec<Card>,
}

/// A drawn scene to show to a camera.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Card {
    /// Names the card.
    pub id: String,
    /// A few words.
    pub title: String,
    /// File name beside the list.
    pub image: String,
    /// What is drawn on it.
    #[serde(default)]
    pub description: String,
    /// What may be asked about it.
    #[serde(default)]
    pub questions: Vec<CardQuestion>,
}

/// A question about a card, and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CardQuestion {
    /// The question.
    pub question: String,
    /// The right answer.
    pub answer: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gallery_is_read_and_unknown_fields_are_left_alone() {
        let gallery: Gallery = serde_json::from_str(
            r#"{"version":1,"samples":[{"id":"count-01","title":"Stars","family":"counting","question":"",
            "images":["a.png"],"audio":"b.wav","answer":"3","needs":{"vision":false,"audio":true}},
            {"id":"t","title":"Sum","question":"2 + 2?","answer":"4","images":[],"audio":null}]}"#,
        )
        .unwrap();
        assert_eq!(gallery.samples[0].badge(), "listen");
        assert_eq!(gallery.samples[0].asks(), "asked in the recording");
        assert_eq!(gallery.samples[1].badge(), "read");
    }

    #[test]
    fn the_shipped_lists_are_read() {
        let gallery: Gallery =
            serde_json::from_str(include_str!("../../models/eval/gallery/gallery.json")).unwrap();
        assert!(gallery.samples.len() >= 20);
        let cards: Cards = serde_json::from_str(include_str!("../../models/eval/cards/cards.json")).unwrap();
        assert!(cards.cards.iter().all(|card| !card.questions.is_empty()));
    }

    #[test]
    fn cards_come_with_questions() {
        let cards: Cards = serde_json::from_str(
            r#"{"version":1,"cards":[{"id":"card-01","title":"A star","image":"card-01.png",
            "questions":[{"question":"what color is the star?","answer":"red","family":"color"}]}]}"#,
        )
        .unwrap();
        assert_eq!(cards.cards[0].questions[0].answer, "red");
    }
}
