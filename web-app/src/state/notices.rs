//! Messages about inputs: each stays until it is dismissed or a question goes through.

use leptos::prelude::*;

/// Messages shown at a time; older ones make room.
const MOST: usize = 3;

/// A message to the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    /// Tells messages of the same words apart.
    pub(crate) id: u32,
    /// Something was refused or failed; otherwise it is for information.
    pub(crate) is_error: bool,
    /// The message.
    pub(crate) text: String,
}

/// The messages on the page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Notices {
    list: RwSignal<Vec<Notice>>,
    next_id: StoredValue<u32>,
}

impl Notices {
    pub(super) fn new() -> Self {
        Self { list: RwSignal::new(Vec::new()), next_id: StoredValue::new(0) }
    }

    /// The messages, oldest first.
    pub(crate) fn list(self) -> Vec<Notice> {
        self.list.get()
    }

    /// Something was refused or failed.
    pub(crate) fn error(self, text: impl Into<String>) {
        self.add(true, text.into());
    }

    /// Something happened that should be known.
    pub(crate) fn info(self, text: impl Into<String>) {
        self.add(false, text.into());
    }

    /// Takes a message away.
    pub(crate) fn dismiss(self, id: u32) {
        self.list.update(|list| list.retain(|notice| notice.id != id));
    }

    /// Takes all messages away.
    pub(crate) fn clear(self) {
        self.list.update(Vec::clear);
    }

    fn add(self, is_error: bool, text: String) {
        let id = self.next_id.get_value();
        self.next_id.set_value(id + 1);
        self.list.update(|list| {
            list.retain(|notice| notice.text != text);
            list.push(Notice { id, is_error, text });
            let surplus = list.len().saturating_sub(MOST);
            list.drain(..surplus);
        });
    }
}
