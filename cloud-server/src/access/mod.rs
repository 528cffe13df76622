//! Who may do what: keys, session tokens, limits of each key, and the middleware that asks for them.
//!
//! Everything is refused unless a rule lets it through: [`guard`] stands in front of all routes, and only what `audience`
//! names is open to everyone. A route that somebody adds is covered without its doing.
//!
//! | file | holds |
//! |---|---|
//! | `key` | an API key as its owner has it, and the hash that is kept of it |
//! | `keyring` | the file of keys, read again when it changes |
//! | `keys_command` | `msao-server keys` |
//! | `session_token` | what a page gets instead of a key |
//! | `usage` | what a key has under way, held against its limits |
//! | `caller` | who asks, as the rest of the server knows it |
//! | `credentials`, `audience`, `guard`, `denial`, `issue` | HTTP |
//! | `client_address`, `tls`, `file_watch`, `options` | how the server is reached and configured |

mod audience;
mod bucket;
mod caller;
mod client_address;
mod credentials;
mod denial;
mod file_watch;
mod guard;
mod issue;
mod key;
mod keyring;
mod keys_command;
mod options;
mod session_token;
mod tls;
mod usage;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use actix_web::web::ServiceConfig;
use ipnet::IpNet;

pub use caller::Caller;
pub use keyring::KeyringError;
pub use keys_command::KeysCommand;
pub use options::AccessOptions;

pub(crate) use bucket::TokenBucket;
pub(crate) use credentials::SUBPROTOCOL;
pub(crate) use guard::{cross_origin, guard};
pub(crate) use usage::RequestPermit;

use keyring::Keyring;
use session_token::Signer;

/// Who may do what on this server.
pub struct Access {
    /// What is asked for; `None` where anyone is the same.
    keys: Option<Keys>,
    trusted_proxies: Vec<IpNet>,
    tls: Option<rustls::ServerConfig>,
    /// Whether anyone who reaches this server may use it.
    open_to_all: bool,
    /// Checkpoints that the page downloads; other ones need a key.
    public_checkpoints: Vec<String>,
    /// Messages a second that one session is read at.
    messages_per_s: u32,
}

/// What lets people in.
struct Keys {
    ring: Arc<Keyring>,
    /// Signs and checks session tokens.
    signer: Signer,
}

impl Access {
    /// No keys: for programs and pages of this machine only.
    pub fn of_this_machine() -> Self {
        Self {
            keys: None,
            trusted_proxies: Vec::new(),
            tls: None,
            open_to_all: false,
            public_checkpoints: Vec::new(),
            messages_per_s: options::MESSAGES_PER_S,
        }
    }

    /// What the options say; `public_checkpoints` are those that the page may download.
    ///
    /// # Errors
    /// When a file is missing or not what it should be.
    pub fn configured(options: &AccessOptions, public_checkpoints: Vec<String>) -> Result<Self, AccessError> {
        if options.keys_file.is_some() && options.insecure_no_auth {
            return Err(AccessError::Contradiction);
        }
        let keys = match &options.keys_file {
            None => None,
            Some(path) => {
                let secret = &options.token_secret_file;
                let signer = secret.as_ref().map_or_else(Signer::random, |path| Signer::read(path))?;
                Some(Keys { ring: Arc::new(Keyring::open(path)?), signer })
            }
        };
        Ok(Self {
            keys,
            trusted_proxies: options.trusted_proxies.clone(),
            tls: options.tls()?,
            open_to_all: options.insecure_no_auth,
            public_checkpoints,
            messages_per_s: options.messages_per_s,
        })
    }

    /// Whether a key is asked for.
    pub fn asks_for_keys(&self) -> bool {
        self.keys.is_some()
    }

    /// Whether connections are encrypted here.
    pub fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Without keys only this machine may be listened to, unless somebody said that everyone may come.
    ///
    /// # Errors
    /// [`AccessError::OpenToTheNetwork`].
    pub fn permit_listening(&self, address: SocketAddr) -> Result<(), AccessError> {
        if self.asks_for_keys() || self.open_to_all || address.ip().is_loopback() {
            return Ok(());
        }
        Err(AccessError::OpenToTheNetwork(address))
    }

    /// One line for the operator: who can use this server.
    pub fn summary(&self, address: SocketAddr) -> String {
        match (&self.keys, self.open_to_all && !address.ip().is_loopback()) {
            (Some(keys), _) => {
                format!("API keys known: {}; all but the page and health asks for one", keys.ring.len())
            }
            (None, true) => format!("anyone who can reach {address} can use this server: --insecure-no-auth"),
            (None, false) => {
                "no API keys are configured: only this machine is listened to; for others see `msao-server keys create --help`".to_owned()
            }
        }
    }

    pub(crate) fn tls(&self) -> Option<rustls::ServerConfig> {
        self.tls.clone()
    }

    pub(crate) fn messages_per_s(&self) -> u32 {
        self.messages_per_s
    }

    /// Reads sessions at another pace.
    pub fn with_messages_per_s(self, messages_per_s: u32) -> Self {
        Self { messages_per_s, ..self }
    }
}

/// Registers the routes of this module.
pub(crate) fn routes(config: &mut ServiceConfig) {
    config.route("/v1/session-tokens", actix_web::web::post().to(issue::issue));
}

/// Why access cannot be controlled as configured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// The file of keys cannot be used.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// Everyone on the network could use the server.
    #[error(
        "{0} can be reached from other machines, and no API keys are configured: make one with `msao-server keys create --keys-file keys.json --name NAME` and start with --keys-file keys.json, or listen on 127.0.0.1, or say --insecure-no-auth if anyone may use this server"
    )]
    OpenToTheNetwork(SocketAddr),
    /// Keys are configured, and that none are asked for.
    #[error("--keys-file and --insecure-no-auth contradict each other: leave one of them out")]
    Contradiction,
    /// A certificate without its key, or a key without its certificate.
    #[error("--tls-cert and --tls-key go together: name both, or none where a proxy ends TLS")]
    HalfOfTls,
    /// A file of TLS cannot be used.
    #[error(
        "{path} cannot be used for TLS: {reason}; --tls-cert and --tls-key name PEM files that belong together"
    )]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The secret of session tokens cannot be read.
    #[error("{path} cannot be read: {source}; --token-secret-file names a file of at least 32 random bytes")]
    Secret {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The secret of session tokens could be guessed.
    #[error("{path} holds {bytes} bytes; at least 32 random ones are needed: `openssl rand -hex 32 > {path}`", path = path.display())]
    ShortSecret {
        /// The file.
        path: PathBuf,
        /// Bytes in it.
        bytes: usize,
    },
    /// The operating system has no random numbers.
    #[error("the operating system gives no random numbers: {0}")]
    Random(String),
}
