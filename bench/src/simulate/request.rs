//! A request under way: what was decided, and how far edge and server have come with it.

use super::pace::Pace;

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
    /// How long the server is to wait for a draft, as the client has it.
    pub(super) patience_ms: f64,
    /// Whether its media are planned without having been looked at.
    pub(super) is_unlooked: bool,
    /// Whether the server was asked, and whether the user has the answer.
    pub(super) was_asked: bool,
    pub(super) has_ended: bool,
    /// Whether the risk controller has heard how it was decided.
    pub(super) was_recorded: bool,
    /// How much longer than usual its steps take.
    pub(super) pace: Pace,
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
    /// Whether it has encoded the prompt, and whether it has read it.
    pub(super) has_encoded: bool,
    pub(super) has_read: bool,
    /// Tokens that stand, as far as it has heard.
    pub(super) known: u32,
    /// Tokens it has, settled or drafted, the end not counted.
    pub(super) drafted: u32,
    /// Whether it has written the end.
    pub(super) has_ended: bool,
    /// Whether it goes on from tokens that are not its own.
    pub(super) is_corrected: bool,
    /// Whether something stands that it wrote otherwise and has not taken over.
    pub(super) is_contradicted: bool,
    /// Tokens that the server was told of, or that stand, and whether it was told of the end.
    pub(super) told: u32,
    pub(super) told_end: bool,
    /// Tokens it is at; 0: it is idle.
    pub(super) writing: u32,
    /// Number of its latest piece of work.
    pub(super) work: u32,
}

/// What the server knows and does.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CloudSide {
    pub(super) received_ms: f64,
    /// As it was told last.
    pub(super) writer: Option<Writer>,
    pub(super) patience_ms: f64,
    /// Whether its draft model has read the prompt.
    pub(super) drafter_has_read: bool,
    /// Whether the edge has said that nothing further comes.
    pub(super) is_last: bool,
    /// Whether nobody waits for it any more.
    pub(super) is_cancelled: bool,
    /// Whether it has read the prompt.
    pub(super) has_read: bool,
    /// Tokens that stand.
    pub(super) standing: u32,
    /// Tokens that stand or are drafted.
    pub(super) drafted: u32,
    /// The pass it took part in last.
    pub(super) last_pass: u64,
    /// Drafts that the pass it takes part in looks at.
    pub(super) in_pass: Option<u32>,
    /// Whether it has something to do in the next pass, and since when.
    pub(super) is_ready: bool,
    pub(super) ready_ms: f64,
    /// Number of its latest wait for drafts, and since when it waits.
    pub(super) wait: u32,
    pub(super) wait_began_ms: Option<f64>,
}

impl Request {
    /// Who writes, as the server knows it.
    pub(super) fn cloud_writer(&self) -> Writer {
        self.cloud.writer.unwrap_or(self.writer)
    }

    /// The server hears what the client decided.
    pub(super) fn tell_cloud(&mut self) {
        (self.cloud.writer, self.cloud.patience_ms) = (Some(self.writer), self.patience_ms);
    }

    /// Drafts that the next pass looks at: the longest run there is. The edge's end counts for nothing, since the target's
    /// own comes with the pass.
    pub(super) fn drafts(&self) -> u32 {
        let rest = self.tokens - self.cloud.standing;
        let of_edge = self.cloud.drafted.min(self.tokens - 1).saturating_sub(self.cloud.standing);
        match self.cloud_writer() {
            Writer::CoLocated { draft_tokens } => draft_tokens.min(rest).max(of_edge),
            Writer::Cloud | Writer::Distributed { .. } | Writer::Shadow => of_edge,
            Writer::Edge | Writer::Split => 0,
        }
    }

    /// Rows of the next pass: its drafts, and the token before them unless the prompt's reading has covered that.
    pub(super) fn rows(&self) -> u32 {
        self.drafts() + u32::from(self.cloud.standing > 0)
    }

    /// Tokens of the edge's text when it has ended, the end not counted.
    pub(super) fn edge_words(&self, own_tokens: u32) -> u32 {
        if self.edge.is_corrected { self.tokens - 1 } else { own_tokens.saturating_sub(1) }
    }
}
