//! HTTP to the hub: redirects, the token, statuses, budgets.
//!
//! Redirects are followed here and not by the client, since files come from other hosts than the hub itself: the token goes
//! to the hub's own origin only, nothing leads from HTTPS to HTTP, and what the hub says of a file stands in the headers of
//! the redirect. Addresses of those hosts are signed, so no message has one.

use std::error::Error as _;
use std::time::Duration;

use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
};
use reqwest::{Client, Method, Response, StatusCode, redirect};
use tokio::time::timeout;
use url::Url;

use super::error::HubError;
use super::options::HubSettings;
use super::reference::HubReference;
use crate::tls;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_REDIRECTS: usize = 6;
/// What the hub calls its reasons for a refusal.
const ERROR_CODE: &str = "x-error-code";
const ERROR_MESSAGE: &str = "x-error-message";

/// The way to one repository.
#[derive(Debug, Clone)]
pub(super) struct Hub<'a> {
    client: Client,
    pub(super) settings: &'a HubSettings,
    pub(super) reference: &'a HubReference,
}

/// An answer, and what the hub itself said on the way to it.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) response: Response,
    /// Headers of the hub's own answers, the first counts.
    pub(super) told: HeaderMap,
}

/// Why an attempt failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Another one may not.
    Transient {
        reason: String,
        /// How long the hub asks to wait.
        pause: Option<Duration>,
    },
    /// So will any other.
    Final(HubError),
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        Self::Final(error)
    }
}

impl Failure {
    pub(super) fn transient(reason: impl Into<String>) -> Self {
        Self::Transient { reason: reason.into(), pause: None }
    }
}

impl<'a> Hub<'a> {
    /// # Errors
    /// [`HubError::Token`] or [`HubError::Client`].
    pub(super) fn new(settings: &'a HubSettings, reference: &'a HubReference) -> Result<Self, HubError> {
        tls::choose_provider();
        if let Some(token) = &settings.token {
            bearer(token.reveal())?;
        }
        let builder = || {
            let builder = Client::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .redirect(redirect::Policy::none())
                .user_agent(concat!("msao-server/", env!("CARGO_PKG_VERSION")));
            // A hub on this machine is not behind a proxy, whatever the environment says of others.
            if is_loopback(&settings.endpoint) { builder.no_proxy() } else { builder }
        };
        let client = builder().build().or_else(|error| match settings.endpoint.scheme() {
            // A bare image has no certificates, and needs none for a mirror in its own network.
            "http" => builder().tls_certs_only([]).build(),
            _ => Err(error),
        });
        let client = client.map_err(|error| HubError::Client(told(error)))?;
        Ok(Self { client, settings, reference })
    }

