//! The question being put together: words, pictures, sound.

use leptos::prelude::*;
use msao_protocol::Limits;
use web_sys::File;

use super::{Asked, Locks, PageState};
use crate::{
    film::CLIP_FRAMES,
    input::refusal::Refusal,
    media::{
        file::{self, Loaded, Reading},
        picture::Picture,
        sound::Sound,
    },
};

/// A question before it is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draft {
    /// The words.
    pub(crate) question: RwSignal<String>,
    /// One picture, or the frames of a clip.
    pub(crate) pictures: RwSignal<Vec<Picture>>,
    /// A recording.
    pub(crate) sound: RwSignal<Option<Sound>>,
    /// Files are being read.
    pub(crate) reading: RwSignal<bool>,
    /// Of a video that is read: which frame is taken, of how many. Emptied, it makes the reading stop.
    pub(crate) frame: RwSignal<Option<(usize, usize)>>,
    /// Pictures stay on this device, as long as the page is open.
    pub(crate) vision_locked: RwSignal<bool>,
    /// Recordings stay on this device, as long as the page is open.
    pub(crate) audio_locked: RwSignal<bool>,
    /// The words of questions stay on this device, as long as the page is open.
    pub(crate) text_locked: RwSignal<bool>,
    /// Whether the question goes on from the last answer; `None` leaves it to the settings.
    pub(crate) goes_on: RwSignal<Option<bool>>,
}

impl Draft {
    pub(super) fn new() -> Self {
        Self {
            question: RwSignal::new(String::new()),
            pictures: RwSignal::new(Vec::new()),
            sound: RwSignal::new(None),
            reading: RwSignal::new(false),
            frame: RwSignal::new(None),
            vision_locked: RwSignal::new(false),
            audio_locked: RwSignal::new(false),
            text_locked: RwSignal::new(false),
            goes_on: RwSignal::new(None),
        }
    }

    /// What must not leave the device now.
    pub(super) fn locks(self) -> Locks {
        Locks {
            vision: self.vision_locked.get_untracked(),
            audio: self.audio_locked.get_untracked(),
            text: self.text_locked.get_untracked(),
        }
    }

    /// What would be asked now.
    pub(super) fn to_asked(self) -> Asked {
        Asked {
            question: self.question.get_untracked().trim().to_owned(),
            pictures: self.pictures.get_untracked(),
            sound: self.sound.get_untracked(),
            goes_on: None,
        }
    }

    /// The question was asked. Its words go, and its recording too if that was the question; pictures, and a
    /// recording that was asked about, stay for the next question.
    pub(super) fn was_asked(self) {
        if self.question.with_untracked(|question| question.trim().is_empty()) {
            self.sound.set(None);
        }
        self.question.set(String::new());
    }

    /// Puts a question back, with all that belongs to it.
    pub(crate) fn restore(self, asked: &Asked) {
        self.question.set(asked.question.clone());
        self.pictures.set(asked.pictures.clone());
        self.sound.set(asked.sound.clone());
    }

    /// Reads files that were chosen, dropped or pasted: pictures and videos replace pictures, a sound replaces the sound.
    /// Whatever cannot be used is said, and what was there before stays.
    pub(crate) async fn add_files(self, files: Vec<File>, page: PageState) {
        if files.is_empty() {
            return;
        }
        self.reading.set(true);
        let limits = Limits { audio_s: page.recorded_s(), ..page.limits.get_untracked() };
        let (wanted, notices) = (page.wanted_pictures(), page.notices);
        let (mut pictures, mut film) = (Vec::new(), None);
        for file in &files {
            let reading = Reading { limits: &limits, wanted, sampling: page.film_sampling() };
            self.frame.set(Some((0, 0)));
            let progress = |frame, of| {
                let goes_on = self.frame.get_untracked().is_some();
                self.frame.set(goes_on.then_some((frame, of)));
                goes_on
            };
            match file::load(file, reading, progress).await {
                Ok(Loaded::Picture(picture)) => pictures.push(picture),
                Ok(Loaded::Film(frames)) => film = Some(frames),
                Ok(Loaded::Stopped) => notices.info("The video was not read to its end and left out."),
                Ok(Loaded::Sound(sound, notice)) => {
                    self.sound.set(Some(sound));
                    if let Some(notice) = notice {
                        notices.info(notice);
                    }
                }
                Err(refusal) => notices.error(refusal.to_string()),
            }
        }
        self.frame.set(None);
        if let Some(film) = film {
            self.pictures.set(film);
        } else if pictures.len() > CLIP_FRAMES {
            notices.error(Refusal::TooManyImages { actual: pictures.len(), limit: CLIP_FRAMES }.to_string());
        } else if !pictures.is_empty() {
            self.pictures.set(pictures);
        }
        self.reading.set(false);
    }
}
