//! A recording: its waveform, its length, and a button that plays it.

use leptos::{html, prelude::*};

use super::icon::{Icon, IconView};
use crate::{format, media::sound::Sound};

/// Shows and plays a recording.
#[component]
pub(crate) fn SoundPlayer(sound: Sound) -> impl IntoView {
    let audio: NodeRef<html::Audio> = NodeRef::new();
    let playing = RwSignal::new(false);
    let toggle = move |_| {
        let Some(audio) = audio.get_untracked() else { return };
        if playing.get_untracked() {
            // Pausing a detached element is the only way this fails.
            let _ = audio.pause();
        } else {
            // Refused only without a gesture; the click is one.
            let _ = audio.play();
        }
    };
    view! {
        <div class="player" data-testid="sound">
            <button type="button" class="secondary icon-only" data-testid="play" on:click=toggle
                aria-label=move || if playing.get() { "Pause the recording" } else { "Play the recording" }>
                {move || view! { <IconView icon=if playing.get() { Icon::Pause } else { Icon::Play } /> }}
            </button>
            <svg class="waveform" viewBox="0 0 224 40" preserveAspectRatio="none" role="img"
                aria-label="Waveform of the recording">
                <path d=waveform_path(&sound.waveform) />
            </svg>
            <span class="length" data-testid="sound-length">{format::seconds(sound.seconds())}</span>
            <audio node_ref=audio src=sound.url.as_str().to_owned() on:play=move |_| playing.set(true)
                on:pause=move |_| playing.set(false) on:ended=move |_| playing.set(false)></audio>
        </div>
    }
}

/// One upright stroke a bar, on a grid of 4 by 40.
fn waveform_path(bars: &[f32]) -> String {
    bars.iter()
        .enumerate()
        .map(|(index, height)| {
            let half = (height * 18.0).max(1.0);
            format!("M{} {:.1}V{:.1}", index * 4 + 2, 20.0 - half, 20.0 + half)
        })
        .collect()
}
