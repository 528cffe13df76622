//! The models there are: one.

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use super::error::ApiError;
use crate::app::AppState;

/// `GET /v1/models`
pub(super) async fn list(state: web::Data<AppState>) -> HttpResponse {
    HttpResponse::Ok().json(json!({"object": "list", "data": [describe(&state)]}))
}

/// `GET /v1/models/{model}`
pub(super) async fn one(
    state: web::Data<AppState>,
    name: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    check(&name, &state.engine.info().model.name)?;
    Ok(HttpResponse::Ok().json(describe(&state)))
}

/// Fails for any other name than that of the model which answers here.
///
/// # Errors
/// If there is no such model.
pub(super) fn check(name: &str, own: &str) -> Result<(), ApiError> {
    if name == own { Ok(()) } else { Err(ApiError::no_model(name, own)) }
}

fn describe(state: &AppState) -> Value {
    let info = state.engine.info();
    json!({
        "id": info.model.name,
        "object": "model",
        "created": state.api.created_s,
        "owned_by": "msao",
        "limits": state.limits,
        "parameters": info.model.parameters,
        "device": info.model.device,
        "hears": info.model.audio.is_some(),
    })
}
