//! The models there are: the one that answers, and the one that writes recordings down where there is such a thing.

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use super::error::ApiError;
use crate::app::AppState;

/// `GET /v1/models`
pub(super) async fn list(state: web::Data<AppState>) -> HttpResponse {
    HttpResponse::Ok().json(json!({"object": "list", "data": all(&state)}))
}

/// `GET /v1/models/{model}`
pub(super) async fn one(
    state: web::Data<AppState>,
    name: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let known = all(&state).into_iter().find(|model| model["id"] == name.as_str());
    let known = known.ok_or_else(|| ApiError::no_model(&name, &state.engine.info().model.name))?;
    Ok(HttpResponse::Ok().json(known))
}

/// Fails for any other name than that of the model which answers here.
///
/// # Errors
/// If there is no such model.
pub(super) fn check(name: &str, own: &str) -> Result<(), ApiError> {
    if name == own { Ok(()) } else { Err(ApiError::no_model(name, own)) }
}

fn all(state: &AppState) -> Vec<Value> {
    let describe = |id: &str, parameters: u64, device: &str, hears: bool| {
        json!({
            "id": id,
            "object": "model",
            "created": state.api.created_s,
            "owned_by": "msao",
            "limits": state.limits,
            "parameters": parameters,
            "device": device,
            "hears": hears,
        })
    };
    let model = &state.engine.info().model;
    let mut answers = describe(&model.name, model.parameters, &model.device, model.audio.is_some());
    answers["source"] = json!(state.provenance.source);
    answers["license"] = json!(state.provenance.license);
    let speech = state.speech.iter().map(|speech| {
        // Whatever the other runs on.
        describe(speech.name(), speech.num_parameters() as u64, "cpu", true)
    });
    std::iter::once(answers).chain(speech).collect()
}
