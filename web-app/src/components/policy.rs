//! The switches that say how questions may be answered, and what answers are held to.

use leptos::prelude::*;

use crate::{mode, policy, risk, state::use_page};

/// How to answer, under which bound, and how that bound stands.
#[component]
pub(crate) fn Switches() -> impl IntoView {
    let page = use_page();
    view! {
        <div class="switches">
            <PolicySwitch />
            <ModeSwitch />
            <Show when=move || page.risk_controlled.get()>
                <EpsilonSwitch />
            </Show>
        </div>
        <Show when=move || page.risk_controlled.get()>
            <RiskView />
        </Show>
    }
}

/// The choices; one that only the address can ask for is among them while it holds.
#[component]
fn PolicySwitch() -> impl IntoView {
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

#[component]
fn ModeSwitch() -> impl IntoView {
    let page = use_page();
    let choices = [
        (mode::VERIFIED, "Verified (every token checked)", false),
        (mode::RISK_CONTROLLED, "Risk-controlled: the device's confident answers stand", true),
    ];
    view! {
        <label class="policy">
            <span>"What counts"</span>
            <select data-testid="mode" aria-describedby="risk" on:change=move |event| {
                if let Some(risk_controlled) = mode::from_name(&event_target_value(&event)) {
                    page.choose_mode(risk_controlled);
                }
            }>
                {choices.map(|(name, label, risk_controlled)| view! {
                    <option value=name selected=move || page.risk_controlled.get() == risk_controlled>{label}</option>
                })}
            </select>
        </label>
    }
}

/// The bounds; one that only the address can ask for is among them while it holds.
#[component]
fn EpsilonSwitch() -> impl IntoView {
    let page = use_page();
    let mut choices = mode::OFFERED.to_vec();
    let now = page.epsilon.get_untracked();
    if !choices.contains(&now) {
        choices.push(now);
    }
    view! {
        <label class="policy">
            <span>"Differing at most"</span>
            <select data-testid="epsilon" aria-describedby="risk" on:change=move |event| {
                if let Some(epsilon) = mode::epsilon(&event_target_value(&event)) {
                    page.choose_epsilon(epsilon);
                }
            }>
                {choices.into_iter().map(|choice| view! {
                    <option value=choice.to_string() selected=move || page.epsilon.get() == choice>
                        {mode::percent(choice)}
                    </option>
                }).collect_view()}
            </select>
        </label>
    }
}

/// How risk control stands.
#[component]
fn RiskView() -> impl IntoView {
    let page = use_page();
    let cloud = move || page.cloud.with(|status| status.model_name().map(str::to_owned));
    let state = move || page.judged.with(|judged| risk::state_name(judged, page.risk.get().as_ref()));
    let sentences = move || {
        page.judged.with(|judged| {
            risk::sentences(page.policy.get(), judged, cloud().as_deref(), page.risk.get().as_ref())
        })
    };
    view! {
        <div class="risk" id="risk" data-testid="risk" data-state=state>
            {move || sentences().into_iter().map(|sentence| view! { <p>{sentence}</p> }).collect_view()}
        </div>
    }
}
