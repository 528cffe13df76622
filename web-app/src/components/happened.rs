//! What happened: fresh lines above the page, and all of them in a list at its foot.

use leptos::prelude::*;

use super::{icon::Icon, notice::Notice};
use crate::state::use_page;

/// The fresh lines. They wait for their turn with screen readers, since nothing is asked of anybody.
#[component]
pub(crate) fn HappenedLines() -> impl IntoView {
    let page = use_page();
    view! {
        <div class="happened" role="log" aria-live="polite" aria-label="What happened" data-testid="happened">
            <For each=move || page.happened.shown() key=|line| line.id let:line>
                {
                    let remedy = line.step.remedy();
                    view! {
                        <Notice name="happened-line" icon=Icon::Info text=line.step.words()
                            on_dismiss=move |()| page.happened.dismiss(line.id) attr:data-step=line.step.name()>
                            {remedy.map(|remedy| view! {
                                <button type="button" class="secondary remedy" data-testid="happened-remedy"
                                    on:click=move |_| page.mend(line.id, remedy)>
                                    {remedy.label()}
                                </button>
                            })}
                        </Notice>
                    }
                }
            </For>
        </div>
    }
}

/// All lines with their times; nothing while nothing happened.
#[component]
pub(crate) fn HappenedList() -> impl IntoView {
    let page = use_page();
    view! {
        <Show when=move || !page.happened.all().is_empty()>
            <details class="happened-list" data-testid="happened-list">
                <summary>"What happened so far"</summary>
                <ol>
                    <For each=move || page.happened.all() key=|line| line.id let:line>
                        <li><time>{line.at.clone()}</time> " " {line.step.words()}</li>
                    </For>
                </ol>
            </details>
        </Show>
    }
}
