//! What is done to the conversation as a whole: begin anew, work offline, settings, keys.

use leptos::prelude::*;

use super::icon::{Icon, IconView};
use crate::state::use_page;

/// The row above the conversation.
#[component]
pub(crate) fn Toolbar(
    #[prop(into)] on_settings: Callback<()>,
    #[prop(into)] on_keys: Callback<()>,
) -> impl IntoView {
    let page = use_page();
    let is_empty = move || page.turns.with(Vec::is_empty);
    view! {
        <div class="toolbar" data-testid="toolbar">
            <button type="button" class="quiet" data-testid="new-conversation" prop:disabled=is_empty
                on:click=move |_| page.begin_anew()>
                <IconView icon=Icon::New /> <span class="wide">"New conversation"</span> <span class="narrow">"New"</span>
            </button>
            <button type="button" class="quiet toggle" data-testid="offline"
                aria-pressed=move || page.offline.get().to_string()
                title="Closes the session with the server; this device answers alone until you turn it off"
                on:click=move |_| page.work_offline(!page.offline.get_untracked())>
                <IconView icon=Icon::Offline /> <span class="wide">"Work offline"</span> <span class="narrow">"Offline"</span>
            </button>
            <span class="spring"></span>
            <button type="button" class="quiet" data-testid="open-settings" on:click=move |_| on_settings.run(())>
                <IconView icon=Icon::Settings /> "Settings"
            </button>
            <button type="button" class="quiet" data-testid="open-shortcuts" aria-label="Keys that work everywhere"
                on:click=move |_| on_keys.run(())>
                <IconView icon=Icon::Keyboard /> "Keys"
            </button>
        </div>
        <div role="status" class="cleared-row">
            <Show when=move || page.cleared.with(|cleared| !cleared.is_empty())>
                <p class="cleared" data-testid="cleared">
                    "A new conversation. The one before can be brought back until you ask."
                    <button type="button" class="secondary" data-testid="undo-clear" on:click=move |_| page.bring_back()>
                        <IconView icon=Icon::Retry /> "Bring it back"
                    </button>
                </p>
            </Show>
        </div>
    }
}
