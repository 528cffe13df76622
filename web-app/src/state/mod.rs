//! What the page knows at this moment, as signals, and what may be done with it.
//!
//! [`PageState`] is one value, copied to where it is needed; components read its signals and call its methods,
//! and no component talks to a model's client itself.

mod asking;
mod clients;
mod conversation;
mod draft;
mod ears;
mod events;
mod happened;
mod measured;
mod models;
mod notices;
mod offline;
mod outcome;
mod performing;
mod planning;
mod risk;
mod running;
mod settings;
mod storage;
mod turn;
mod visits;

use leptos::prelude::*;
use msao_planner::{confidence::JudgedPair, fitting::DeviceLimits};
use msao_protocol::{Limits, Policy, RequestId};
use msao_runtime::{
    frame_log::FrameLog,
    orchestrator::{Knowledge, RiskState},
};
use wasm_bindgen::JsCast;
use web_sys::{HtmlElement, HtmlVideoElement};

pub(crate) use draft::Draft;
pub(crate) use happened::Happened;
pub(crate) use notices::Notices;
use running::Locks;
pub(crate) use storage::Storage;
pub(crate) use turn::{Asked, GoesOn, Side, Turn};
pub(crate) use visits::InstallOffer;

use crate::{
    media::fetch::FetchError,
    offered::OfferedModels,
    options::PageOptions,
    risk::JudgedAnswers,
    samples::Sample,
    status::{CloudStatus, EarsStatus, EdgeStatus},
};
use clients::Clients;
use ears::Listening;

/// Id of the prompt box.
pub(crate) const PROMPT_ID: &str = "question";
/// Id of the microphone button.
pub(crate) const MICROPHONE_ID: &str = "microphone";

/// The page's state.
#[derive(Clone, Copy)]
pub(crate) struct PageState {
    /// The question being put together.
    pub(crate) draft: Draft,
    /// Messages about inputs.
    pub(crate) notices: Notices,
    /// What happened to the models and the page meanwhile.
    pub(crate) happened: Happened,
    /// What this device keeps.
    pub(crate) storage: Storage,
    /// The browser's offer to install the page.
    pub(crate) install: InstallOffer,
    /// The engine on this device.
    pub(crate) edge: RwSignal<EdgeStatus>,
    /// The session with the cloud.
    pub(crate) cloud: RwSignal<CloudStatus>,
    /// The speech model on this device.
    pub(crate) ears: RwSignal<EarsStatus>,
    /// The question whose recording is being written down.
    listening: StoredValue<Option<Listening>>,
    /// The user works offline: there is no session with the cloud, and none is tried. Changed by `work_offline` alone.
    pub(crate) offline: RwSignal<bool>,
    /// Counts sessions, so that what one that was given up still tells is not heard.
    cloud_session: StoredValue<u32>,
    /// The server's budgets; the protocol's own until it has told them.
    pub(crate) limits: RwSignal<Limits>,
    /// Name of the session on the server; changes with each connection.
    session_id: StoredValue<String>,
    /// Questions asked, in order.
    pub(crate) turns: RwSignal<Vec<Turn>>,
    /// The turns of the conversation before, as long as they can be had back.
    pub(crate) cleared: RwSignal<Vec<Turn>>,
    last_turn_id: StoredValue<u32>,
    last_request_id: StoredValue<RequestId>,
    edge_announcement: RwSignal<String>,
    cloud_announcement: RwSignal<String>,
    /// The shipped samples; `None` while they load.
    pub(crate) samples: RwSignal<Option<Result<Vec<Sample>, FetchError>>>,
    /// The live camera picture, while there is one.
    pub(crate) viewfinder: StoredValue<Option<HtmlVideoElement>, LocalStorage>,
    /// Takes so many pictures with the camera, while there is one.
    pub(crate) shutter: StoredValue<Option<Callback<usize>>>,
    /// A question is being prepared: its picture is taken.
    preparing: RwSignal<bool>,
    /// Words that are asked as soon as somebody can answer.
    awaiting: StoredValue<Option<String>>,
    /// How questions may be answered.
    pub(crate) policy: RwSignal<Policy>,
    /// Whether confident answers of the device stand.
    pub(crate) risk_controlled: RwSignal<bool>,
    /// The bound under which they do; a share of all questions.
    pub(crate) epsilon: RwSignal<f32>,
    /// How risk control stands; `None` before it was chosen.
    pub(crate) risk: RwSignal<Option<RiskState>>,
    /// What has come of the judged answers that are shipped.
    pub(crate) judged: RwSignal<JudgedAnswers>,
    /// What crossed the network lately, whichever server it was.
    pub(crate) network: RwSignal<FrameLog>,
    judged_pair: StoredValue<Option<JudgedPair>>,
    /// What is known about network, machines and models.
    knowledge: StoredValue<Knowledge>,
    /// What was chosen, by the address, in the settings kept from an earlier visit, or since.
    pub(crate) options: RwSignal<PageOptions>,
    /// The models that the server offers for this device; none before it has told, and where it does not.
    pub(crate) offered: RwSignal<OfferedModels>,
    /// What a model may take here.
    pub(crate) device_limits: RwSignal<DeviceLimits>,
    clients: StoredValue<Clients, LocalStorage>,
}

