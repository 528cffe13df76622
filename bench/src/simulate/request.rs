//! A request under way: what was decided, and how far edge and server have come with it.

/// Who writes the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    /// The edge alone.
    Edge,
    /// The target, token by token.
    Cloud,
    /// A draft model beside the target.
    CoLocated { draft_tokens: u32 },
    /// The edge proposes, the target verifies.
    Distributed { draft_tokens: u32, pipelined: bool },
    /// Both halves of the target, token by token.
    Split,
    /// Nobody waits: an edge answer that stood is verified to watch the risk bound.
    Shadow,
}

/// What is sent and read.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Parcel {
    pub(super) upload_bytes: f64,
    pub(super) edge_tokens: f64,
    pub(super) target_tokens: f64,
    pub(super) edge_flops: f64,
    pub(super) target_flops: f64,
    /// Whether something was pruned or dropped.
    pub(super) is_pruned: bool,
}

/// A question on its way to an answer.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) client: usize,
    /// Index of its record.
    pub(super) record: usize,
    /// Names its draws.
    pub(super) salt: u64,
    pub(super) asked_ms: f64,
    pub(super) writer: Writer,
    pub(super) parcel: Parcel,
    /// Tokens of the answer.
    pub(super) tokens: u32,
    pub(super) edge: EdgeSide,
    pub(super) cloud: CloudSide,
    /// When its first token was settled at the client.
    pub(super) first_ms: Option<f64>,
    /// When its first token, draft or not, was on the screen.
    pub(super) shown_ms: Option<f64>,
}

/// What the edge knows and does.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct EdgeSide {
    /// Whether it writes the whole answer before it asks.
    pub(super) answers_first: bool,
    /// Whether it has read the prompt.
    pub(super) has_read: bool,
    /// Tokens that stand, as far as it has heard.
    pub(super) known: u32,
    /// Tokens it has, settled or drafted.
    pub(super) drafted: u32,
    /// Drafts of the block it is at; 0: it is idle.
    pub(super) writing: u32,
    /// Number of its latest piece of work.
    pub(super) work: u32,
    /// Whether drafts are under way that it has not heard about.
    pub(super) in_flight: bool,
    /// Whether a finished block waits for that.
    pub(super) holds_block: bool,
}

/// What the server knows and does.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CloudSide {
    pub(super) received_ms: f64,
    /// Whether it has read the prompt.
    pub(super) has_read: bool,
    /// Tokens that stand.
    pub(super) standing: u32,
    /// Tokens that stand or are drafted.
    pub(super) drafted: u32,
    /// The pass it took part in last.
    pub(super) last_pass: u64,
    /// Whether it has something to do in the next pass, and since when.
    pub(super) is_ready: bool,
    pub(super) ready_ms: f64,
    /// Number of its latest wait for drafts.
    pub(super) wait: u32,
}

impl Request {
    /// Drafts that the next pass looks at.
    pub(super) fn drafts(&self) -> u32 {
        match self.writer {
            Writer::CoLocated { draft_tokens } => draft_tokens.min(self.tokens - self.cloud.standing),
            Writer::Edge | Writer::Cloud | Writer::Split => 0,
            Writer::Distributed { .. } | Writer::Shadow => {
                self.cloud.drafted.min(self.tokens).saturating_sub(self.cloud.standing)
            }
        }
    }

    /// Rows of the next pass: its drafts, and the token before them unless the prompt's reading has covered that.
    pub(super) fn rows(&self) -> u32 {
        self.drafts() + u32::from(self.cloud.standing > 0)
    }
}
