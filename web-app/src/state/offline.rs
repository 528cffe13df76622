//! Working offline: the session with the cloud is closed and stays so, until the user wants it back.

use leptos::prelude::*;

use super::{PageState, Side};
use crate::{answer::Answer, status::CloudStatus};

impl PageState {
    /// Closes the session with the cloud and connects no more, or connects again. Whatever the cloud was still asked goes
    /// on here.
    pub(crate) fn work_offline(self, offline: bool) {
        if self.offline.get_untracked() == offline {
            return;
        }
        self.offline.set(offline);
        if offline {
            self.leave_cloud();
            self.cloud.set(CloudStatus::Offline);
            self.fail_cloud_answers("You went offline before it was answered.");
        } else {
            self.cloud.set(CloudStatus::Connecting);
            self.connect_cloud();
        }
    }

    /// Connects anew, to the server and over the link that are chosen now.
    pub(crate) fn reconnect(self) {
        if !self.offline.get_untracked() {
            self.leave_cloud();
            self.cloud.set(CloudStatus::Connecting);
            self.fail_cloud_answers("The connection was changed before it was answered.");
            self.connect_cloud();
        }
    }

    /// Closes the session; what it still has to tell is not heard.
    fn leave_cloud(self) {
        self.next_cloud_session();
        self.clients.update_value(|clients| clients.cloud = None);
    }

    /// Begins a new count; events of earlier sessions are void.
    pub(super) fn next_cloud_session(self) -> u32 {
        let session = self.cloud_session.get_value() + 1;
        self.cloud_session.set_value(session);
        session
    }

    fn fail_cloud_answers(self, message: &str) {
        let request_ids: Vec<_> = self.turns.with_untracked(|turns| {
            let is_pending = |side: &RwSignal<Answer>| side.with_untracked(Answer::is_pending);
            let pending = turns.iter().filter(|turn| is_pending(&turn.answer(Side::Cloud)));
            pending.map(|turn| turn.request_id.get_untracked()).collect()
        });
        for request_id in request_ids {
            self.fail(request_id, Side::Cloud, message);
        }
    }
}
