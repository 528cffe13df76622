//! The conversation, and beside it what the next question is put together with.

use leptos::{ev, prelude::*, task::spawn_local};
use web_sys::{DataTransfer, File};

use crate::{
    components::{
        about::{About, Welcome},
        cards::CardsDialog,
        fold::FoldButton,
        gallery::GalleryDialog,
        happened::{HappenedLines, HappenedList},
        header::PageHeader,
        lock::Locks,
        microphone::Microphone,
        notices::NoticeList,
        policy::RiskView,
        prompt::PromptBox,
        settings::{Rules, SettingsDialog},
        shield::Shield,
        shortcuts::{self, ShortcutsDialog, SkipLinks},
        stage::Stage,
        storage::StorageDialog,
        toolbar::Toolbar,
        totals::{MoreFigures, TotalsBar},
        turn::TurnView,
    },
    state::{Side, use_page},
};

/// The page.
#[component]
pub(crate) fn Assistant() -> impl IntoView {
    let page = use_page();
    let dragging = RwSignal::new(false);
    let show_cards = RwSignal::new(false);
    let show_gallery = RwSignal::new(false);
    let show_storage = RwSignal::new(false);
    let show_settings = RwSignal::new(false);
    let show_keys = RwSignal::new(false);
    let unfolded = RwSignal::new(false);
    shortcuts::listen(page, show_keys);
    let add = move |files: Vec<File>| {
        spawn_local(page.draft.add_files(files, page));
    };

    // Files may be dropped and pasted anywhere on the page.
    let paste = window_event_listener(ev::paste, move |event| {
        let files = event.clipboard_data().map(|data| files_of(&data)).unwrap_or_default();
        if !files.is_empty() {
            event.prevent_default();
            add(files);
        }
    });
    on_cleanup(move || paste.remove());
    let carries_files = |event: &ev::DragEvent| {
        event.data_transfer().is_some_and(|data| data.types().includes(&"Files".into(), 0))
    };
    let on_drop = move |event: ev::DragEvent| {
        if !carries_files(&event) {
            return;
        }
        event.prevent_default();
        dragging.set(false);
        add(event.data_transfer().map(|data| files_of(&data)).unwrap_or_default());
    };
    let on_drag_over = move |event: ev::DragEvent| {
        if carries_files(&event) {
            event.prevent_default();
            dragging.set(true);
        }
    };
    let is_new = move || page.turns.with(Vec::is_empty);

    view! {
        <div class="page" class:dragging=dragging on:dragover=on_drag_over on:drop=on_drop
            on:dragleave=move |_| dragging.set(false)>
            <SkipLinks />
            <PageHeader />
            <main class="columns">
                <section class="answers" aria-label="Conversation" data-testid="answers">
                    <Toolbar on_settings=move || show_settings.set(true) on_keys=move || show_keys.set(true) />
                    <Show when=is_new>
                        <Welcome />
                    </Show>
                    <TotalsBar />
                    <ol class="turns">
                        <For each=move || page.turns.get() key=|turn| turn.id let:turn>
                            <li><TurnView turn=turn /></li>
                        </For>
                    </ol>
                </section>
                <section class="inputs" class:unfolded=unfolded aria-label="Your question" data-testid="composer">
                    <Stage on_gallery=move || show_gallery.set(true) on_cards=move || show_cards.set(true)
                        unfolded=unfolded />
                    <Microphone />
                    <FoldButton unfolded=unfolded />
                    <PromptBox />
                    <Locks />
                    <Shield />
                </section>
            </main>
            <footer class="page-footer">
                <MoreFigures />
                <Rules on_settings=move || show_settings.set(true) />
                <RiskView />
                <About />
                <HappenedList />
                <button type="button" class="quiet" data-testid="open-storage" on:click=move |_| show_storage.set(true)>
                    "What this device keeps"
                </button>
            </footer>
            <HappenedLines />
            <NoticeList />
            <GalleryDialog open=show_gallery />
            <CardsDialog open=show_cards />
            <StorageDialog open=show_storage />
            <SettingsDialog open=show_settings />
            <ShortcutsDialog open=show_keys />
            <div class="sr-only" role="status" data-testid="announce-edge">{page.announcement(Side::Edge)}</div>
            <div class="sr-only" role="status" data-testid="announce-cloud">{page.announcement(Side::Cloud)}</div>
            <div class="drop-hint" aria-hidden="true">"Drop pictures or a sound"</div>
        </div>
    }
}

fn files_of(data: &DataTransfer) -> Vec<File> {
    let Some(files) = data.files() else { return Vec::new() };
    (0..files.length()).filter_map(|index| files.get(index)).collect()
}
