//! The switch that says how questions may be answered.

use leptos::prelude::*;

use crate::{policy, state::use_page};

/// The choices; one that only the address can ask for is among them while it holds.
#[component]
pub(crate) fn PolicySwitch() -> impl IntoView {
    let page = use_page();
    let mut choices = policy::OFFERED.to_vec();
    let now = page.policy.get_untracked();
    if !choices.contains(&now) {
        choices.push(now);
    }
    view! {
        <label class="policy">
            <span>"How to answer"</span>
            <select data-testid="policy" on:change=move |event| {
                if let Some(chosen) = policy::from_name(&event_target_value(&event)) {
                    page.policy.set(chosen);
                }
            }>
                {choices.into_iter().map(|choice| view! {
                    <option value=policy::name(choice) selected=move || page.policy.get() == choice>
                        {policy::label(choice)}
                    </option>
                }).collect_view()}
            </select>
        </label>
    }
}
