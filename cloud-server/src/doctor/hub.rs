//! Checkpoints from the hub: whether they are in its cache, and under which licence.

use super::{Finding, Verdict};
use crate::config::ServerConfig;
use crate::hub::{HubError, settle_cached};

/// The configuration with folders instead of names on the hub; `None` where one is not there, which is noted.
pub(super) fn settled(config: &ServerConfig, note: &mut impl FnMut(Finding)) -> Option<ServerConfig> {
    let done = settle_cached(config, &mut |reference, found| {
        let Some(found) = found else { return };
        let licence = found.licence.as_deref().unwrap_or("not told by its card");
        let says = format!(
            "{reference} is in the cache: {} MB of commit {}, licence {licence}",
            found.total_bytes >> 20,
            found.commit
        );
        note(Finding::new("hub", Verdict::Good, says));
    });
    match done {
        Ok(settled) => Some(settled.config),
        Err(error) => {
            let says = match &error {
                HubError::Offline { reference, folder } => format!(
                    "{reference} is not in the cache {}: `msao-server fetch {reference}` fetches it, and so does serving it",
                    folder.display()
                ),
                other => other.to_string(),
            };
            note(Finding::new("hub", Verdict::Bad, says));
            None
        }
    }
}
