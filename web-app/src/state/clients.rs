//! The two clients: starting and ending them.

use leptos::prelude::*;
use msao_planner::EngineKind;
use msao_protocol::ClipSampling;
use msao_runtime::{
    cloud_client::{self, CloudClient},
    ears_client::EarsClient,
    edge_client::{EdgeClient, EdgeOptions},
    messages::{EnginePreference, LoadStage, Progress},
};

use super::PageState;
use crate::{
    film,
    media::picture::Wanted,
    status::{CloudStatus, EdgeStatus},
};

/// Where the engine's package lies, relative to the page.
pub(super) const ENGINE_URL: &str = "engine/";

/// The clients that are there.
#[derive(Default)]
pub(super) struct Clients {
    pub(super) edge: Option<EdgeClient>,
    pub(super) cloud: Option<CloudClient>,
    pub(super) ears: Option<EarsClient>,
}

impl PageState {
    /// Starts loading the engine, again if it was stopped or has failed.
    pub(crate) fn load_edge(self) {
        let engine = match self.options.with_untracked(|options| options.engine) {
            None => EnginePreference::Auto,
            Some(EngineKind::Simd) => EnginePreference::Simd,
            Some(EngineKind::Webgpu) => EnginePreference::Webgpu,
        };
        self.edge.set(EdgeStatus::Loading(Progress {
            stage: LoadStage::Engine,
            engine: if engine == EnginePreference::Webgpu { EngineKind::Webgpu } else { EngineKind::Simd },
            loaded_bytes: 0,
            total_bytes: 0,
            seconds_left: None,
        }));
        self.learn_limits(engine == EnginePreference::Webgpu);
        // What is too much by itself the engine refuses, with what it found in the model.
        let misfit = if self.has_ears() { untrack(|| self.misfit()) } else { None };
        if let Some(misfit) = misfit {
            return self.edge.set(EdgeStatus::Failed(misfit.words));
        }
        let options = EdgeOptions {
            engine_url: ENGINE_URL.to_owned(),
            weights_url: self.weights_url(),
            engine,
            format: self.format(),
        };
        match EdgeClient::spawn(options, move |event| self.on_edge(event)) {
            Ok(client) => self.clients.update_value(|clients| clients.edge = Some(client)),
            Err(error) => self.edge.set(EdgeStatus::Failed(error.to_string())),
        }
    }

    /// How the server's model wants pictures; as the device sees them while nobody is there.
    pub(crate) fn wanted_pictures(self) -> Wanted {
        let longest_edge_px = self.cloud.with_untracked(|status| match status {
            CloudStatus::Connected(model) => model.pictures.longest_edge_px,
            _ => 0,
        });
        let most_bytes = self.limits.with_untracked(|limits| limits.image_bytes);
        Wanted {
            longest_edge_px,
            most_bytes,
            with_pixels: self.prunes_tiles(),
            heard_samples: self.heard_samples(),
        }
    }

    /// Whether the device leaves out tiles of pictures.
    pub(crate) fn prunes_tiles(self) -> bool {
        self.options.with_untracked(|options| options.prune_tiles)
    }

    /// How a video is looked at.
    pub(crate) fn film_sampling(self) -> ClipSampling {
        let limits = self.limits.get_untracked();
        self.cloud.with_untracked(|status| match status {
            CloudStatus::Connected(model) => film::sampling(Some(model), &limits),
            _ => film::sampling(None, &limits),
        })
    }

    /// Gives the engine up: its download, if that is still going on, and its memory.
    pub(crate) fn stop_edge(self) {
        self.clients.update_value(|clients| clients.edge = None);
        self.edge.set(EdgeStatus::Off);
        self.fail_edge_answers("The model on this device was turned off.");
    }

    /// Connects to the server, and goes on trying; does nothing while the user works offline.
    pub(super) fn connect_cloud(self) {
        if self.offline.get_untracked() {
            return;
        }
        let session = self.next_cloud_session();
        let asked_for = self.options.with_untracked(|options| options.server.clone());
        match asked_for.map_or_else(cloud_client::session_url, Ok) {
            Ok(url) => {
                let client = CloudClient::connect_over(url, self.link(), move |event| {
                    if self.cloud_session.get_value() == session {
                        self.on_cloud(event);
                    }
                });
                client.watch_frames(move |frame| self.network.update(|log| log.push(frame)));
                self.clients.update_value(|clients| clients.cloud = Some(client));
            }
            Err(error) => {
                self.cloud.set(CloudStatus::Away { reason: error.to_string(), retry_at_ms: None });
            }
        }
    }
}
