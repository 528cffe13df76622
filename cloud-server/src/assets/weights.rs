//! The checkpoints that the page downloads, file by file and resumable.

use actix_web::http::header::{CACHE_CONTROL, RETRY_AFTER};
use actix_web::web;
use actix_web::{HttpRequest, HttpResponse};

use super::file::{ServedFile, respond};
use super::mime;
use super::package;
use crate::app::AppState;
use crate::edge_models::{EdgeModel, Listing, MANIFEST, ManifestError, is_servable};

const ASK_EACH_TIME: &str = "no-cache";

/// Serves the list of checkpoints that the page may choose from.
pub(super) async fn list(state: web::Data<AppState>) -> HttpResponse {
    let look = move || Listing::of(&state.assets.edge_models, state.engine.info());
    match web::block(look).await {
        Ok(listing) => {
            let mut response = HttpResponse::Ok().insert_header((CACHE_CONTROL, ASK_EACH_TIME)).json(listing);
            package::open_to_all(&mut response);
            response
        }
        Err(_cancelled) => HttpResponse::ServiceUnavailable().finish(),
    }
}

/// Serves a file of a checkpoint, never compressed: weights do not shrink, and progress needs their length.
pub(super) async fn serve(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    state: web::Data<AppState>,
) -> HttpResponse {
    let (checkpoint, file) = path.into_inner();
    let Some(model) = state.assets.edge_models.find(&checkpoint).filter(|_| is_servable(&file)) else {
        return not_found();
    };
    if file == MANIFEST && !model.has_own_manifest() {
        let mut response = made_manifest(model).await;
        package::open_to_all(&mut response);
        return response;
    }
    let served = ServedFile {
        path: model.folder().join(&file),
        content_type: mime::of(&file).0,
        encoding: None,
        compressible: false,
        cache_control: ASK_EACH_TIME,
    };
    match respond(&request, served).await {
        Ok(Some(mut response)) => {
            package::open_to_all(&mut response);
            response
        }
        Ok(None) => not_found(),
        Err(error) => {
            tracing::error!(checkpoint, file, %error, "a file of a checkpoint cannot be read");
            HttpResponse::InternalServerError().finish()
        }
    }
}

/// The manifest of a folder that came without one.
async fn made_manifest(model: &EdgeModel) -> HttpResponse {
    let plain = "text/plain; charset=utf-8";
    match model.manifest().await {
        Ok(json) => HttpResponse::Ok()
            .content_type("application/json")
            .insert_header((CACHE_CONTROL, ASK_EACH_TIME))
            .body(json.to_string()),
        Err(error @ ManifestError::Pending) => HttpResponse::ServiceUnavailable()
            .insert_header((RETRY_AFTER, "1"))
            .content_type(plain)
            .body(error.to_string()),
        Err(error @ ManifestError::Unusable(_)) => {
            tracing::error!(checkpoint = model.name(), %error, "a checkpoint cannot be downloaded");
            HttpResponse::InternalServerError()
                .content_type(plain)
                .body("this checkpoint cannot be downloaded; the server's log says why")
        }
    }
}

fn not_found() -> HttpResponse {
    let message = "there is no such checkpoint file";
    HttpResponse::NotFound().content_type("text/plain; charset=utf-8").body(message)
}
