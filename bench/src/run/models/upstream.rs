//! An OpenAI-compatible server as the target. Its key stays in the environment: it is in no flag, journal or message.

use std::{env, fmt};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

/// A server with `/chat/completions` below its address.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Upstream {
    /// Such as `https://host/v1`, without a slash at its end.
    pub(crate) url: String,
    /// Which of its models; `None` for the first that it lists.
    pub(crate) model: Option<String>,
    /// Name of the environment variable that holds the key.
    #[serde(skip)]
    key_env: Option<String>,
    #[serde(skip)]
    key: Option<String>,
}

impl Upstream {
    /// Whether a target is the address of a server rather than a folder.
    pub(super) fn is_url(target: &str) -> bool {
        target.starts_with("http://") || target.starts_with("https://")
    }

    /// The server at an address; its key is read now.
    ///
    /// # Errors
    /// If the address has a password, a query or a fragment in it, or there is no key where one is said to be.
    pub(crate) fn new(url: &str, model: Option<String>, key_env: Option<String>) -> Result<Self> {
        let (_, rest) = url.split_once("://").context("an address begins with https:// or http://")?;
        ensure!(
            !rest.contains(['@', '?', '#', ' ']) && !rest.starts_with('/') && !rest.is_empty(),
            "--model takes an address such as https://host/v1, with nothing before the host and nothing behind the path; \
             name the environment variable of a key with --upstream-key-env"
        );
        let key = match &key_env {
            None => None,
            Some(name) => {
                let key = env::var(name).ok().map(|key| key.trim().to_owned()).filter(|key| !key.is_empty());
                let key = key.with_context(|| {
                    format!("the environment variable {name} is empty; put the server's key into it")
                })?;
                ensure!(
                    key.chars().all(|letter| letter.is_ascii_graphic()),
                    "the key in {name} has letters that no header takes; check it"
                );
                Some(key)
            }
        };
        Ok(Self { url: url.trim_end_matches('/').to_owned(), model, key_env, key })
    }

    /// The key that is sent along, for the header alone.
    pub(crate) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The flags that let `msao-server` ask it.
    pub(super) fn server_flags(&self) -> Vec<String> {
        let mut flags = vec!["--upstream".to_owned(), self.url.clone()];
        if let Some(model) = &self.model {
            flags.extend(["--upstream-model".to_owned(), model.clone()]);
        }
        if let Some(name) = &self.key_env {
            flags.extend(["--upstream-key-env".to_owned(), name.clone()]);
        }
        flags
    }
}

/// Without the key.
impl fmt::Debug for Upstream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Upstream({self})")
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} at {}", self.model.as_deref().unwrap_or("the first model"), self.url)
    }
}