impl PageState {
    /// Reads the address, starts the engine and connects to the server.
    pub(crate) fn start() -> Self {
        let (options, complaints) = settings::options();
        let state = Self {
            draft: Draft::new(),
            notices: Notices::new(),
            happened: Happened::new(),
            storage: Storage::new(),
            install: InstallOffer::new(),
            edge: RwSignal::new(EdgeStatus::Off),
            cloud: RwSignal::new(CloudStatus::Connecting),
            ears: RwSignal::new(EarsStatus::default()),
            listening: StoredValue::new(None),
            offline: RwSignal::new(false),
            cloud_session: StoredValue::new(0),
            limits: RwSignal::new(Limits::default()),
            session_id: StoredValue::new(String::new()),
            turns: RwSignal::new(Vec::new()),
            cleared: RwSignal::new(Vec::new()),
            last_turn_id: StoredValue::new(0),
            last_request_id: StoredValue::new(0),
            edge_announcement: RwSignal::new(String::new()),
            cloud_announcement: RwSignal::new(String::new()),
            samples: RwSignal::new(None),
            viewfinder: StoredValue::new_local(None),
            shutter: StoredValue::new(None),
            preparing: RwSignal::new(false),
            awaiting: StoredValue::new(None),
            policy: RwSignal::new(options.policy),
            risk_controlled: RwSignal::new(options.risk_controlled),
            epsilon: RwSignal::new(options.epsilon),
            risk: RwSignal::new(None),
            judged: RwSignal::new(JudgedAnswers::Unread),
            network: RwSignal::new(FrameLog::default()),
            judged_pair: StoredValue::new(None),
            knowledge: StoredValue::new(Knowledge::new(random_seed())),
            options: RwSignal::new(options),
            offered: RwSignal::new(OfferedModels::default()),
            device_limits: RwSignal::new(DeviceLimits::of_tab(None, None)),
            clients: StoredValue::new_local(Clients::default()),
        };
        for complaint in complaints {
            state.notices.error(complaint);
        }
        state.note_preferences();
        state.control_risk();
        state.load_edge();
        state.fetch_offered();
        state.connect_cloud();
        state.prepare_next_visit();
        state.watch_for_answerers();
        state
    }

    /// What a screen reader says next of a side: finished answers, and how far the device has listened.
    pub(crate) fn announcement(self, side: Side) -> RwSignal<String> {
        match side {
            Side::Edge => self.edge_announcement,
            Side::Cloud => self.cloud_announcement,
        }
    }

    /// Puts the cursor where the next word goes.
    pub(crate) fn focus_prompt(self) {
        let prompt =
            document().get_element_by_id(PROMPT_ID).and_then(|prompt| prompt.dyn_into::<HtmlElement>().ok());
        if let Some(prompt) = prompt {
            // Fails only for an element that is gone.
            let _ = prompt.focus();
        }
    }

    /// Whether an answer is under way.
    pub(crate) fn is_busy(self) -> bool {
        self.preparing.get() || self.turns.with(|turns| turns.last().is_some_and(Turn::is_pending))
    }
}

/// The page's state, from anywhere below the root.
///
/// # Panics
/// Above the root, where it is not provided.
pub(crate) fn use_page() -> PageState {
    expect_context()
}

/// Milliseconds of a clock that never runs backwards.
pub(crate) fn now_ms() -> f64 {
    window().performance().map_or_else(js_sys::Date::now, |clock| clock.now())
}

/// A number that nobody can foresee, so that nobody can tell which answers will be verified afterwards.
fn random_seed() -> u64 {
    let mut bytes = [0; 8];
    let drawn = window().crypto().and_then(|crypto| crypto.get_random_values_with_u8_array(&mut bytes));
    // Every browser that runs Wasm draws random numbers; one that refuses them still counts time.
    if drawn.is_ok() { u64::from_le_bytes(bytes) } else { js_sys::Date::now().to_bits() }
}
