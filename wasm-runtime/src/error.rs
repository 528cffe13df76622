//! Everything that can go wrong in this crate.

/// Why a client or an engine could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// The browser refused to start the Worker.
    #[error(
        "the edge engine's Worker could not be started: {reason}; the page must be served over HTTP and may load scripts from its own site"
    )]
    Worker {
        /// What the browser said.
        reason: String,
    },
    /// A message could not be handed to the Worker.
    #[error("the edge engine's Worker takes no messages: {reason}; start it again")]
    Post {
        /// What the browser said.
        reason: String,
    },
    /// The page has no address from which the server's could be derived.
    #[error(
        "the server's address cannot be derived from the page's: {reason}; pass the address of the session"
    )]
    Address {
        /// What is missing.
        reason: String,
    },
}
