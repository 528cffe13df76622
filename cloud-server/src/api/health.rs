//! Whether the server lives, and whether it is to be sent requests.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};
use serde_json::json;

use crate::app::AppState;
use crate::engine::Readiness;

/// `GET /healthz`: the process lives and serves; restart it if it does not.
pub(super) async fn live(state: web::Data<AppState>) -> HttpResponse {
    let info = state.engine.info();
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(json!({
        "status": if state.drain.has_begun() { "stopping" } else { "ok" },
        "model": info.model,
        "source": state.provenance.source,
        "license": state.provenance.license,
        "uptime_s": state.started.elapsed().as_secs(),
        "sessions": state.open_sessions(),
        "requests": state.engine.occupancy(),
    }))
}

/// `GET /readyz`: whether new requests are welcome; a balancer sends them elsewhere while they are not.
pub(super) async fn ready(state: web::Data<AppState>) -> HttpResponse {
    let (mut response, body) = match state.engine.readiness() {
        _ if state.drain.has_begun() => (HttpResponse::ServiceUnavailable(), json!({"status": "stopping"})),
        Readiness::Ready => (HttpResponse::Ok(), json!({"status": "ready"})),
        Readiness::NotReady { reason } => {
            (HttpResponse::ServiceUnavailable(), json!({"status": "not ready", "reason": reason}))
        }
    };
    response.insert_header((CACHE_CONTROL, "no-store")).json(body)
}
