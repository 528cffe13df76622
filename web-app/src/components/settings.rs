//! The settings: kept in this browser, in force at once, and less than what the address asks for.

use leptos::prelude::*;
use msao_planner::{EngineKind, fitting::Format};

use super::{dialog::Dialog, policy::Switches};
use crate::{
    context::ContextChoice,
    fit, mode,
    offered::{OfferedModel, OfferedSpeech},
    policy, settings,
    state::use_page,
    status::EarsStatus,
};

/// The settings in a dialog.
#[component]
pub(crate) fn SettingsDialog(open: RwSignal<bool>) -> impl IntoView {
    let page = use_page();
    view! {
        <Dialog open=open title="Settings" testid="settings-dialog" keep=true>
            <form class="settings" on:submit=move |event| event.prevent_default()>
                <Answers />
                <Machines />
                <Link />
                <div class="settings-foot">
                    <p class="hint">"Kept in this browser only. What the page's address asks for comes first."</p>
                    <button type="button" class="secondary" data-testid="settings-reset"
                        on:click=move |_| page.reset_settings()>
                        "Reset all settings"
                    </button>
                </div>
            </form>
        </Dialog>
    }
}

/// How questions are answered.
#[component]
fn Answers() -> impl IntoView {
    let page = use_page();
    let contexts = ContextChoice::ALL.map(|choice| (choice.name().to_owned(), choice.label().to_owned()));
    let lengths = [
        ("auto", "As long as pays, up to 16"),
        ("1", "1 token"),
        ("2", "Up to 2 tokens"),
        ("4", "Up to 4 tokens"),
        ("8", "Up to 8 tokens"),
    ];
    view! {
        <fieldset>
            <legend>"Answers"</legend>
            <Switches />
            <Choice label="Go on from the last answer" testid="context" offered=contexts.to_vec()
                value=move || page.options.with(|options| options.context.name().to_owned())
                on_change=move |name: String| {
                    if let Some(choice) = ContextChoice::from_name(&name) {
                        page.draft.goes_on.set(None);
                        page.choose_option(|options| options.context = choice);
                        page.keep_setting("context", if choice == ContextChoice::Automatic { "" } else { &name });
                    }
                } />
            <p class="hint">"The shipped pair has learned from single questions: of 22 it answered 22 rightly alone, and 11 behind another one."</p>
            <Choice label="Drafts at a time" testid="draft-tokens"
                offered=lengths.map(|(name, label)| (name.to_owned(), label.to_owned())).to_vec()
                value=move || page.options.with(|options| {
                    options.draft_tokens.map_or_else(|| "auto".to_owned(), |tokens| tokens.to_string())
                })
                on_change=move |written: String| {
                    if let Ok(tokens) = settings::draft_tokens(&written) {
                        page.choose_option(|options| options.draft_tokens = tokens);
                        page.keep_setting("draft_tokens", tokens.map_or("", |_| &written));
                    }
                } />
            <label class="check">
                <input type="checkbox" data-testid="frugal" prop:checked=move || page.options.with(|options| options.frugal)
                    on:change=move |event| {
                        let frugal = event_target_checked(&event);
                        page.choose_option(|options| options.frugal = frugal);
                        page.keep_setting("frugal", if frugal { "on" } else { "" });
                    } />
                <span>"Send as little as possible, even where that takes longer"</span>
            </label>
            <label class="check">
                <input type="checkbox" data-testid="prune-tiles" prop:checked=move || page.options.with(|options| options.prune_tiles)
                    on:change=move |event| {
                        let prunes = event_target_checked(&event);
                        page.choose_option(|options| options.prune_tiles = prunes);
                        page.keep_setting("prune_tiles", if prunes { "on" } else { "" });
                    } />
                <span>"Leave out parts of large pictures in which little stands out"</span>
            </label>
            <p class="hint">"For servers whose model looks at tiles or at videos. The device sends fewer tiles, and fewer frames of what stands still; answers may change. Holds from now on."</p>
        </fieldset>
    }
}

