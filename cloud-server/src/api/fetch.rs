//! Fetches pictures from listed hosts: no redirects, no proxies, no private addresses, and a budget for everything.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web;
use msao_protocol::{Limits, Media, MediaKind};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error};
use url::Url;

use super::error::ApiError;
use super::image_hosts::{ImageHost, is_public};

/// The field that fetching can fail for.
const PARAM: &str = "messages";
/// Pictures that are fetched at a time; more wait.
const AT_A_TIME: usize = 8;
/// For one picture, from looking up its host to its last byte.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a response's head.
const HEAD_BYTES: usize = 16 << 10;

/// Fetches pictures.
#[derive(Debug)]
pub(crate) struct Images {
    hosts: Vec<ImageHost>,
    /// For listed addresses, and for listed names, which must not lead to private addresses.
    to_addresses: Agent,
    to_names: Agent,
    turns: Arc<Semaphore>,
}

impl Images {
    /// Fetches from these hosts only.
    pub(crate) fn new(hosts: Vec<ImageHost>) -> Self {
        let config = || {
            Agent::config_builder()
                .timeout_global(Some(PATIENCE))
                // A redirect leads where nobody has looked.
                .max_redirects(0)
                .max_redirects_will_error(false)
                .http_status_as_error(false)
                .max_response_header_size(HEAD_BYTES)
                // A proxy would look names up by itself, and so be the way round the check of addresses.
                .proxy(None)
                .accept("image/png, image/jpeg, image/webp")
                .user_agent(concat!("msao-server/", env!("CARGO_PKG_VERSION")))
                .build()
        };
        let to_names = Agent::with_parts(config(), DefaultConnector::default(), PublicOnly::default());
        let turns = Arc::new(Semaphore::new(AT_A_TIME));
        Self { hosts, to_addresses: Agent::new_with_config(config()), to_names, turns }
    }

    /// Fetches one picture. The format is that of its bytes, whatever the host says it is.
    ///
    /// # Errors
    /// When its host is not listed or private, or it cannot be had within the budgets.
    pub(super) async fn fetch(&self, address: &str, limits: &Limits) -> Result<Media, ApiError> {
        let invalid = |message: String| ApiError::invalid(PARAM, "invalid_image_url", message);
        let url =
            Url::parse(address).map_err(|error| invalid(format!("a picture's address is none: {error}")))?;
        let Some(host) = self.hosts.iter().find(|host| host.serves(&url)) else {
            let message = "pictures are not fetched from this host: send the picture itself as data:image/png;base64,…, or let the operator list the host with --image-host";
            return Err(invalid(message.to_owned()));
        };
        let agent = if host.is_address() { self.to_addresses.clone() } else { self.to_names.clone() };
        let limit = u64::from(limits.image_bytes);
        let fetching = async {
            // Closed never, so it fails never; a failure would only mean that nothing is waited for.
            let _turn = self.turns.acquire().await.ok();
            web::block(move || get(&agent, url.as_str(), limit)).await
        };
        let bytes = match timeout(2 * PATIENCE, fetching).await {
            Ok(Ok(fetched)) => fetched?,
            Ok(Err(_cancelled)) => return Err(ApiError::stopping()),
            Err(_elapsed) => return Err(slow()),
        };
        let kind = kind_of(&bytes);
        Ok(Media { kind, bytes })
    }
}

fn slow() -> ApiError {
    let message = format!(
        "the picture did not come within {} s: send it as data:image/png;base64,…",
        PATIENCE.as_secs()
    );
    ApiError::invalid(PARAM, "image_timed_out", message)
}

fn get(agent: &Agent, url: &str, limit: u64) -> Result<Vec<u8>, ApiError> {
    let failed = |error: Error| match error {
        Error::BodyExceedsLimit(_) => {
            let message = format!("the picture has more than {limit} bytes: name a smaller one");
            ApiError::too_large(PARAM, message)
        }
        Error::Timeout(_) => slow(),
        Error::HostNotFound => {
            let message = "the picture's host was not found, or only at private addresses: an operator can list such an address itself with --image-host";
            ApiError::invalid(PARAM, "image_unreachable", message)
        }
        // What exactly is wrong with a host is for the operator, not for strangers to find out by.
        error => {
            tracing::debug!(%error, "a picture cannot be fetched");
            ApiError::invalid(PARAM, "image_unreachable", "the picture could not be fetched from its host")
        }
    };
    let response = agent.get(url).call().map_err(failed)?;
    let status = response.status();
    if !status.is_success() {
        let status = status.as_u16();
        let message = format!(
            "the picture's host answered with status {status}: name an address that answers by itself, without redirects"
        );
        return Err(ApiError::invalid(PARAM, "image_unreachable", message));
    }
    response.into_body().into_with_config().limit(limit).read_to_vec().map_err(failed)
}

/// What the first bytes say; the decoder looks for itself.
pub(super) fn kind_of(bytes: &[u8]) -> MediaKind {
    match bytes {
        [0xFF, 0xD8, ..] => MediaKind::Jpeg,
        [b'R', b'I', b'F', b'F', ..] => MediaKind::Webp,
        _ => MediaKind::Png,
    }
}

/// Finds hosts at public addresses only. The connection goes to what is found here, so a name that changes in between
/// changes nothing.
#[derive(Debug, Default)]
struct PublicOnly(DefaultResolver);

impl Resolver for PublicOnly {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let found = self.0.resolve(uri, config, timeout)?;
        let mut public = self.empty();
        for address in found.iter().filter(|address| is_public(address.ip())) {
            public.push(*address);
        }
        if public.is_empty() { Err(Error::HostNotFound) } else { Ok(public) }
    }
}
