//! What is to happen, in order of time.

use std::{cmp::Ordering, collections::BinaryHeap};

/// A request's place among those under way.
pub(super) type RequestIndex = usize;

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Event {
    /// A client asks.
    Asked { client: usize },
    /// The edge has scored a question.
    Scored { request: RequestIndex },
    /// The edge has finished a piece of work; void if the request's edge work was renewed meanwhile.
    EdgeWorked { request: RequestIndex, work: u32 },
    /// A message has crossed the client's uplink.
    Uploaded { request: RequestIndex, message: Message },
    /// A message reaches the engine.
    Received { request: RequestIndex, message: Message },
    /// The server has decoded what a question brought.
    Decoded { request: RequestIndex },
    /// The server has finished what it was at.
    ServerWorked,
    /// A request has waited long enough for drafts; void if it was served meanwhile.
    PatienceEnded { request: RequestIndex, wait: u32 },
    /// The client hears what stands.
    Settled { request: RequestIndex, standing: u32 },
}

/// From edge to server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Message {
    /// The question with what the plan sends.
    Prompt,
    /// Drafts from `start` to before `end`, written when `known` tokens stood; the last where the edge has ended.
    Drafts { known: u32, start: u32, end: u32, is_last: bool },
    /// Where drafts come from now on.
    Steer,
    /// Nobody waits for the answer any more.
    Cancel,
    /// Activations of one token, for the layer-wise split.
    Activations,
}

#[derive(Debug)]
struct Due {
    at_ms: f64,
    order: u64,
    event: Event,
}

impl Ord for Due {
    /// The greatest is the next: earliest, and of equals the first that was planned.
    fn cmp(&self, other: &Self) -> Ordering {
        other.at_ms.total_cmp(&self.at_ms).then(other.order.cmp(&self.order))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Due {}

/// The clock, and all events to come.
#[derive(Debug, Default)]
pub(super) struct Events {
    heap: BinaryHeap<Due>,
    planned: u64,
    now_ms: f64,
}

impl Events {
    /// The time of the event that was taken last.
    pub(super) fn now_ms(&self) -> f64 {
        self.now_ms
    }

    /// Plans an event; one in the past happens now.
    pub(super) fn at(&mut self, at_ms: f64, event: Event) {
        self.planned += 1;
        self.heap.push(Due { at_ms: at_ms.max(self.now_ms), order: self.planned, event });
    }

    /// Takes the next event and moves the clock there.
    pub(super) fn next(&mut self) -> Option<Event> {
        let due = self.heap.pop()?;
        self.now_ms = due.at_ms;
        Some(due.event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_order_of_time_and_equals_as_planned() {
        let mut events = Events::default();
        for (at_ms, client) in [(5.0, 0), (1.0, 1), (5.0, 2), (3.0, 3)] {
            events.at(at_ms, Event::Asked { client });
        }
        let order: Vec<Event> = std::iter::from_fn(|| events.next()).collect();
        assert_eq!(order, [1, 3, 0, 2].map(|client| Event::Asked { client }));
        assert_eq!(events.now_ms(), 5.0);
    }
}