/// Which server, which model, which engine.
#[component]
fn Machines() -> impl IntoView {
    let page = use_page();
    let engines = [
        ("auto", "Whichever is faster here"),
        ("simd", "Processor (Wasm SIMD)"),
        ("webgpu", "Graphics card (WebGPU)"),
    ];
    let server =
        RwSignal::new(page.options.with_untracked(|options| options.server.clone()).unwrap_or_default());
    let weights =
        RwSignal::new(page.options.with_untracked(|options| options.weights.clone()).unwrap_or_default());
    Effect::new(move |_| {
        page.options.with(|options| {
            server.set(options.server.clone().unwrap_or_default());
            weights.set(options.weights.clone().unwrap_or_default());
        });
    });
    let wrong_server = move || {
        server.with(|address| {
            !address.is_empty() && !address.starts_with("ws://") && !address.starts_with("wss://")
        })
    };
    let wrong_weights = move || weights.with(|folder| settings::weights(folder).err());
    let connect = move |_| {
        let address = server.get_untracked().trim().to_owned();
        if !untrack(wrong_server) {
            page.keep_setting("server", &address);
            page.choose_option(|options| {
                options.server = Some(address).filter(|address| !address.is_empty())
            });
            page.reconnect();
        }
    };
    let load = move |_| {
        if let Ok(folder) = settings::weights(weights.get_untracked().trim()) {
            page.choose_model(&folder.unwrap_or_default());
        }
    };
    view! {
        <fieldset>
            <legend>"Server and models"</legend>
            <div class="setting">
                <label for="setting-server">"Server"</label>
                <input id="setting-server" type="text" inputmode="url" autocomplete="off" data-testid="server"
                    placeholder="this page's own" prop:value=server aria-invalid=move || wrong_server().to_string()
                    on:input=move |event| server.set(event_target_value(&event)) />
                <button type="button" class="secondary" data-testid="server-connect" prop:disabled=wrong_server on:click=connect>
                    "Connect"
                </button>
            </div>
            <p class="hint">"Such as wss://example.org/v1/session. The page's own server must allow it."</p>
            {move || page.offered.with(|offered| offered.models.len() > 1).then(|| view! { <OfferedModel /> })}
            <div class="setting">
                <label for="setting-weights">"Model here"</label>
                <input id="setting-weights" type="text" autocomplete="off" data-testid="weights"
                    placeholder="weights/pocket-edge/" prop:value=weights
                    aria-invalid=move || wrong_weights().is_some().to_string()
                    on:input=move |event| weights.set(event_target_value(&event)) />
                <button type="button" class="secondary" data-testid="weights-load"
                    prop:disabled=move || wrong_weights().is_some() on:click=load>
                    "Load"
                </button>
            </div>
            <WeightsFormat />
            {move || page.offered.with(|offered| offered.speech.clone()).map(|speech| view! { <Speech speech=speech /> })}
            <Choice label="Runs on" testid="engine"
                offered=engines.map(|(name, label)| (name.to_owned(), label.to_owned())).to_vec()
                value=move || page.options.with(|options| engine_name(options.engine).to_owned())
                on_change=move |name: String| {
                    page.choose_option(|options| options.engine = engine(&name));
                    page.keep_setting("engine", if name == "auto" { "" } else { &name });
                    page.stop_edge();
                    page.load_edge();
                } />
        </fieldset>
    }
}

/// The model of this device, of those that the server offers.
#[component]
fn OfferedModel() -> impl IntoView {
    let page = use_page();
    let models = page.offered.with_untracked(|offered| offered.models.clone());
    let offered = models.iter().map(|model| (model.folder(), model.label())).collect();
    // Tracked by what may change it.
    let folder = move || {
        page.options.track();
        page.offered.track();
        page.weights_url()
    };
    let words = move || page.offered.with(|offered| offered.at(&folder()).map(|model| model.words()));
    view! {
        <Choice label="Model on this device" testid="model" offered=offered value=folder
            on_change=move |folder: String| page.choose_model(&folder) />
        <p class="hint" data-testid="model-words">{words}</p>
    }
}

/// How the weights of the device's model are kept; shown where the server tells what each format takes.
#[component]
fn WeightsFormat() -> impl IntoView {
    let page = use_page();
    let model = move || {
        page.options.track();
        let folder = page.weights_url();
        page.offered.with(|offered| offered.at(&folder).filter(|model| !model.memory.is_empty()).cloned())
    };
    let chosen = move || page.options.with(|options| options.format.map_or("", Format::name).to_owned());
    let options = move |model: &OfferedModel| {
        let choices = fit::choices(model, &page.limits_beside_speech());
        let is_listed = choices.iter().any(|choice| choice.value == chosen());
        let selected = move |value: &str| value == if is_listed { chosen() } else { String::new() };
        let option = |choice: fit::FormatChoice| {
            let is_selected = selected(&choice.value);
            view! { <option value=choice.value disabled=!choice.fits prop:selected=is_selected>{choice.label}</option> }
        };
        choices.into_iter().map(option).collect_view()
    };
    let words = move || {
        let stored = model().and_then(|model| model.memory.first().map(|needs| needs.format));
        page.options.with(|options| options.format).or(stored).map(fit::accuracy)
    };
    move || {
        model().map(|model| {
            view! {
                <label class="policy">
                    <span>"Weights in memory"</span>
                    <select data-testid="weights-format"
                        on:change=move |event| page.choose_format(event_target_value(&event).parse().ok())>
                        {options(&model)}
                    </select>
                </label>
                <p class="hint" data-testid="format-words">
                    {words} " All of the model is downloaded, and rounded when it is loaded."
                </p>
            }
        })
    }
}

