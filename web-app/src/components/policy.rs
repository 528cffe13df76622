//! The switches that say how questions may be answered, what answers are held to, and how the bound stands.

use leptos::prelude::*;
use msao_protocol::Policy;

use crate::{mode, policy, risk, state::use_page};

/// How to answer, and under which bound.
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
                    page.keep_setting("policy", if chosen == Policy::default() { "" } else { policy::name(chosen) });
                }
            }>
                {choices.into_iter().map(|choice| view! {
                    <option value=policy::name(choice) prop:selected=move || page.policy.get() == choice>
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
            <select data-testid="mode" on:change=move |event| {
                if let Some(risk_controlled) = mode::from_name(&event_target_value(&event)) {
                    page.choose_mode(risk_controlled);
                    page.keep_setting("mode", if risk_controlled { mode::RISK_CONTROLLED } else { "" });
                }
            }>
                {choices.map(|(name, label, risk_controlled)| view! {
                    <option value=name prop:selected=move || page.risk_controlled.get() == risk_controlled>{label}</option>
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
            <select data-testid="epsilon" on:change=move |event| {
                if let Some(epsilon) = mode::epsilon(&event_target_value(&event)) {
                    page.choose_epsilon(epsilon);
                    page.keep_setting("epsilon", &epsilon.to_string());
                }
            }>
                {choices.into_iter().map(|choice| view! {
                    <option value=choice.to_string() prop:selected=move || page.epsilon.get() == choice>
                        {mode::percent(choice)}
                    </option>
                }).collect_view()}
            </select>
        </label>
    }
}

/// How risk control stands, while the mode has a bound.
#[component]
pub(crate) fn RiskView() -> impl IntoView {
    let page = use_page();
    let cloud = move || page.cloud.with(|status| status.model_name().map(str::to_owned));
    let state = move || page.judged.with(|judged| risk::state_name(judged, page.risk.get().as_ref()));
    let sentences = move || {
        page.judged.with(|judged| {
            risk::sentences(page.policy.get(), judged, cloud().as_deref(), page.risk.get().as_ref())
        })
    };
    view! {
        <Show when=move || page.risk_controlled.get()>
            <div class="risk" data-testid="risk" data-state=state>
                {move || sentences().into_iter().map(|sentence| view! { <p>{sentence}</p> }).collect_view()}
            </div>
        </Show>
    }
}
