//! Samples to begin with: a click fills in media and question, on the first screen it asks too.

use leptos::{prelude::*, task::spawn_local};

use super::{
    dialog::Dialog,
    icon::{Icon, IconView},
};
use crate::{
    input::refusal::Refusal,
    media::{
        fetch::{self, FetchError},
        file::{self, Loaded},
        picture::Picture,
        sound::Sound,
    },
    samples::{Gallery, Sample},
    state::{PageState, use_page},
};

/// Folder of the samples, relative to the page.
const FOLDER: &str = "gallery/";

/// The samples in a dialog.
#[component]
pub(crate) fn GalleryDialog(open: RwSignal<bool>) -> impl IntoView {
    view! {
        <Dialog open=open title="Try a sample" testid="gallery-dialog">
            <SampleGrid on_pick=move || open.set(false) />
        </Dialog>
    }
}

/// The samples as a grid of buttons; `most` limits their number. One that is picked is put into the draft, and where the
/// grid `asks`, asked at once.
#[component]
pub(crate) fn SampleGrid(
    #[prop(into)] on_pick: Callback<()>,
    #[prop(default = usize::MAX)] most: usize,
    #[prop(optional)] asks: bool,
) -> impl IntoView {
    let page = use_page();
    let samples = page.samples;
    let pick = move |sample: Sample| {
        on_pick.run(());
        spawn_local(fill(page, sample, asks));
    };
    view! {
        <div class="samples" data-testid="samples">
            {move || match samples.get() {
                None => view! { <p class="hint">"Loading the samples…"</p> }.into_any(),
                Some(Err(error)) => view! {
                    <p class="hint" data-testid="samples-error">
                        {format!("The samples could not be loaded: {error}. Reload the page to try again.")}
                    </p>
                }.into_any(),
                Some(Ok(samples)) => spread(&samples, most)
                    .map(|sample| view! { <SampleButton sample=sample.clone() on_pick=pick /> })
                    .collect_view()
                    .into_any(),
            }}
        </div>
    }
}

/// At most `most` samples, taken evenly from the whole list, so that a short choice shows many kinds.
fn spread(samples: &[Sample], most: usize) -> impl Iterator<Item = &Sample> {
    let shown = samples.len().min(most);
    (0..shown).map(move |index| &samples[index * samples.len() / shown])
}

#[component]
fn SampleButton(sample: Sample, #[prop(into)] on_pick: Callback<Sample>) -> impl IntoView {
    let thumbnail = sample.images.first().map(|image| format!("{FOLDER}{image}"));
    let is_sound = thumbnail.is_none();
    let picked = sample.clone();
    view! {
        <button type="button" class="sample" data-testid="sample" data-sample=sample.id.clone()
            on:click=move |_| on_pick.run(picked.clone())>
            <span class="thumbnail" class:is-sound=is_sound>
                {match thumbnail {
                    Some(source) => view! { <img src=source alt="" loading="lazy" width="96" height="96" /> }.into_any(),
                    None => view! { <IconView icon=Icon::Microphone /> }.into_any(),
                }}
                <span class="badge">{sample.badge()}</span>
            </span>
            <span class="sample-title">{sample.title.clone()}</span>
            <span class="sample-question">{sample.asks().to_owned()}</span>
        </button>
    }
}

/// Loads the list once.
pub(crate) async fn load_samples(page: PageState) {
    let list = fetch::json::<Gallery>(&format!("{FOLDER}gallery.json")).await;
    page.samples.set(Some(list.map(|gallery| gallery.samples)));
}

/// Why a sample's media are not there.
#[derive(Debug, thiserror::Error)]
enum SampleError {
    /// A file did not come.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A file came and cannot be used.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Puts a sample's media and question into the draft; whole, or not at all.
async fn fill(page: PageState, sample: Sample, asks: bool) {
    page.draft.reading.set(true);
    let filled = load_media(page, &sample).await;
    page.draft.reading.set(false);
    match filled {
        Ok((pictures, sound)) => {
            page.draft.pictures.set(pictures);
            page.draft.sound.set(sound);
            page.draft.question.set(sample.question);
            if asks {
                page.ask_when_possible();
            } else {
                page.focus_prompt();
            }
        }
        Err(error) => {
            page.notices.error(format!("The sample “{}” could not be loaded: {error}", sample.title));
        }
    }
}

async fn load_media(page: PageState, sample: &Sample) -> Result<(Vec<Picture>, Option<Sound>), SampleError> {
    let limits = page.limits.get_untracked();
    let (mut pictures, mut sound) = (Vec::new(), None);
    for name in sample.images.iter().chain(&sample.audio) {
        let bytes = fetch::bytes(&format!("{FOLDER}{name}")).await?;
        match file::from_bytes(name.clone(), &bytes, &limits, page.wanted_pictures()).await? {
            Loaded::Picture(picture) => pictures.push(picture),
            Loaded::Film(_) | Loaded::Stopped => {}
            Loaded::Sound(loaded, _) => sound = Some(loaded),
        }
    }
    Ok((pictures, sound))
}
