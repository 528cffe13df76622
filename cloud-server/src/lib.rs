//! The MSAO cloud server: one WebSocket a session, the page and the weights beside it.
//!
//! - [`engine`] answers: a trait, the model in this process, and engines elsewhere. It knows no web framework.
//! - `intake` holds every input against its budget before decoding it.
//! - `session` knows what may be said when; `ws` connects it to a socket.
//! - `api` is HTTP for programs: OpenAI's chat completions, health, metrics.
//! - [`access`] knows who may do what, and stands in front of all routes.
//! - `assets` serves files; [`create_app`] puts the routes together.
//! - `edge_models` knows the checkpoints that the page may download, and makes manifests for them.
//! - [`hub`] fetches published checkpoints and keeps them.
//! - `memory` says whether what is to be loaded fits.
//! - [`config`] reads flags, variables and file as one; [`serve()`] is the process's life, `drain` its end; [`doctor`] looks
//!   whether it can begin; [`telemetry`] and `request_id` say what happens.
//!
//! The wire protocol is told in docs/protocol.md and declared in `msao-protocol`.

pub mod access;
mod api;
mod app;
mod assets;
mod calibrate_speech;
mod checkpoint_places;
pub mod config;
mod convert;
pub mod doctor;
mod drain;
mod edge_models;
pub mod engine;
mod frame_guard;
pub mod hub;
mod intake;
mod memory;
mod origin;
mod outgoing;
mod request_id;
mod serve;
mod session;
mod startup;
mod stop_signals;
pub mod telemetry;
mod tls;
mod upstream_config;
mod ws;

pub use access::Access;
pub use api::{ApiError, ImageHost, NoHost, check_chat_request};
pub use app::{AppState, create_app};
pub use assets::Assets;
pub use calibrate_speech::CalibrateSpeechCommand;
pub use config::{ServerConfig, Timeouts};
pub use convert::ConvertCommand;
pub use drain::{Drain, Ending};
pub use edge_models::{EdgeModel, EdgeModels};
pub use intake::Refusal;
pub use origin::Origins;
pub use serve::serve;
pub use startup::{StartupError, listen, prepare};
pub use upstream_config::{Input, UpstreamConfigError, UpstreamOptions};
