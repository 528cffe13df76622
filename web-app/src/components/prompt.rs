//! The question in words. Enter asks, Shift+Enter begins a line.

use leptos::{ev, prelude::*};

use super::icon::{Icon, IconView};
use crate::state::{PROMPT_ID, use_page};

/// The prompt box, with the button that asks and, while an answer is under way, the one that stops it.
#[component]
pub(crate) fn PromptBox() -> impl IntoView {
    let page = use_page();
    let question = page.draft.question;
    let chars = Memo::new(move |_| question.with(|question| question.chars().count()));
    let limit = move || page.limits.with(|limits| limits.question_chars as usize);
    // Said only when it matters: from four fifths of the limit.
    let counter = move || {
        let (chars, limit) = (chars.get(), limit());
        (chars * 5 >= limit * 4).then(|| format!("{chars} of {limit} characters"))
    };
    let on_key = move |event: ev::KeyboardEvent| {
        // An input method's Enter chooses a word.
        if event.key() == "Enter" && !event.shift_key() && !event.is_composing() {
            event.prevent_default();
            page.ask();
        }
    };
    let placeholder = move || {
        if page.draft.sound.with(Option::is_some) {
            "Ask, or just send it"
        } else {
            "What color is the star?"
        }
    };

    view! {
        <form class="prompt" class:over=move || { chars.get() > limit() }
            on:submit=move |event| { event.prevent_default(); page.ask(); }>
            <label class="sr-only" for=PROMPT_ID>"Question"</label>
            <textarea id=PROMPT_ID rows="1" data-testid="prompt" aria-keyshortcuts="/" autocomplete="off"
                enterkeyhint="send" placeholder=placeholder prop:value=question
                on:input=move |event| question.set(event_target_value(&event)) on:keydown=on_key></textarea>
            <Show when=move || page.is_busy() fallback=move || view! {
                <button type="submit" class="primary" data-testid="ask" prop:disabled=page.draft.reading>
                    <IconView icon=Icon::Send /> <span class="label">"Ask"</span>
                </button>
            }>
                <button type="button" class="primary stop" data-testid="stop" on:click=move |_| page.stop()>
                    <IconView icon=Icon::Stop /> <span class="label">"Stop"</span>
                </button>
            </Show>
        </form>
        <p class="counter" data-testid="counter">{counter}</p>
        <Show when=move || page.may_go_on()>
            <label class="check">
                <input type="checkbox" data-testid="go-on" prop:checked=move || page.would_go_on()
                    on:change=move |event| page.draft.goes_on.set(Some(event_target_checked(&event))) />
                <span>"Go on from the last answer"</span>
            </label>
        </Show>
    }
}
