//! A decoder on the CPU: dense layers where general matrix products are weakest, 1 to 32 rows against megabytes of
//! weights, and what lies between them.
//!
//! `y = x W^T` with W packed once, when a checkpoint is loaded, into panels of 16 outputs, in the order in which they are
//! read. A tile of rows and panels keeps all its sums in registers; what the next tile reads is asked for meanwhile. The same form
//! serves decoding (1 row), verification (2 to 16) and prefill (hundreds), and attention too, whose keys and values are kept
//! in panels. All cores take part where a product is worth it, in Wasm those that the page is given.
//!
//! | file | what happens there |
//! |---|---|
//! | `stored` | weights as files have them, and how numbers become f16, int8 and q4 |
//! | `packed` | weights in panels, the product, its division between threads |
//! | `tile` | the product of a few rows with a few panels, in registers |
//! | `element` | f32, f16, int8 and 4-bit weights, which become f32 there |
//! | `attention` | keys and values in panels, causal attention over them |
//! | `rows` | norm, rotation, gate, softmax |
//! | `pool` | threads that are awake while a model runs, and asleep otherwise |
//!
//! One row waits for memory, so fewer bytes a weight are what makes it faster: f16 weights halve them and give the same bits
//! where the checkpoint is f16; int8 ones (a factor for each output) quarter them and round; q4 ones (a factor for each 32
//! inputs of an output) take a seventh, and give the bits of f32 weights of their values. From some 8 rows on the
//! processor's multiplications are the bound.
//!
//! Every sum is one chain over its inputs, in their order, whatever the number of rows, panels and threads, so a row has the same
//! result, bit for bit, whatever shares its pass. This is what makes verifying drafts in one pass equal to writing token by
//! token. (Between kinds of processor results differ in the last bits, where one fuses multiplying with adding and the
//! other does not.)
//!
//! The crate knows plain slices only: no tensor library, no model.

mod attention;
mod element;
mod encoder;
mod packed;
mod pool;
mod rows;
mod stored;
mod tile;

pub use attention::{Heads, KeyValues, Sequence, attend};
pub use encoder::{Gelu, add_gelu, layer_norm};
pub use packed::PackedWeight;
#[cfg(target_family = "wasm")]
pub use pool::{MOST_HELPERS, help, helper_failed, on_wake, threads};
#[cfg(not(target_family = "wasm"))]
pub use pool::{set_threads, threads};
pub use rows::{rms_norm, rotate, share_rows, swiglu};
pub use stored::{GROUP, StoredValues, StoredWeight, WeightsFormat};
