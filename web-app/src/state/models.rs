//! Which model this device loads, and in which format: the server's list, the choice, what is taken without one, and what is offered
//! where it does not fit.

use leptos::{prelude::*, task::spawn_local};
use msao_planner::fitting::{DeviceLimits, Format};

use super::PageState;
use crate::{
    fit::{self, Instead, Misfit},
    media::{device, fetch, storage},
    offered::{LIST_URL, MAX_LIST_BYTES, OfferedModels, SHIPPED},
};

/// Under which the browser keeps what the server's default was, so that the next visit begins with it at once.
const DEFAULT_KEY: &str = "msao.default_model";

impl PageState {
    /// Asks which models there are. Where the server's default is another than the last time, and nobody chose, it is loaded
    /// instead.
    pub(super) fn fetch_offered(self) {
        spawn_local(async move {
            // Pages without such a server have the shipped model, or none.
            let Ok(offered) = fetch::json_within::<OfferedModels>(LIST_URL, MAX_LIST_BYTES).await else {
                return;
            };
            let before = self.weights_url();
            if let Some(folder) = offered.default_folder() {
                storage::write(DEFAULT_KEY, &folder);
            }
            self.offered.set(offered);
            self.hear_as_chosen();
            if self.weights_url() != before && self.clients.with_value(|clients| clients.edge.is_some()) {
                self.stop_edge();
                self.load_edge();
            }
        });
    }

    /// Where the edge checkpoint lies, relative to the page: as chosen, else the server's default.
    pub(crate) fn weights_url(self) -> String {
        let chosen = self.options.with_untracked(|options| options.weights.clone());
        let offered = || self.offered.with_untracked(OfferedModels::default_folder);
        let remembered =
            || storage::read(DEFAULT_KEY).and_then(|folder| crate::settings::weights(&folder).ok().flatten());
        chosen.or_else(offered).or_else(remembered).unwrap_or_else(|| format!("weights/{SHIPPED}/"))
    }

    /// How the weights of the device's model are kept: as chosen, where that is smaller than they are stored.
    pub(super) fn format(self) -> Option<Format> {
        let chosen = self.options.with_untracked(|options| options.format)?;
        let folder = self.weights_url();
        let is_smaller = self.offered.with_untracked(|offered| {
            let known = offered.at(&folder).filter(|model| !model.memory.is_empty());
            known.is_none_or(|model| model.memory.iter().any(|needs| needs.format == chosen))
        });
        is_smaller.then_some(chosen)
    }

    /// Keeps weights in this format from now on; `None` is as they are stored.
    pub(crate) fn choose_format(self, format: Option<Format>) {
        self.keep_format(format);
        self.stop_edge();
        self.load_edge();
        self.hear_anew();
    }

    fn keep_format(self, format: Option<Format>) {
        self.keep_setting("format", format.map_or("", Format::name));
        self.choose_option(|options| options.format = format);
    }

    /// Learns what a model may take here.
    pub(super) fn learn_limits(self, is_for_gpu: bool) {
        self.device_limits.set(device::limits());
        if is_for_gpu {
            spawn_local(async move { self.device_limits.set(device::gpu_limits().await) });
        }
    }

    /// What is wrong with the chosen model and format, if they do not fit, and what would.
    pub(crate) fn misfit(self) -> Option<Misfit> {
        self.options.track();
        let (folder, format) = (self.weights_url(), self.format());
        let (limits, speech_bytes) = (self.device_limits.get(), self.speech_bytes());
        self.offered.with(|offered| {
            fit::misfit(offered.at(&folder)?, format, (&limits, speech_bytes), &offered.models)
        })
    }

    /// What the speech model leaves of this tab.
    pub(crate) fn limits_beside_speech(self) -> DeviceLimits {
        self.device_limits.get().beside(self.speech_bytes())
    }

    /// Takes what was offered.
    pub(crate) fn choose_instead(self, instead: &Instead) {
        self.keep_format(instead.format);
        self.choose_model(&instead.folder);
    }

    /// Loads the checkpoint of a folder from now on; an empty one is the server's default.
    pub(crate) fn choose_model(self, folder: &str) {
        let is_default =
            self.offered.with_untracked(OfferedModels::default_folder).as_deref() == Some(folder);
        let folder = Some(folder.to_owned()).filter(|folder| !folder.is_empty() && !is_default);
        self.keep_setting("weights", folder.as_deref().unwrap_or_default());
        self.choose_option(|options| options.weights = folder);
        self.stop_edge();
        self.load_edge();
        self.hear_anew();
    }
}
