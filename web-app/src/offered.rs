//! The models that the server offers for this device: what is told of them before one is chosen. Knows no browser.

use msao_planner::{
    fitting::{Format, FormatNeeds},
    speech::DEFAULT_THRESHOLD,
};
use serde::Deserialize;

use crate::format;

/// Where the list lies, relative to the page.
pub const LIST_URL: &str = "weights/index.json";
/// Most bytes of the list.
pub const MAX_LIST_BYTES: usize = 64 << 10;
/// The model of pages that come without a list.
pub const SHIPPED: &str = "pocket-edge";

/// The list.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct OfferedModels {
    /// The first is what a page takes that does not choose.
    pub models: Vec<OfferedModel>,
    /// What writes recordings down for models that cannot hear.
    #[serde(default)]
    pub speech: Option<OfferedSpeech>,
}

/// A speech model.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct OfferedSpeech {
    /// Its name, which is that of its folder.
    pub name: String,
    /// Weights in it.
    pub parameters: u64,
    /// Bytes of the download.
    pub bytes: u64,
    /// Under which terms, where the server knows.
    pub licence: Option<String>,
    /// Languages it knows.
    pub languages: u32,
    /// Confidence from which its words stand, where somebody has calibrated it.
    pub threshold: Option<f64>,
    /// What it takes in memory here: as f32, and in each smaller format. Empty where the server does not tell.
    pub memory: Vec<FormatNeeds>,
}

impl OfferedSpeech {
    /// Where its files lie, relative to the page.
    pub fn folder(&self) -> String {
        format!("weights/{}/", self.name)
    }

    /// The choice in the settings.
    pub fn label(&self) -> String {
        format!("Understand speech on this device ({})", format::bytes(self.bytes))
    }

    /// What it takes in memory: from the format that was chosen for all models, where it has it, in each smaller one.
    pub fn memory_from(&self, format: Option<Format>) -> &[FormatNeeds] {
        let first = self.memory.iter().position(|needs| Some(needs.format) == format);
        &self.memory[first.unwrap_or_default()..]
    }

    /// What to know before it is chosen, with its weights in a format.
    pub fn words(&self, format: Option<Format>) -> String {
        let languages = if self.languages > 1 {
            format!("{} languages", self.languages)
        } else {
            "English only".to_owned()
        };
        let needs = self.memory_from(format).first();
        let memory = format::bytes(needs.map_or(4 * self.parameters, |needs| needs.peak_bytes));
        let licence = self.licence.as_ref().map_or(String::new(), |licence| format!(" Licence: {licence}."));
        format!(
            "{} ({languages}) writes recordings down for models that cannot hear, in about {memory} of memory. Where it is sure, its words are asked and no sound leaves; where it is not, or far slower than the server, the sound may be sent. A locked microphone keeps the sound here; its words go the way of typed ones.{licence}",
            self.name
        )
    }

    /// Confidence from which its words stand.
    pub fn threshold(&self) -> f64 {
        self.threshold.unwrap_or(DEFAULT_THRESHOLD)
    }
}

/// A model of the list.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct OfferedModel {
    /// Its name, which is that of its folder.
    pub name: String,
    /// Weights in it.
    pub parameters: u64,
    /// Bytes of the download.
    pub bytes: u64,
    /// Under which terms, where the server knows.
    pub licence: Option<String>,
    /// It takes pictures.
    pub sees: bool,
    /// It takes recordings.
    pub hears: bool,
    /// What it writes can be drafts for the server's model.
    pub drafts: bool,
    /// What it takes in memory here: as it is stored, and in each smaller format. Empty where the server does not tell.
    pub memory: Vec<FormatNeeds>,
    /// Why it cannot be loaded.
    pub problem: Option<String>,
}

impl OfferedModel {
    /// Where its files lie, relative to the page.
    pub fn folder(&self) -> String {
        format!("weights/{}/", self.name)
    }

    /// In a line: what it is, and what it takes.
    pub fn label(&self) -> String {
        if self.problem.is_some() {
            return format!("{} (cannot be loaded)", self.name);
        }
        let (weights, download) = (format::parameters(self.parameters), format::bytes(self.bytes));
        format!("{}: {weights} weights, {download}", self.name)
    }

