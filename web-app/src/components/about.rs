//! What the models know, in plain words, and what to try first.

use leptos::prelude::*;

use super::gallery::SampleGrid;
use crate::{
    state::{PageState, use_page},
    status::{CloudStatus, EdgeStatus},
};

/// How the names of the pair begin that is described here.
const POCKET: &str = "pocket-";
/// Samples on the first screen.
const FIRST_SAMPLES: usize = 6;

/// Shown until the first question.
#[component]
pub(crate) fn Welcome() -> impl IntoView {
    view! {
        <div class="welcome" data-testid="welcome">
            <h2>"Show it, say it, ask it"</h2>
            <p>
                "Point the camera at a card or hold the microphone button and speak. The answer of the model "
                <em>"in this page"</em>
                " shows first; the "
                <em>"cloud"</em>
                " gets only what the question needs, and verifies or corrects each word in place."
            </p>
            <h3>"Or try one: a click asks it"</h3>
            <SampleGrid most=FIRST_SAMPLES asks=true on_pick=|| () />
        </div>
    }
}

/// Names of the models in use that are not of the pocket pair.
fn others(page: PageState) -> Vec<String> {
    let here = page.edge.with(|edge| match edge {
        EdgeStatus::Ready(ready) => Some(ready.model.clone()),
        _ => None,
    });
    let there = page.cloud.with(|cloud| match cloud {
        CloudStatus::Connected(model) => Some(model.name.clone()),
        _ => None,
    });
    let mut names: Vec<_> = here.into_iter().chain(there).filter(|name| !name.starts_with(POCKET)).collect();
    names.dedup();
    names
}

/// What the models in use know and do not know.
#[component]
pub(crate) fn About() -> impl IntoView {
    let page = use_page();
    let others = Memo::new(move |_| others(page));
    let known = move || {
        match others.get().as_slice() {
        [] => view! {
            <p>
                <strong>"The two models know a small world: "</strong>
                "coloured shapes (circle, square, triangle, star, heart, cross, moon), where they are and how many; signs of up to eight letters or digits; about eighty spoken English words; beeps and tones; clips of four frames."
            </p>
            <p>
                <strong>"They do not know "</strong>
                "people, rooms, news or other languages. Asked about those they still answer, and are wrong. They have learned from single questions: what goes on from the last answer they get wrong half the time."
            </p>
        }
        .into_any(),
        names => view! {
            <p>
                <strong>{format!("In use: {}. ", names.join(" and "))}</strong>
                "What a model knows, where it fails and under which terms it may be used stands in its authors' model card. It may be wrong and sound sure: check what matters."
            </p>
        }
        .into_any(),
    }
    };
    view! {
        <div class="about" data-testid="about">
            {known}
            <p>
                <strong>"What leaves this device: "</strong>
                "when the cloud is connected, each question in words, and those parts of picture and recording that the question needs, or all of both where finding out would take longer than it saves; the receipt below each answer says which. Nothing before you ask, never what you lock, and in risk-controlled mode nothing at all where the device is sure enough."
            </p>
        </div>
    }
}