/// Whether recordings are written down here.
#[component]
fn Speech(speech: OfferedSpeech) -> impl IntoView {
    let page = use_page();
    let label = speech.label();
    let words = move || speech.words(page.options.with(|options| options.format));
    view! {
        <label class="check">
            <input type="checkbox" data-testid="speech" prop:checked=move || page.options.with(|options| options.speech)
                on:change=move |event| page.choose_speech(event_target_checked(&event)) />
            <span>{label}</span>
        </label>
        <p class="hint">{words} " " <span data-testid="speech-status">{move || page.ears.with(EarsStatus::words)}</span></p>
    }
}

/// A slower network than the real one.
#[component]
fn Link() -> impl IntoView {
    let page = use_page();
    let rates = [
        ("0", "As it is"),
        ("64", "64 kbit/s"),
        ("256", "256 kbit/s"),
        ("1000", "1 Mbit/s"),
        ("5000", "5 Mbit/s"),
    ];
    let trips = [("0", "As it is"), ("50", "+ 50 ms"), ("150", "+ 150 ms"), ("500", "+ 500 ms")];
    let delays = [("0", "With the question"), ("1500", "1.5 s later"), ("5000", "5 s later")];
    let offered = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter().map(|(name, label)| ((*name).to_owned(), (*label).to_owned())).collect()
    };
    let shown = |value: Option<u32>| value.unwrap_or_default().to_string();
    view! {
        <fieldset>
            <legend>"For demonstrations: a slower network"</legend>
            <Choice label="Uplink" testid="uplink-kbit-s" offered=offered(&rates)
                value=move || page.options.with(|options| shown(options.uplink_kbit_s))
                on_change=move |written: String| {
                    if let Ok(rate) = settings::uplink_kbit_s(&written) {
                        page.choose_option(|options| options.uplink_kbit_s = rate);
                        page.keep_setting("uplink_kbit_s", rate.map_or("", |_| &written));
                        page.reconnect();
                    }
                } />
            <Choice label="Round trip" testid="rtt-ms" offered=offered(&trips)
                value=move || page.options.with(|options| shown(options.rtt_ms))
                on_change=move |written: String| {
                    if let Ok(rtt) = settings::rtt_ms(&written) {
                        page.choose_option(|options| options.rtt_ms = rtt);
                        page.keep_setting("rtt_ms", rtt.map_or("", |_| &written));
                        page.reconnect();
                    }
                } />
            <Choice label="Pictures" testid="delay-image-ms" offered=offered(&delays)
                value=move || page.options.with(|options| shown(options.delay_image_ms))
                on_change=move |written: String| {
                    let delay = written.parse().ok().filter(|delay| *delay > 0);
                    page.choose_option(|options| options.delay_image_ms = delay);
                    page.keep_setting("delay_image_ms", delay.map_or("", |_| &written));
                } />
        </fieldset>
    }
}

/// A list to choose from; a value that only the address can ask for is in it while it holds.
#[component]
fn Choice(
    label: &'static str,
    testid: &'static str,
    offered: Vec<(String, String)>,
    #[prop(into)] value: Signal<String>,
    #[prop(into)] on_change: Callback<String>,
) -> impl IntoView {
    let mut offered = offered;
    let now = value.get_untracked();
    if !offered.iter().any(|(name, _)| *name == now) {
        offered.push((now.clone(), now));
    }
    view! {
        <label class="policy">
            <span>{label}</span>
            <select data-testid=testid on:change=move |event| on_change.run(event_target_value(&event))>
                {offered.into_iter().map(|(name, label)| {
                    let own = name.clone();
                    view! { <option value=name prop:selected=move || value.get() == own>{label}</option> }
                }).collect_view()}
            </select>
        </label>
    }
}

fn engine(name: &str) -> Option<EngineKind> {
    match name {
        "simd" => Some(EngineKind::Simd),
        "webgpu" => Some(EngineKind::Webgpu),
        _ => None,
    }
}

fn engine_name(kind: Option<EngineKind>) -> &'static str {
    match kind {
        None => "auto",
        Some(EngineKind::Simd) => "simd",
        Some(EngineKind::Webgpu) => "webgpu",
    }
}

/// What answers are held to, in a line for the foot of the page.
#[component]
pub(crate) fn Rules(#[prop(into)] on_settings: Callback<()>) -> impl IntoView {
    let page = use_page();
    let words = move || {
        // Both are tracked: the mode itself is read when a question is asked.
        let (_, _) = (page.risk_controlled.get(), page.epsilon.get());
        format!("{}. {}.", policy::label(page.policy.get()), mode::label(page.mode()))
    };
    view! {
        <p class="rules" data-testid="rules">
            <span>{words}</span>
            <button type="button" class="quiet" on:click=move |_| on_settings.run(())>"Change"</button>
        </p>
    }
}
