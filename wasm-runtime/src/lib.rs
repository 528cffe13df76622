//! The edge of MSAO: the engine that answers on the device, and the page's clients for it and for the cloud.
//!
//! - Without features this crate is the page's side: typed messages, [`EdgeClient`](edge_client::EdgeClient)
//!   which runs the engine in a Worker, and [`CloudClient`](cloud_client::CloudClient) which holds the session
//!   with a server. Both clients exist in the browser only; the state machine of a session and the encoders
//!   are plain Rust and build everywhere.
//! - With `engine-flex` or `engine-webgpu` it is the engine itself, natively and as the module which the
//!   Worker loads.
//! - With `session` it is a module besides: plans and the session with the cloud, for pages that are not written in Rust.
//!
//! What depends on the platform is chosen here, module by module, and nowhere else.

#[cfg(feature = "engine")]
mod accounting;
pub mod ask_check;
#[cfg(all(feature = "engine", target_arch = "wasm32"))]
pub mod bindings;
#[cfg(all(feature = "engine", target_arch = "wasm32"))]
mod checkpoint_source;
#[cfg(target_arch = "wasm32")]
pub mod cloud_client;
pub mod cloud_events;
#[cfg(all(feature = "engine", target_arch = "wasm32"))]
mod constructors;
#[cfg(feature = "engine")]
mod drafting;
pub mod driver;
#[cfg(feature = "engine")]
pub mod ears;
#[cfg(target_arch = "wasm32")]
pub mod ears_client;
pub mod ears_messages;
#[cfg(target_arch = "wasm32")]
pub mod edge_client;
#[cfg(feature = "engine")]
pub mod engine;
mod error;
#[cfg(feature = "engine")]
mod error_codes;
pub mod frame_log;
#[cfg(feature = "engine")]
mod frames;
pub mod link;
#[cfg(feature = "engine")]
mod measure;
pub mod messages;
pub mod orchestrator;
#[cfg(feature = "engine")]
mod pruning;
#[cfg(feature = "engine")]
pub mod room;
#[cfg(feature = "engine")]
mod sampling;
pub mod scored;
#[cfg(feature = "engine")]
mod scoring;
pub mod session;
#[cfg(all(feature = "session", target_arch = "wasm32"))]
pub mod session_bindings;
#[cfg(feature = "engine")]
mod sound_windows;
#[cfg(feature = "engine")]
pub mod steering;
#[cfg(feature = "engine")]
mod tiles;
pub mod wav_encode;

pub use error::RuntimeError;
