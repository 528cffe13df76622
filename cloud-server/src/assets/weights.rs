//! The checkpoints that the page downloads, file by file and resumable.

use actix_web::web;
use actix_web::{HttpRequest, HttpResponse};

use super::file::{ServedFile, respond};
use super::mime;
use super::package;
use crate::app::AppState;

/// The files of a checkpoint. Nothing else in its folder can be asked for.
const FILES: [&str; 10] = [
    "MANIFEST.json",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "mas_probe.json",
    "mas_probe.safetensors",
    "confidence.json",
];

/// Serves a file of a checkpoint, never compressed: weights do not shrink, and progress needs their length.
pub(super) async fn serve(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    state: web::Data<AppState>,
) -> HttpResponse {
    let (checkpoint, file) = path.into_inner();
    let assets = &state.assets;
    if !assets.checkpoints.contains(&checkpoint) || !FILES.contains(&file.as_str()) {
        return not_found();
    }
    let served = ServedFile {
        path: assets.weights.join(&checkpoint).join(&file),
        content_type: mime::of(&file).0,
        encoding: None,
        compressible: false,
        cache_control: "no-cache",
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

fn not_found() -> HttpResponse {
    let message = "there is no such checkpoint file";
    HttpResponse::NotFound().content_type("text/plain; charset=utf-8").body(message)
}