    /// An address below the hub's own.
    pub(super) fn address<'p>(&self, parts: impl IntoIterator<Item = &'p str>) -> Url {
        let mut url = self.settings.endpoint.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(parts);
        }
        url
    }

    /// Where a file of a commit is asked for.
    pub(super) fn file_address(&self, commit: &str, file: &str) -> Url {
        let id = self.reference.id();
        self.address(id.split('/').chain(["resolve", commit]).chain(file.split('/')))
    }

    /// Asks once, along redirects; 416 is an answer too.
    ///
    /// # Errors
    /// As the status says; transient where there is no connection.
    pub(super) async fn get(&self, url: Url, what: &str, headers: &HeaderMap) -> Result<Reply, Failure> {
        self.ask(Method::GET, url, what, headers).await
    }

    /// What the hub says of a file without sending it: redirects to other hosts are not followed.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(super) async fn head(&self, url: Url, what: &str) -> Result<HeaderMap, Failure> {
        Ok(self.ask(Method::HEAD, url, what, &HeaderMap::new()).await?.told)
    }

    async fn ask(
        &self,
        method: Method,
        mut url: Url,
        what: &str,
        headers: &HeaderMap,
    ) -> Result<Reply, Failure> {
        let mut told_on_the_way = HeaderMap::new();
        for _hop in 0..=MAX_REDIRECTS {
            let is_own = url.origin() == self.settings.endpoint.origin();
            let response = self.send(method.clone(), url.clone(), headers, is_own).await?;
            if is_own {
                for (name, value) in response.headers() {
                    // The length of a redirect is that of its own few words.
                    let is_its_own = name == CONTENT_LENGTH && response.status().is_redirection();
                    if !is_its_own && !told_on_the_way.contains_key(name) {
                        told_on_the_way.insert(name.clone(), value.clone());
                    }
                }
            }
            if !response.status().is_redirection() {
                self.check(&response, what, is_own)?;
                return Ok(Reply { response, told: told_on_the_way });
            }
            let next = next(&url, header(response.headers(), LOCATION.as_str()));
            let next = next.map_err(|reason| answer(what, reason))?;
            if method == Method::HEAD && next.origin() != self.settings.endpoint.origin() {
                return Ok(Reply { response, told: told_on_the_way });
            }
            url = next;
        }
        Err(answer(what, "it redirects again and again".to_owned()).into())
    }

    async fn send(
        &self,
        method: Method,
        url: Url,
        headers: &HeaderMap,
        is_own: bool,
    ) -> Result<Response, Failure> {
        // Compressed files have other lengths than those they are held to.
        let mut request = self.client.request(method, url).headers(headers.clone());
        request = request.header(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(token) = self.settings.token.as_ref().filter(|_| is_own) {
            request = request.header(AUTHORIZATION, bearer(token.reveal())?);
        }
        match timeout(self.settings.patience.silence, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(Failure::transient(told(error))),
            Err(_elapsed) => Err(Failure::transient("it says nothing")),
        }
    }

    /// What a status means.
    fn check(&self, response: &Response, what: &str, is_own: bool) -> Result<(), Failure> {
        let status = response.status();
        if status.is_success() || status == StatusCode::RANGE_NOT_SATISFIABLE {
            return Ok(());
        }
        let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let pause =
            text(RETRY_AFTER.as_str()).and_then(|value| value.trim().parse().ok()).map(Duration::from_secs);
        if let Some(pause) = pause.filter(|&pause| pause > self.settings.patience.longest_pause) {
            return Err(HubError::TooManyRequests { seconds: pause.as_secs() }.into());
        }
        let is_outage = status.is_server_error()
            || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
        // Another host's signed address may have grown old; the hub gives a new one.
        if is_outage || !is_own {
            return Err(Failure::Transient { reason: format!("status {}", status.as_u16()), pause });
        }
        let id = self.reference.id();
        let revision = self.reference.revision().to_owned();
        let is_bad_token =
            text(ERROR_MESSAGE).is_some_and(|message| message.starts_with("Invalid credentials"));
        Err(Failure::Final(match (text(ERROR_CODE), status.as_u16()) {
            (_, 401) if is_bad_token => HubError::TokenRefused { id },
            (Some("GatedRepo"), _) => self.gated(),
            (Some("RepoNotFound"), _) => HubError::NoRepository { id },
            (Some("RevisionNotFound"), _) => HubError::NoRevision { id, revision },
            (Some("EntryNotFound"), _) => HubError::NoFile { id, file: what.to_owned() },
            (_, 401) if self.settings.token.is_some() => HubError::TokenRefused { id },
            (_, 401 | 404) => HubError::NoRepository { id },
            (_, status) => HubError::Refused { what: what.to_owned(), status },
        }))
    }

    /// Its licence must be accepted first.
    pub(super) fn gated(&self) -> HubError {
        let id = self.reference.id();
        HubError::Gated { page: self.address(id.split('/')).to_string(), id }
    }

    /// The next piece of a body; `None` at its end.
    ///
    /// # Errors
    /// Transient when the connection is cut or nothing comes.
    pub(super) async fn piece(
        &self,
        response: &mut Response,
    ) -> Result<Option<impl AsRef<[u8]> + use<>>, Failure> {
        match timeout(self.settings.patience.silence, response.chunk()).await {
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(error)) => Err(Failure::transient(told(error))),
            Err(_elapsed) => Err(Failure::transient("nothing more comes")),
        }
    }

    /// The whole body, of at most so many bytes.
    ///
    /// # Errors
    /// [`HubError::Answer`] for more; transient as [`Self::piece`].
    pub(super) async fn body(
        &self,
        mut response: Response,
        what: &str,
        limit: u64,
    ) -> Result<Vec<u8>, Failure> {
        let too_large = || Failure::from(answer(what, format!("it has more than {limit} bytes")));
        if response.content_length().is_some_and(|bytes| bytes > limit) {
            return Err(too_large());
        }
        let mut body = Vec::new();
        while let Some(piece) = self.piece(&mut response).await? {
            if (body.len() + piece.as_ref().len()) as u64 > limit {
                return Err(too_large());
            }
            body.extend_from_slice(piece.as_ref());
        }
        Ok(body)
    }
}

/// A header of the hub's own as text.
pub(super) fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    headers.get(name).and_then(|value| value.to_str().ok())
}

pub(super) fn answer(what: &str, reason: impl Into<String>) -> HubError {
    HubError::Answer { what: what.to_owned(), reason: reason.into() }
}

fn bearer(token: &str) -> Result<HeaderValue, HubError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_error| HubError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Where a redirect leads.
fn next(from: &Url, location: Option<&str>) -> Result<Url, &'static str> {
    let to = location.and_then(|location| from.join(location).ok()).ok_or("a redirect leads nowhere")?;
    match (from.scheme(), to.scheme()) {
        ("https", "https") | ("http", "http" | "https") => Ok(to),
        _ => Err("a redirect leads to an address that is not safe"),
    }
}

/// What went wrong, in one line and without the address.
fn told(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_never_leave_https() {
        let leads = |from: &str, to: &str| next(&Url::parse(from).unwrap(), Some(to)).map(String::from);
        let hub = "https://hub.test/a/b/resolve/c/d";
        assert_eq!(leads(hub, "/cached/d?e"), Ok("https://hub.test/cached/d?e".to_owned()));
        assert_eq!(leads(hub, "https://cdn.test/d"), Ok("https://cdn.test/d".to_owned()));
        assert_eq!(leads("http://mirror.test/", "//cdn.test/d"), Ok("http://cdn.test/d".to_owned()));
        for unsafe_address in
            ["http://hub.test/d", "http://cdn.test/d", "file:///etc/passwd", "ftp://cdn.test/d"]
        {
            assert!(leads(hub, unsafe_address).is_err(), "{unsafe_address}");
        }
        assert!(next(&Url::parse(hub).unwrap(), None).is_err());
    }
}
