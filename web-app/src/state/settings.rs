//! The settings: read with the address, kept in the browser, in force from the moment they are chosen.

use leptos::prelude::*;
use msao_runtime::{
    link::EmulatedLink,
    orchestrator::{MAX_DRAFT_TOKENS, Preferences},
};
use web_sys::UrlSearchParams;

use super::PageState;
use crate::{
    media::storage,
    options::{PageOptions, Parameters},
    settings::{self, STORAGE_KEY, Stored},
};

/// What the address asks for, then what the browser kept, then the defaults; and what was not understood of it.
pub(super) fn options() -> (PageOptions, Vec<String>) {
    let query = window().location().search().unwrap_or_default();
    let query = UrlSearchParams::new_with_str(&query).ok();
    let mut values = stored();
    for name in settings::NAMES {
        if let Some(value) = query.as_ref().and_then(|query| query.get(name)) {
            values.insert(name.to_owned(), value);
        }
    }
    let value = |name: &str| values.get(name).map(String::as_str);
    PageOptions::from_parameters(Parameters {
        engine: value("engine"),
        server: value("server"),
        policy: value("policy"),
        mode: value("mode"),
        epsilon: value("epsilon"),
        delay_image_ms: value("delay_image_ms"),
        weights: value("weights"),
        format: value("format"),
        draft_tokens: value("draft_tokens"),
        frugal: value("frugal"),
        prune_tiles: value("prune_tiles"),
        context: value("context"),
        uplink_kbit_s: value("uplink_kbit_s"),
        rtt_ms: value("rtt_ms"),
        speech: value("speech"),
    })
}

fn stored() -> Stored {
    storage::read(STORAGE_KEY).map(|text| settings::read(&text)).unwrap_or_default()
}

impl PageState {
    /// Keeps a setting for the next visits; an empty value is the default, and kept as nothing.
    pub(crate) fn keep_setting(self, name: &str, value: &str) {
        let mut values = stored();
        if value.is_empty() {
            values.remove(name);
        } else {
            values.insert(name.to_owned(), value.to_owned());
        }
        storage::write(STORAGE_KEY, &settings::write(&values));
    }

    /// Changes the options and brings into force what follows from them.
    pub(crate) fn choose_option(self, change: impl FnOnce(&mut PageOptions)) {
        self.options.update(change);
        self.note_preferences();
    }

    /// What plans weigh from the next question on.
    pub(super) fn note_preferences(self) {
        let preferences = self.options.with_untracked(|options| Preferences {
            frugal: options.frugal,
            longest_draft_tokens: options.draft_tokens.unwrap_or(MAX_DRAFT_TOKENS),
        });
        self.knowledge.update_value(|knowledge| knowledge.preferences = preferences);
    }

    /// The link to the server, as it is to be felt.
    pub(super) fn link(self) -> EmulatedLink {
        self.options.with_untracked(|options| EmulatedLink {
            rtt_ms: f64::from(options.rtt_ms.unwrap_or_default()),
            uplink_bytes_per_s: options.uplink_kbit_s.map(|rate| f64::from(rate) * 1_000.0 / 8.0),
        })
    }

    /// Forgets all settings, and goes back to the defaults.
    pub(crate) fn reset_settings(self) {
        storage::forget(STORAGE_KEY);
        let (before, now) = (self.options.get_untracked(), PageOptions::default());
        self.policy.set(now.policy);
        self.epsilon.set(now.epsilon);
        self.choose_mode(now.risk_controlled);
        self.draft.goes_on.set(None);
        self.choose_option(|options| options.clone_from(&now));
        if (before.engine, &before.weights, before.format) != (now.engine, &now.weights, now.format) {
            self.stop_edge();
            self.load_edge();
        }
        self.hear_anew();
        if (before.server, before.rtt_ms, before.uplink_kbit_s) != (now.server, now.rtt_ms, now.uplink_kbit_s)
        {
            self.reconnect();
        }
    }
}
