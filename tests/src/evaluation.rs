//! The shipped samples and cards, with their right answers.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use msao_protocol::{AudioInput, ImageInput, Media, MediaKind};
use serde::Deserialize;

use crate::places;

/// A sample of the page's gallery.
#[derive(Debug, Clone, Deserialize)]
pub struct Sample {
    /// Names it.
    pub id: String,
    /// The kind of question.
    pub family: String,
    /// The typed question; empty if the recording holds it.
    pub question: String,
    /// File names of one picture or of the frames of a clip.
    pub images: Vec<String>,
    /// File name of a recording.
    pub audio: Option<String>,
    /// The right answer.
    pub answer: String,
}

/// A card to hold in front of a camera.
#[derive(Debug, Clone, Deserialize)]
pub struct Card {
    /// Names it.
    pub id: String,
    /// File name of its picture.
    pub image: String,
    /// Questions about it.
    pub questions: Vec<CardQuestion>,
}

/// A question about a card.
#[derive(Debug, Clone, Deserialize)]
pub struct CardQuestion {
    /// The question.
    pub question: String,
    /// The right answer.
    pub answer: String,
}

/// All samples of the gallery.
///
/// # Errors
/// If the file is missing or has another form.
pub fn gallery() -> Result<Vec<Sample>> {
    #[derive(Deserialize)]
    struct Gallery {
        samples: Vec<Sample>,
    }
    Ok(read::<Gallery>("gallery/gallery.json")?.samples)
}

/// All cards.
///
/// # Errors
/// If the file is missing or has another form.
pub fn cards() -> Result<Vec<Card>> {
    #[derive(Deserialize)]
    struct Cards {
        cards: Vec<Card>,
    }
    Ok(read::<Cards>("cards/cards.json")?.cards)
}

/// The sample of that name.
///
/// # Errors
/// If there is none.
pub fn sample(id: &str) -> Result<Sample> {
    let found = gallery()?.into_iter().find(|sample| sample.id == id);
    found.with_context(|| format!("the gallery has no sample {id}"))
}

/// The card of that name.
///
/// # Errors
/// If there is none.
pub fn card(id: &str) -> Result<Card> {
    cards()?.into_iter().find(|card| card.id == id).with_context(|| format!("there is no card {id}"))
}

impl Sample {
    /// Where its pictures are.
    pub fn image_files(&self) -> Vec<PathBuf> {
        self.images.iter().map(|name| places::evaluation().join("gallery").join(name)).collect()
    }

    /// Where its recording is.
    pub fn audio_file(&self) -> Option<PathBuf> {
        self.audio.as_ref().map(|name| places::evaluation().join("gallery").join(name))
    }

    /// All of its pictures and its recording, as a question carries them.
    ///
    /// # Errors
    /// If a file is missing.
    pub fn inputs(&self) -> Result<(Vec<ImageInput>, Option<AudioInput>)> {
        let (images, audio) = self.media()?;
        Ok((images.into_iter().map(ImageInput::Whole).collect(), audio.map(AudioInput::Whole)))
    }

    /// Its pictures and its recording as files.
    ///
    /// # Errors
    /// If a file is missing.
    pub fn media(&self) -> Result<(Vec<Media>, Option<Media>)> {
        let load = |kind, file: PathBuf| {
            let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            anyhow::Ok(Media { kind, bytes })
        };
        let images =
            self.image_files().into_iter().map(|file| load(MediaKind::Png, file)).collect::<Result<_>>()?;
        Ok((images, self.audio_file().map(|file| load(MediaKind::Wav, file)).transpose()?))
    }
}

impl Card {
    /// Where its picture is.
    pub fn image_file(&self) -> PathBuf {
        places::evaluation().join("cards").join(&self.image)
    }
}

fn read<T: for<'de> Deserialize<'de>>(name: &str) -> Result<T> {
    let file = places::evaluation().join(name);
    let json = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_slice(&json).with_context(|| format!("{} has another form", file.display()))
}
