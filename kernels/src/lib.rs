//! Dense layers on the CPU, where general matrix products are weakest: 1 to 32 rows against megabytes of weights.
//!
//! `y = x W^T` with W packed once, when a checkpoint is loaded, into the order in which it is read: memory sees one plain
//! stream, each weight is read once per tile of rows, and the same form serves decoding (1 row), verification (2 to 16) and
//! prefill (hundreds). All cores take part where a product is worth it.
//!
//! | file | what happens there |
//! |---|---|
//! | `packed` | weights in the kernel's order, and the product |
//! | `pool` | threads that are awake while a model runs, and asleep otherwise |
//!
//! Sums run over the inputs in an order that depends on neither rows nor threads, so a row has the same result, bit for bit,
//! whatever shares its pass. This is what makes verifying drafts in one pass equal to writing token by token.
//!
//! The crate knows plain slices only: no tensor library, no model.

mod attention;
mod element;
mod encoder;
mod packed;
#[cfg(not(target_family = "wasm"))]
mod pool;
#[cfg(target_family = "wasm")]
#[path = "one_thread.rs"]
mod pool;
mod rows;
mod tile;

pub use attention::{Heads, KeyValues, Sequence, attend};
pub use encoder::{Gelu, add_gelu, layer_norm};
pub use packed::{PackedWeight, WeightsFormat};
#[cfg(not(target_family = "wasm"))]
pub use pool::{set_threads, threads};
pub use rows::{rms_norm, rotate, swiglu};
