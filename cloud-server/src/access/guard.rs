//! The middleware in front of all routes.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_cors::Cors;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header;
use actix_web::middleware::Next;
use actix_web::web::{Bytes, Data};
use actix_web::{Error, HttpMessage as _};

use super::Keys;
use super::audience::Audience;
use super::caller::Caller;
use super::client_address::client_address;
use super::credentials::{Credentials, origin};
use super::denial::{Denial, DenialReason};
use super::key::Scope;
use super::keyring::unix_now_s;
use super::usage::{RequestPermit, SessionPermit};
use crate::app::AppState;
use crate::origin::Origins;

/// Seconds that a browser may remember what pages of other origins may do.
const REMEMBER_S: usize = 600;

/// Lets a request through, with its [`Caller`], or answers it here.
pub(crate) async fn guard<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<HoldingBody>, Error> {
    let state = request.app_data::<Data<AppState>>().cloned();
    let admitted = match &state {
        Some(state) => admit(&request, state),
        None => Err(Denial::new(DenialReason::InvalidKey, "this server is not set up: nothing is let in")),
    };
    match admitted {
        Ok((caller, held)) => {
            request.extensions_mut().insert(caller);
            let response = next.call(request).await?;
            Ok(response.map_body(|_head, body| HoldingBody { body: body.boxed(), _held: held }))
        }
        Err(denial) => {
            // Neither the address's query nor a header, which may hold what is secret.
            let forwarded = forwarded_for(&request);
            let trusted = state.as_ref().map_or(&[][..], |state| &state.access.trusted_proxies);
            let client = client_address(request.peer_addr(), forwarded.iter().copied(), trusted);
            tracing::info!(?client, path = request.path(), reason = ?denial.reason, "refused a request");
            let response = denial.response(request.path());
            let response = request.into_response(response);
            Ok(response.map_body(|_head, body| HoldingBody { body, _held: Held::Nothing }))
        }
    }
}

fn forwarded_for(request: &ServiceRequest) -> Vec<&str> {
    let headers = request.headers().get_all("x-forwarded-for");
    headers.filter_map(|value| value.to_str().ok()).collect()
}

/// What a request holds until its answer is written.
enum Held {
    Nothing,
    Request { _permit: RequestPermit },
    Session { _permit: SessionPermit },
}

fn admit(request: &ServiceRequest, state: &AppState) -> Result<(Caller, Held), Denial> {
    let access = &state.access;
    // As the router reads it: `/%761/session` is `/v1/session`.
    let path = request.match_info().unprocessed();
    let route = request.resource_map().match_pattern(path);
    let Audience::Holders(scope) =
        Audience::of(route.as_deref(), request.method(), path, &access.public_checkpoints)
    else {
        return Ok((Caller::anyone(), Held::Nothing));
    };
    state.origins.check(request.request()).map_err(|_origin| {
        let message = "this page may not use this server; start it with --allow-origin to let it";
        Denial::new(DenialReason::ForeignOrigin, message)
    })?;
    let Some(keys) = &access.keys else {
        if !access.open_to_all && !state.origins.is_host_of_this_machine(request.request()) {
            let message = "this server is for its own machine, and was called by another name: start it with --keys-file, or name the page's origin with --allow-origin";
            return Err(Denial::new(DenialReason::ForeignOrigin, message));
        }
        return Ok((Caller::anyone(), Held::Nothing));
    };
    let caller = identify(request, keys, scope)?;
    let held = match scope {
        Scope::Session => Held::Session { _permit: caller.open_session()? },
        Scope::Api => Held::Request { _permit: caller.begin_request()? },
        Scope::Tokens | Scope::Operate => {
            caller.count_request()?;
            Held::Nothing
        }
    };
    Ok((caller, held))
}

/// Who holds the key or token that came, if it is for this.
fn identify(request: &ServiceRequest, keys: &Keys, scope: Scope) -> Result<Caller, Denial> {
    let now_unix_s = unix_now_s();
    match (Credentials::of(request.headers()), scope) {
        (Credentials::Key(text), _) => {
            let key = keys.ring.authenticate(text, now_unix_s)?;
            if !key.record.scopes.contains(&scope) {
                let message = format!("this key is not for that; it needs the scope `{}`", scope.name());
                return Err(Denial::new(DenialReason::MissingScope, message));
            }
            Ok(Caller::with_key(&keys.ring, &key.record.id))
        }
        (Credentials::SessionToken(token), Scope::Session) => {
            let claims = keys.signer.verify(token, origin(request.headers()), now_unix_s)?;
            let caller = Caller::with_key(&keys.ring, &claims.key);
            caller.check()?;
            Ok(caller)
        }
        (_, Scope::Session) => {
            let message = "no API key or session token came: programs send `Authorization: Bearer KEY`, pages offer the subprotocols that POST /v1/session-tokens gave";
            Err(Denial::new(DenialReason::InvalidKey, message))
        }
        _ => Err(Denial::new(DenialReason::InvalidKey, "no API key came: send `Authorization: Bearer KEY`")),
    }
}

/// What browsers are told about pages of other origins: closed but for those allowed.
pub(crate) fn cross_origin(origins: &Origins) -> Cors {
    let origins = origins.clone();
    Cors::default()
        .allowed_origin_fn(move |origin, _request| origin.to_str().is_ok_and(|origin| origins.allows(origin)))
        .allowed_methods(["GET", "POST"])
        .allowed_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::HeaderName::from_static("x-request-id"),
        ])
        .expose_headers([header::RETRY_AFTER, header::HeaderName::from_static("x-request-id")])
        .max_age(REMEMBER_S)
}

/// A body that holds a place until it is written or its reader has gone.
pub(crate) struct HoldingBody {
    body: BoxBody,
    _held: Held,
}

impl MessageBody for HoldingBody {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_next(context)
    }
}
