//! The page of MSAO: camera, microphone and a question in; the device's answer and the cloud's, side by side,
//! out.
//!
//! The modules above the line are plain Rust: rules, numbers and words, tested natively. Those below draw the
//! page and talk to the browser, and exist only there. Nothing here knows a tensor: the models are behind
//! `msao_runtime`'s two clients.

pub mod answer;
pub mod bench_results;
pub mod context;
pub mod film;
pub mod fit;
pub mod format;
pub mod heard;
pub mod held;
pub mod input;
pub mod ladder;
pub mod mode;
pub mod network;
pub mod offered;
pub mod options;
pub mod place;
pub mod policy;
pub mod receipt;
pub mod risk;
pub mod samples;
pub mod series;
pub mod settings;
pub mod shortcuts;
pub mod spoken;
pub mod standing;
pub mod status;
pub mod verdict;

#[cfg(target_arch = "wasm32")]
#[expect(unreachable_pub, reason = "the component macro writes `pub` items of its own")]
mod components;
#[cfg(target_arch = "wasm32")]
mod media;
#[cfg(target_arch = "wasm32")]
#[expect(unreachable_pub, reason = "the component macro writes `pub` items of its own")]
mod pages;
#[cfg(target_arch = "wasm32")]
mod state;

#[cfg(target_arch = "wasm32")]
pub use pages::App;
