//! Published checkpoints from the hub: looked at before they move, fetched so that they can be cut at any time, kept where all
//! of the hub's tools keep them, and there without a network afterwards. It knows no web server.
//!
//! | file | holds |
//! |---|---|
//! | `reference` | `hub:OWNER/NAME@REVISION` |
//! | `options` | the hub's address, the cache, the token |
//! | `http`, `retry` | requests: redirects, statuses, budgets; trying again |
//! | `info` | what the hub says of a repository and its files |
//! | `needed`, `headers` | which files it takes, and whether they suit, before weights move |
//! | `download`, `digest` | one content, gone on with and held to its hash |
//! | `cache`, `licence` | what is on the disk |
//! | `fetch` | all of it in order |
//! | `settle` | names on the hub in the server's configuration |
//! | `fetch_command`, `progress` | `msao-server fetch`, and how far it is |

mod cache;
mod digest;
mod download;
mod error;
mod fetch;
mod fetch_command;
mod headers;
mod http;
mod info;
mod licence;
mod needed;
mod options;
mod progress;
mod reference;
mod retry;
mod settle;

pub use error::HubError;
pub use fetch::{Fetched, Wanted, cached, fetch};
pub use fetch_command::FetchCommand;
pub use licence::licence_of;
pub use needed::{MemoryLimit, Purpose};
pub use options::{HubOptions, HubSettings, Patience, Token};
pub use progress::{Event, Progress, Summary};
pub use reference::{HubReference, InvalidReference};
pub use settle::Provenance;
pub(crate) use settle::{Settled, settle, settle_cached};