    /// What to know before it is chosen.
    pub fn words(&self) -> String {
        if let Some(problem) = &self.problem {
            return format!("The server cannot give it: {problem}.");
        }
        let mut words = match (self.sees, self.hears) {
            (true, true) => "It sees and hears.".to_owned(),
            (true, false) => "It sees, and does not hear.".to_owned(),
            (false, true) => "It hears, and does not see.".to_owned(),
            (false, false) => "It reads words alone; pictures and sound are the server's.".to_owned(),
        };
        if self.name.starts_with("pocket-") {
            words += " It was trained on a small world of drawn cards, and knows nothing else.";
        }
        let memory = format::bytes(self.memory.first().map_or(4 * self.parameters, |needs| needs.peak_bytes));
        words +=
            &format!(" It takes {} to download and about {memory} of memory.", format::bytes(self.bytes));
        if !self.drafts {
            words += " Its tokens are not those of the server's model, so it drafts nothing for it.";
        }
        match &self.licence {
            Some(licence) => words += &format!(" Licence: {licence}."),
            None => words += " Its folder names no licence.",
        }
        words
    }
}

impl OfferedModels {
    /// Where the page's default lies, relative to the page.
    pub fn default_folder(&self) -> Option<String> {
        self.models.iter().find(|model| model.problem.is_none()).map(OfferedModel::folder)
    }

    /// Whether the model of this folder cannot hear. One that is not listed is taken for one that does.
    pub fn is_deaf(&self, folder: &str) -> bool {
        self.at(folder).is_some_and(|model| model.problem.is_none() && !model.hears)
    }

    /// The one whose folder this is.
    pub fn at(&self, folder: &str) -> Option<&OfferedModel> {
        self.models.iter().find(|model| model.folder() == folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speech_model_is_told_with_what_its_words_mean_for_a_lock() {
        let told = r#"{"models": [{"name": "deaf", "hears": false}, {"name": "hears", "hears": true}],
            "speech": {"name": "whisper-tiny", "parameters": 37760640, "bytes": 151000000, "languages": 99, "threshold": 0.6}}"#;
        let offered: OfferedModels = serde_json::from_str(told).unwrap();
        assert!(offered.is_deaf("weights/deaf/") && !offered.is_deaf("weights/hears/"));
        assert!(!offered.is_deaf("weights/unlisted/"));
        let speech = offered.speech.unwrap();
        assert_eq!((speech.folder().as_str(), speech.threshold()), ("weights/whisper-tiny/", 0.6));
        assert!(speech.label().contains("MB") && speech.words(None).contains("99 languages"));
        assert!(speech.words(None).contains("locked microphone"));
        assert!(speech.words(None).contains("about 151.0 MB of memory"), "{}", speech.words(None));
        assert_eq!(OfferedSpeech::default().threshold(), DEFAULT_THRESHOLD);
    }

    fn list() -> OfferedModels {
        serde_json::from_str(
            r#"{"models": [{"name": "broken", "problem": "config.json is missing"},
                {"name": "SmolVLM-256M-Instruct", "parameters": 256000000, "bytes": 515000000, "licence": "apache-2.0",
                 "sees": true, "hears": false, "architecture": "Idefics3ForConditionalGeneration", "drafts": false,
                 "vocabulary": {"tokens": 49152, "fingerprint": "00"}},
                {"name": "pocket-edge", "parameters": 1000000, "bytes": 2000000, "sees": true, "hears": true, "drafts": true}]}"#,
        )
        .unwrap()
    }

    #[test]
    fn the_first_that_can_be_loaded_is_the_default() {
        assert_eq!(list().default_folder().as_deref(), Some("weights/SmolVLM-256M-Instruct/"));
        assert_eq!(OfferedModels::default().default_folder(), None);
        assert_eq!(list().at("weights/pocket-edge/").unwrap().name, "pocket-edge");
    }

    #[test]
    fn what_is_told_is_what_counts() {
        let [broken, published, pocket] = &list().models[..] else { panic!("three are listed") };
        assert!(broken.words().contains("config.json is missing") && broken.label().contains("cannot"));
        let words = published.words();
        for told in ["does not hear", "drafts nothing", "apache-2.0", "memory"] {
            assert!(words.contains(told), "no `{told}` in: {words}");
        }
        assert!(pocket.words().contains("small world") && pocket.words().contains("no licence"));
        assert!(!published.words().contains("small world"));
    }
}
