//! What happened to the page and its models while it was open: the steps of the ladder, each as one line.

use leptos::prelude::*;
use msao_planner::EngineKind;
use msao_runtime::messages::{EngineChange, EngineChangeReason, Kept, Measured, Ready};

use super::PageState;
use crate::{
    ladder::{Remedy, Step},
    status::{CloudStatus, EdgeStatus},
};

/// Lines that are remembered.
const MOST: usize = 20;
/// Lines shown at a time above the page; older ones stand in the list only.
const MOST_SHOWN: usize = 3;

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    /// Tells lines of the same words apart.
    pub(crate) id: u32,
    /// Time of the day, as this browser writes it.
    pub(crate) at: String,
    /// What happened.
    pub(crate) step: Step,
    is_dismissed: bool,
}

/// The lines, oldest first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Happened {
    lines: RwSignal<Vec<Line>>,
    next_id: StoredValue<u32>,
}

impl Happened {
    pub(super) fn new() -> Self {
        Self { lines: RwSignal::new(Vec::new()), next_id: StoredValue::new(0) }
    }

    /// All lines that are remembered.
    pub(crate) fn all(self) -> Vec<Line> {
        self.lines.get()
    }

    /// The last lines that were not dismissed.
    pub(crate) fn shown(self) -> Vec<Line> {
        let mut shown: Vec<Line> =
            self.lines.with(|lines| lines.iter().filter(|line| !line.is_dismissed).cloned().collect());
        shown.drain(..shown.len().saturating_sub(MOST_SHOWN));
        shown
    }

    /// Takes a line away from above the page; the list keeps it.
    pub(crate) fn dismiss(self, id: u32) {
        self.lines.update(|lines| {
            lines.iter_mut().filter(|line| line.id == id).for_each(|line| line.is_dismissed = true);
        });
    }

    /// Tells a step. It takes the place of a line of the same kind, which it makes void.
    pub(super) fn tell(self, step: Step) {
        let id = self.next_id.get_value();
        self.next_id.set_value(id + 1);
        let at = String::from(js_sys::Date::new_0().to_locale_time_string("default"));
        self.lines.update(|lines| {
            lines
                .iter_mut()
                .filter(|line| is_void_after(&line.step, &step))
                .for_each(|line| line.is_dismissed = true);
            lines.push(Line { id, at, step, is_dismissed: false });
            let surplus = lines.len().saturating_sub(MOST);
            lines.drain(..surplus);
        });
    }

    /// The engine answers: what was said of its loss is over.
    pub(super) fn edge_is_back(self) {
        self.lines.update(|lines| {
            let lost = lines.iter_mut().filter(|line| matches!(line.step, Step::EdgeLost { .. }));
            lost.for_each(|line| line.is_dismissed = true);
        });
    }
}

/// Whether a later step makes an earlier line untrue, or says the same.
fn is_void_after(earlier: &Step, later: &Step) -> bool {
    let of_cloud = |step: &Step| matches!(step, Step::CloudLost { .. } | Step::CloudBack);
    earlier.name() == later.name() || (of_cloud(earlier) && of_cloud(later))
}

impl PageState {
    /// The engine is ready: what was said of its loss is over, and a model that cannot be kept is told.
    pub(super) fn tell_ready(self, ready: &Ready) {
        self.happened.edge_is_back();
        self.storage.model.set(Some((ready.kept, ready.weights_bytes)));
        if ready.kept != Kept::Disk {
            self.happened.tell(Step::NotKept { kept: ready.kept, bytes: ready.weights_bytes });
        }
        self.keep_engine();
    }

    /// Another engine goes on. That a faster one does is seen in the page's head, and no news for anybody else.
    pub(super) fn tell_change(self, change: &EngineChange) {
        match change.reason {
            EngineChangeReason::Failed => {
                let EngineChange { from, to, message, .. } = change.clone();
                self.happened.tell(Step::EngineReplaced { from, to, why: message });
            }
            EngineChangeReason::Slower => self.happened.tell(Step::WebgpuBecameSlow),
            EngineChangeReason::Faster => (),
        }
        self.keep_engine();
    }

    /// WebGPU was tried in the background during this visit, and does not take over.
    pub(super) fn tell_measured(self, measured: &Measured) {
        let was_tried = self
            .edge
            .with_untracked(|status| matches!(status, EdgeStatus::Ready(ready) if ready.trying_other));
        if was_tried && measured.chosen == EngineKind::Simd {
            self.happened.tell(match measured.failure.clone() {
                Some(why) => Step::WebgpuUnusable { why },
                None => Step::WebgpuSlower,
            });
        }
    }

    /// The session with the cloud is lost or cannot be had; told once.
    pub(super) fn tell_cloud_lost(self) {
        let is_news = self.cloud.with_untracked(|status| !matches!(status, CloudStatus::Away { .. }));
        if is_news {
            let edge_answers = self.edge.with_untracked(|status| {
                // One that still loads will.
                matches!(status, EdgeStatus::Ready(_) | EdgeStatus::Loading(_))
            });
            self.happened.tell(Step::CloudLost { edge_answers });
        }
    }

    /// The session with the cloud stands; news only where it was lost.
    pub(super) fn tell_cloud_back(self) {
        if self.cloud.with_untracked(|status| matches!(status, CloudStatus::Away { .. })) {
            self.happened.tell(Step::CloudBack);
            self.look_for_a_new_version();
        }
    }

    /// Does what a line offers.
    pub(crate) fn mend(self, id: u32, remedy: Remedy) {
        self.happened.dismiss(id);
        match remedy {
            Remedy::LoadEngine => self.load_edge(),
            Remedy::Reload => {
                // Fails only where a page may not be reloaded at all.
                let _ = window().location().reload();
            }
        }
    }
}
