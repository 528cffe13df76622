//! The way to a clean end: what runs may finish, and what does not finish in time is handed back to who asked.

use tokio::sync::watch;

/// How far the server is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Open,
    Finishing,
    HandingBack,
}

/// Whether the server is on its way out. All that answers looks at it; clones look at the same.
#[derive(Debug, Clone)]
pub struct Drain {
    stage: watch::Sender<Stage>,
}

impl Default for Drain {
    fn default() -> Self {
        Self { stage: watch::Sender::new(Stage::Open) }
    }
}

impl Drain {
    /// From now on no question is accepted, and sessions close once they have nothing under way.
    pub fn begin(&self) {
        self.reach(Stage::Finishing);
    }

    /// Whether [`Self::begin`] was called.
    pub fn has_begun(&self) -> bool {
        *self.stage.borrow() >= Stage::Finishing
    }

    /// From now on nothing is waited for: each answer under way ends with a typed error.
    pub fn hand_back(&self) {
        self.reach(Stage::HandingBack);
    }

    /// Waits until [`Self::hand_back`] is called; for a `select!` beside whatever is under way.
    pub async fn handed_back(&self) {
        // It fails only once the sender is gone, which is this.
        let _ = self.stage.subscribe().wait_for(|stage| *stage == Stage::HandingBack).await;
    }

    fn reach(&self, stage: Stage) {
        self.stage.send_if_modified(|now| {
            let is_later = stage > *now;
            *now = stage.max(*now);
            is_later
        });
    }
}

/// How a server's answers ended when it was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All of them finished.
    Finished,
    /// Some took too long and were handed back.
    HandedBack,
    /// Some client does not even take that.
    Cut,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn the_way_out_has_no_way_back() {
        let drain = Drain::default();
        assert!(!drain.has_begun());
        let clone = drain.clone();
        drain.hand_back();
        drain.begin();
        assert!(clone.has_begun());
        clone.handed_back().await;
    }
}
