//! What a client hears, from all sides in one queue.

use super::{edge::EdgeEvent, wire::WireEvent};

/// Events that may wait for the client; who has more to say waits.
pub(super) const INBOX_EVENTS: usize = 1024;

/// Something was heard.
#[derive(Debug)]
pub(super) enum Heard {
    /// From the edge's thread.
    Edge(EdgeEvent),
    /// From a connection; which one, counted since the client was made.
    Wire(u32, WireEvent),
}
