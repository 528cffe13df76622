//! Which model this device loads: the server's list, the choice, and what is taken without one.

use leptos::{prelude::*, task::spawn_local};

use super::PageState;
use crate::{
    media::{fetch, storage},
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

    /// Loads the checkpoint of a folder from now on; an empty one is the server's default.
    pub(crate) fn choose_model(self, folder: &str) {
        let is_default =
            self.offered.with_untracked(OfferedModels::default_folder).as_deref() == Some(folder);
        let folder = Some(folder.to_owned()).filter(|folder| !folder.is_empty() && !is_default);
        self.keep_setting("weights", folder.as_deref().unwrap_or_default());
        self.choose_option(|options| options.weights = folder);
        self.stop_edge();
        self.load_edge();
    }
}
