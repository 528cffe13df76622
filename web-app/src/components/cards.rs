//! Cards: drawn scenes to print, or to show to this page's camera from another screen.

use leptos::{prelude::*, task::spawn_local};

use super::{
    dialog::Dialog,
    icon::{Icon, IconView},
};
use crate::{
    media::fetch::{self, FetchError},
    samples::{Card, Cards},
    state::use_page,
};

/// Folder of the cards, relative to the page.
const FOLDER: &str = "cards/";

/// The cards in a dialog.
#[component]
pub(crate) fn CardsDialog(open: RwSignal<bool>) -> impl IntoView {
    let cards = RwSignal::new(None::<Result<Vec<Card>, FetchError>>);
    Effect::new(move |_| {
        if open.get() && !matches!(cards.get_untracked(), Some(Ok(_))) {
            spawn_local(async move { cards.set(Some(load().await)) });
        }
    });
    view! {
        <Dialog open=open title="Show one of these to the camera" testid="cards-dialog">
            <div class="cards-intro">
                <p>"Print a card, or open this page on a phone and hold the phone up. Then ask one of its questions."</p>
                <button type="button" class="secondary" data-testid="cards-print" on:click=move |_| {
                    // A browser without printing leaves the page as it is.
                    let _ = window().print();
                }>
                    "Print the cards"
                </button>
            </div>
            <div class="cards" data-testid="cards">
                {move || match cards.get() {
                    None => view! { <p class="hint">"Loading the cards…"</p> }.into_any(),
                    Some(Err(error)) => view! {
                        <p class="hint" data-testid="cards-error">
                            {format!("The cards could not be loaded: {error}. Close this and open it again.")}
                        </p>
                    }.into_any(),
                    Some(Ok(cards)) => cards
                        .into_iter()
                        .map(|card| view! { <CardView card=card open=open /> })
                        .collect_view()
                        .into_any(),
                }}
            </div>
        </Dialog>
    }
}

#[component]
fn CardView(card: Card, open: RwSignal<bool>) -> impl IntoView {
    let page = use_page();
    view! {
        <figure class="card" data-testid="card" data-card=card.id.clone()>
            <img src=format!("{FOLDER}{}", card.image) alt=card.description.clone() loading="lazy" width="256" height="256" />
            <figcaption>{card.title.clone()}</figcaption>
            <ul>
                {card.questions.into_iter().map(|asked| {
                    let question = asked.question.clone();
                    view! {
                        <li>
                            <button type="button" class="suggestion" data-testid="card-question"
                                title=format!("Right answer: {}", asked.answer)
                                on:click=move |_| {
                                    page.draft.question.set(question.clone());
                                    open.set(false);
                                    page.focus_prompt();
                                }>
                                <IconView icon=Icon::Pencil /> {asked.question.clone()}
                            </button>
                        </li>
                    }
                }).collect_view()}
            </ul>
        </figure>
    }
}

async fn load() -> Result<Vec<Card>, FetchError> {
    fetch::json::<Cards>(&format!("{FOLDER}cards.json")).await.map(|list| list.cards)
}
