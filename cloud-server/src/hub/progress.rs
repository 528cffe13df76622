//! How far a download is: bytes, rate, seconds left.

use std::time::{Duration, Instant};

/// Between two reports.
const REPORT_INTERVAL: Duration = Duration::from_millis(200);
/// The rate is that of the last one or two of these.
const RATE_WINDOW: Duration = Duration::from_secs(4);

/// What a download tells.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'e> {
    /// What is going to move; nothing has yet but config.json and headers.
    Planned(&'e Summary),
    /// How far it is.
    Moved(&'e Progress),
}

/// What is going to move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its name on the hub.
    pub reference: String,
    /// The commit.
    pub commit: String,
    /// What the checkpoint's card says; `None` where it says nothing.
    pub licence: Option<String>,
    /// Files of it.
    pub files: usize,
    /// Bytes of all of them.
    pub total_bytes: u64,
    /// Bytes that are not here yet.
    pub missing_bytes: u64,
}

/// How far a download is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// The file that comes.
    pub file: String,
    /// Bytes that are here, of all files.
    pub done_bytes: u64,
    /// Bytes of all files.
    pub total_bytes: u64,
    /// What comes in a second, of late.
    pub bytes_per_s: f64,
    /// Until all is here; `None` while nothing comes.
    pub seconds_left: Option<f64>,
}

/// Measures a download and tells of it now and then.
pub(super) struct Meter<'a> {
    tell: &'a mut dyn FnMut(&Event<'_>),
    file: String,
    done_bytes: u64,
    total_bytes: u64,
    fetched_bytes: u64,
    /// Two moments, the older first, and what was fetched by then.
    marks: [(Instant, u64); 2],
    told: Option<Instant>,
}

impl<'a> Meter<'a> {
    pub(super) fn new(tell: &'a mut dyn FnMut(&Event<'_>)) -> Self {
        let marks = [(Instant::now(), 0); 2];
        Self { tell, file: String::new(), done_bytes: 0, total_bytes: 0, fetched_bytes: 0, marks, told: None }
    }

    /// Says what is going to move.
    pub(super) fn plan(&mut self, summary: &Summary) {
        self.total_bytes = summary.total_bytes;
        self.done_bytes = summary.total_bytes - summary.missing_bytes;
        self.marks = [(Instant::now(), self.fetched_bytes); 2];
        (self.tell)(&Event::Planned(summary));
    }

    pub(super) fn begin(&mut self, file: &str) {
        file.clone_into(&mut self.file);
    }

    /// So many bytes more came.
    pub(super) fn advance(&mut self, bytes: u64) {
        self.done_bytes += bytes;
        self.fetched_bytes += bytes;
        // What is looked at before it is known how much there is.
        if self.total_bytes == 0 {
            return;
        }
        let is_due = self.told.is_none_or(|told| told.elapsed() >= REPORT_INTERVAL);
        if is_due || self.done_bytes >= self.total_bytes {
            self.report(Instant::now());
        }
    }

    /// So many bytes are of no use after all.
    pub(super) fn go_back(&mut self, bytes: u64) {
        self.done_bytes = self.done_bytes.saturating_sub(bytes);
    }

    /// Bytes that came over the network.
    pub(super) fn fetched_bytes(&self) -> u64 {
        self.fetched_bytes
    }

    fn report(&mut self, now: Instant) {
        self.told = Some(now);
        if now - self.marks[1].0 >= RATE_WINDOW {
            self.marks = [self.marks[1], (now, self.fetched_bytes)];
        }
        let (since, before) = self.marks[0];
        let elapsed_s = (now - since).as_secs_f64();
        let bytes_per_s =
            if elapsed_s > 0.0 { (self.fetched_bytes - before) as f64 / elapsed_s } else { 0.0 };
        let left = self.total_bytes.saturating_sub(self.done_bytes) as f64;
        let progress = Progress {
            file: self.file.clone(),
            done_bytes: self.done_bytes.min(self.total_bytes),
            total_bytes: self.total_bytes,
            bytes_per_s,
            seconds_left: (bytes_per_s > 0.0).then(|| left / bytes_per_s),
        };
        (self.tell)(&Event::Moved(&progress));
    }
}
