//! Expected costs of an answer, in closed form: what the plan compares.
//!
//! With acceptance probability alpha, draft length gamma, edge step t_d, verification t_v(rows), target step
//! t_t and round trip RTT, an answer of n tokens takes, in milliseconds:
//!
//! ```text
//! S            = upload + RTT/2 + queue + prefill             when the target knows its first token
//! edge only    = edge prefill + (n - 1) t_d
//! cloud        = S + (n - 1) t_t + RTT/2
//! co-located   = S + draft prefill + M(n - 1) (gamma t_c + t_v) + RTT/2
//! distributed  = max(S, edge prefill + (gamma - 1) t_d + RTT/2) + t_v + RTT/2
//!                + (M(n) - 1) (gamma t_d + RTT + t_v)
//! pipelined    = the same start  + (runs - 1) (gamma t_d + RTT + t_v) + later max(gamma t_d, RTT + t_v)
//! ```
//!
//! M counts rounds, `runs` and `later` the pipeline's blocks: see [`expected_rounds`] and
//! [`pipelined_blocks`]. In the limit of long answers a round yields E tokens ([`expected_tokens`]), and the
//! inequalities of *Speculation at a Distance* (arXiv 2606.25091) follow; the tests hold the code to them.
//! Acceptance is taken to be independent from token to token;
//! [`DraftLengthController`](crate::draft_length::DraftLengthController) does not take it so.

mod latency;
mod partial;
mod speculation;
mod whole_draft;
mod work;

pub use latency::{distributed_round_ms, expected_cost, expected_remaining_cost};
pub use partial::partial_context_saving_ms;
pub use speculation::{
    PipelinedBlocks, best_draft_length, expected_rounds, expected_tokens, pipelined_blocks,
};
pub use whole_draft::{draft_wait_ms, whole_draft_saving_ms};
pub use work::{Acceptance, Remaining, TokenFlops, WireSizes, Work};
