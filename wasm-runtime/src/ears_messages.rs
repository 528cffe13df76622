//! What the page and the Worker with the speech model (`js/ears.js`) say to each other, as [`messages`](crate::messages) are for
//! the engine's. Samples travel beside the header of a `listen`.

use msao_planner::fitting::Format;
use msao_protocol::{RequestId, SpeechReceipt};
use serde::{Deserialize, Serialize};

use crate::messages::EdgeFailure;

/// What the page asks of the Worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum EarsRequest {
    /// Load a speech model. The first message.
    Load {
        /// Absolute URL of the checkpoint's folder.
        weights_url: String,
        /// How weights are kept in memory; `None` as f32.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        format: Option<Format>,
    },
    /// Write a recording down; answered by [`EarsEvent::Heard`] or [`EarsEvent::Error`], unless it is cancelled.
    Listen {
        /// Chosen by the page.
        request_id: RequestId,
    },
    /// Nobody waits for it any more: it ends at the next token, and is not answered. Only of a recording that was handed over and is
    /// not answered yet.
    Cancel {
        /// Which one.
        request_id: RequestId,
    },
}

/// What the Worker tells the page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum EarsEvent {
    /// The checkpoint is being fetched.
    Progress {
        /// Bytes that are here.
        loaded_bytes: u64,
        /// Bytes in all.
        total_bytes: u64,
        /// Until the rest is here; `None` while nothing tells.
        #[serde(default)]
        seconds_left: Option<f64>,
    },
    /// Recordings are written down from now on.
    Ready {
        /// Name of the checkpoint.
        model: String,
        /// Weights in it.
        parameters: u64,
        /// Bytes of the download.
        bytes: u64,
        /// Whether all of it was on this device already.
        from_cache: bool,
    },
    /// A recording is being written down; told when it is begun, and of each window that is done.
    Listening {
        /// Which one.
        request_id: RequestId,
        /// Seconds of it that are done.
        seconds_done: f64,
    },
    /// A recording is written down.
    Heard {
        /// Which one.
        request_id: RequestId,
        /// What is said in it.
        heard: Heard,
        /// Milliseconds it took.
        ms: f64,
    },
    /// A recording was refused, or, without a request, the speech model cannot be had.
    Error(EdgeFailure),
}

/// What is said in a recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heard {
    /// The words; empty where none were understood.
    pub text: String,
    /// Who wrote them down, and how sure it was.
    pub speech: SpeechReceipt,
}
