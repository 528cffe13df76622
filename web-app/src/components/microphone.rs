//! Push to talk: the button, the level while it listens, the recording afterwards.

use leptos::{ev, prelude::*, task::spawn_local};
use web_sys::Element;

use super::{
    icon::{Icon, IconView},
    lock::LockSwitch,
    player::SoundPlayer,
};
use crate::{
    input::{
        pcm::WINDOW_S,
        push_to_talk::{Command, PushToTalk},
        refusal::{Device, device_message},
    },
    media::{
        recorder::{Meter, Recorder},
        sound::Sound,
    },
    state::{PageState, now_ms, use_page},
};

/// The recorder's signals.
#[derive(Clone, Copy)]
struct Talk {
    page: PageState,
    button: RwSignal<PushToTalk>,
    meter: RwSignal<Option<Meter>>,
    recorder: StoredValue<Option<Recorder>, LocalStorage>,
    /// Counts recordings, so that a microphone that opens late for one given up is closed.
    session: StoredValue<u32>,
}

impl Talk {
    fn new(page: PageState) -> Self {
        Self {
            page,
            button: RwSignal::new(PushToTalk::Idle),
            meter: RwSignal::new(None),
            recorder: StoredValue::new_local(None),
            session: StoredValue::new(0),
        }
    }

    fn press(self) {
        let command = self.button.try_update(|button| button.press(now_ms()));
        self.obey(command);
    }

    fn release(self) {
        let is_recording = self.meter.with_untracked(Option::is_some);
        let command = self.button.try_update(|button| button.release(now_ms(), is_recording));
        self.obey(command);
    }

    fn obey(self, command: Option<Command>) {
        match command {
            Some(Command::Start) => self.start(),
            Some(Command::Finish) => self.finish(),
            Some(Command::Wait) | None => (),
        }
    }

    fn start(self) {
        let session = self.session.get_value() + 1;
        self.session.set_value(session);
        spawn_local(async move {
            let opened = Recorder::start(move |meter| {
                if self.session.get_value() == session && self.meter.with_untracked(Option::is_some) {
                    self.meter.set(Some(meter));
                    if meter.seconds >= WINDOW_S {
                        self.finish();
                    }
                }
            })
            .await;
            match opened {
                Ok(recorder) if self.session.get_value() == session => {
                    self.recorder.set_value(Some(recorder));
                    self.meter.set(Some(Meter::default()));
                }
                Ok(given_up) => drop(given_up),
                Err(exception) => {
                    self.button.update(PushToTalk::ended);
                    self.page.notices.error(device_message(Device::Microphone, exception.name()));
                }
            }
        });
    }

    /// Ends the recording and keeps it.
    fn finish(self) {
        let recorder = self.end();
        let Some(recorder) = recorder else { return };
        spawn_local(async move {
            match recorder.finish().await {
                Ok(samples) => {
                    // The last message of the audio thread may have run over.
                    let window = crate::input::pcm::WINDOW_SAMPLES.min(samples.len());
                    match Sound::from_samples("the recording", &samples[..window], WINDOW_S) {
                        Ok((sound, _)) => self.page.draft.sound.set(Some(sound)),
                        Err(refusal) => self.page.notices.error(refusal.to_string()),
                    }
                }
                Err(exception) => {
                    self.page.notices.error(device_message(Device::Microphone, exception.name()));
                }
            }
        });
    }

    /// Ends the recording; whoever drops what this returns throws it away.
    fn end(self) -> Option<Recorder> {
        self.session.update_value(|session| *session += 1);
        self.button.update(PushToTalk::ended);
        self.meter.set(None);
        self.recorder.try_update_value(Option::take).flatten()
    }
}

/// The microphone's row.
#[component]
pub(crate) fn Microphone() -> impl IntoView {
    let page = use_page();
    let talk = Talk::new(page);
    on_cleanup(move || drop(talk.end()));
    let sound = page.draft.sound;
    let is_active = move || talk.button.get() != PushToTalk::Idle;

    let on_pointer_down = move |event: ev::PointerEvent| {
        if event.button() == 0 {
            // Letting go outside the button is letting go too.
            let _ = event_target::<Element>(&event).set_pointer_capture(event.pointer_id());
            talk.press();
        }
    };
    let on_key_down = move |event: ev::KeyboardEvent| match event.key().as_str() {
        " " | "Enter" => {
            event.prevent_default();
            talk.press();
        }
        "Escape" => drop(talk.end()),
        _ => (),
    };
    let on_key_up = move |event: ev::KeyboardEvent| {
        if matches!(event.key().as_str(), " " | "Enter") {
            event.prevent_default();
            talk.release();
        }
    };
    // Screen readers and voice control click without pressing; a real press is told by its detail.
    let on_click = move |event: ev::MouseEvent| {
        if event.detail() == 0 {
            talk.press();
            talk.release();
        }
    };
    let label = move || match (talk.button.get(), talk.meter.get()) {
        (PushToTalk::Idle, _) => "Hold to talk".to_owned(),
        (_, None) => "Opening the microphone…".to_owned(),
        (PushToTalk::Latched, Some(meter)) => format!("Tap to finish · {:.1} s left", left_s(meter)),
        (PushToTalk::Held { .. }, Some(meter)) => format!("Let go to finish · {:.1} s left", left_s(meter)),
    };
    let level = move || talk.meter.get().map_or(0.0, |meter| meter.level);

    view! {
        <div class="sound-row" data-testid="sound-row">
            <div class="talk-row">
            <button type="button" class="talk" class:active=is_active data-testid="talk"
                aria-label="Hold to talk, or tap to begin and tap again to finish; up to 4.8 seconds"
                aria-pressed=move || if is_active() { "true" } else { "false" }
                on:pointerdown=on_pointer_down on:pointerup=move |_| talk.release()
                on:pointercancel=move |_| talk.release() on:keydown=on_key_down on:keyup=on_key_up on:click=on_click
                on:contextmenu=move |event| event.prevent_default()>
                <span class="level" style:transform=move || format!("scaleX({:.3})", level())></span>
                <IconView icon=Icon::Microphone />
                <span class="talk-label" data-testid="talk-label">{label}</span>
            </button>
            <LockSwitch locked=page.draft.audio_locked what="the sound" testid="lock-audio" with_words=false />
            </div>
            {move || sound.get().filter(|_| !is_active()).map(|sound| view! {
                <div class="recorded">
                    <SoundPlayer sound=sound />
                    <button type="button" class="quiet icon-only" aria-label="Remove the recording"
                        data-testid="sound-remove" on:click=move |_| page.draft.sound.set(None)>
                        <IconView icon=Icon::Close />
                    </button>
                </div>
            })}
        </div>
    }
}

fn left_s(meter: Meter) -> f64 {
    (WINDOW_S - meter.seconds).max(0.0)
}
