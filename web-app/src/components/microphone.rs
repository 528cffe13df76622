//! Push to talk: the button, the level while it listens, the recording afterwards.

use leptos::{ev, prelude::*, task::spawn_local};
use web_sys::Element;

use super::{
    icon::{Icon, IconView},
    player::SoundPlayer,
};
use crate::{
    format,
    input::{
        pcm,
        push_to_talk::{Command, PushToTalk},
        refusal::{Device, device_message},
    },
    media::{
        recorder::{Meter, Recorder},
        sound::Sound,
    },
    state::{MICROPHONE_ID, PageState, now_ms, use_page},
};

/// The recorder's signals.
#[derive(Clone, Copy)]
struct Talk {
    page: PageState,
    button: RwSignal<PushToTalk>,
    meter: RwSignal<Option<Meter>>,
    /// Levels of the recording so far, one for each message of the audio thread.
    levels: RwSignal<Vec<f32>>,
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
            levels: RwSignal::new(Vec::new()),
            recorder: StoredValue::new_local(None),
            session: StoredValue::new(0),
        }
    }

    fn press(self) {
        if let Some(refusal) = self.page.nobody_hears() {
            return self.page.notices.error(refusal.to_string());
        }
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
                    self.levels.update(|levels| levels.push(meter.level));
                    if meter.seconds >= self.page.heard_s() {
                        self.finish();
                    }
                }
            })
            .await;
            match opened {
                Ok(recorder) if self.session.get_value() == session => {
                    self.recorder.set_value(Some(recorder));
                    self.levels.set(Vec::new());
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
                    let heard_samples = self.page.heard_samples();
                    let limit_s = heard_samples as f64 / f64::from(pcm::SAMPLE_RATE_HZ);
                    let window = heard_samples.min(samples.len());
                    match Sound::from_samples("the recording", &samples[..window], limit_s, heard_samples) {
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
        "Escape" if talk.button.get_untracked() != PushToTalk::Idle => {
            // Of what Escape can stop, this is the nearest.
            event.stop_propagation();
            drop(talk.end());
        }
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
        (PushToTalk::Idle, _) => "Hold or tap to talk".to_owned(),
        (_, None) => "Opening the microphone…".to_owned(),
        (PushToTalk::Latched, Some(meter)) => {
            format!("Tap to finish · {:.1} s left", left_s(meter, page.heard_s()))
        }
        (PushToTalk::Held { .. }, Some(meter)) => {
            format!("Let go to finish · {:.1} s left", left_s(meter, page.heard_s()))
        }
    };
    let name = move || {
        page.options.track();
        page.offered.track();
        page.limits.track();
        format!(
            "Hold or tap to talk: hold and let go, or tap to begin and tap again to finish; up to {}",
            format::seconds_in_words(page.heard_s())
        )
    };
    let level = move || talk.meter.get().map_or(0.0, |meter| meter.level);
    let seconds = move || talk.meter.get().map_or(0.0, |meter| meter.seconds);

    view! {
        <div class="sound-row" data-testid="sound-row">
            <button type="button" class="talk" class:active=is_active data-testid="talk" id=MICROPHONE_ID
                aria-keyshortcuts="V"
                aria-label=name
                aria-pressed=move || if is_active() { "true" } else { "false" }
                on:pointerdown=on_pointer_down on:pointerup=move |_| talk.release()
                on:pointercancel=move |_| talk.release() on:keydown=on_key_down on:keyup=on_key_up on:click=on_click
                on:contextmenu=move |event| event.prevent_default()>
                <svg class="live-wave" viewBox="0 0 480 40" preserveAspectRatio="none" aria-hidden="true"
                    data-testid="live-waveform">
                    <path d=move || talk.levels.with(|levels| live_path(levels, seconds(), page.heard_s())) />
                </svg>
                <span class="level" data-testid="level" data-level=move || format!("{:.2}", level())
                    style:transform=move || format!("scaleX({:.3})", level())></span>
                <IconView icon=Icon::Microphone />
                <span class="talk-label" data-testid="talk-label">{label}</span>
            </button>
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

/// The waveform of `seconds` of recording, on a grid of 480 by 40 that is as long as a recording may be.
fn live_path(levels: &[f32], seconds: f64, most_s: f64) -> String {
    let step = 480.0 * (seconds / most_s).min(1.0) / levels.len().max(1) as f64;
    let bar = |(index, level): (usize, &f32)| {
        let half = (f64::from(*level) * 19.0).max(0.6);
        format!("M{:.1} {:.1}V{:.1}", index as f64 * step, 20.0 - half, 20.0 + half)
    };
    levels.iter().enumerate().map(bar).collect()
}

fn left_s(meter: Meter, most_s: f64) -> f64 {
    (most_s - meter.seconds).max(0.0)
}
