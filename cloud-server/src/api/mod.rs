//! HTTP for programs: OpenAI's chat completions, the models, health, metrics, and a description of it all.
//!
//! | file | what happens there |
//! |---|---|
//! | [`chat`] | a chat completion from body to answer |
//! | [`body`], [`request`], [`lenient`] | the body within its budgets, and what it may say |
//! | [`messages`], [`media`] | messages become a question, the turns before it, and media |
//! | [`fetch`], [`image_hosts`] | pictures on other servers |
//! | [`owners`] | who asks, as the engine knows it |
//! | [`prediction`] | a predicted answer as drafts |
//! | [`answering`], [`visible`] | the engine's events become the text that is shown |
//! | [`reply`], [`sse`], [`error`] | answers, streams and failures in OpenAI's form |
//! | [`models`], [`health`] | what answers here, and whether it does |
//! | [`transcriptions`], [`transcription_form`], [`transcript_formats`] | recordings become text |
//! | [`metrics`], [`watch`], [`engine_metrics`] | what is counted, and where |
//! | [`openapi`] | the description, and a page to read it |
//!
//! Everything goes through the seam of [`Engine`](crate::engine::Engine) and the budgets of `intake`, as sessions do. There is
//! no model in here, and what it says to clients is told in docs/api.md.

mod answering;
mod body;
mod chat;
mod engine_metrics;
mod error;
mod fetch;
mod health;
mod image_hosts;
mod lenient;
mod media;
mod messages;
mod metrics;
mod models;
mod openapi;
mod owners;
mod prediction;
mod reply;
mod request;
mod sse;
mod transcript_formats;
mod transcription_form;
mod transcriptions;
mod video;
mod visible;
mod watch;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_web::HttpResponse;
use actix_web::web::{self, ServiceConfig};
use msao_protocol::Limits;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::body::Bodies;
use self::fetch::Images;
use self::owners::Owners;

pub use chat::check_chat_request;
pub use error::ApiError;
pub(crate) use error::name_of;
pub use image_hosts::{ImageHost, NoHost};
pub(crate) use metrics::{Metrics, count};
pub(crate) use watch::Watch;

/// Most requests at a time, which is more than connections can bring.
const MOST_REQUESTS: u32 = 1 << 16;

/// What the API keeps between requests.
#[derive(Debug)]
pub(crate) struct Api {
    bodies: Bodies,
    images: Images,
    owners: Owners,
    /// When the server started, in seconds since 1970.
    created_s: u64,
    underway: Arc<Semaphore>,
}

/// A request under way; the server stops once there is none.
pub(crate) type Underway = OwnedSemaphorePermit;

impl Api {
    /// Bodies are held to `limits`, and waited for with `patience`; no pictures are fetched.
    pub(crate) fn new(limits: &Limits, patience: Duration) -> Self {
        Self {
            bodies: Bodies::new(limits, patience),
            images: Images::new(Vec::new()),
            owners: Owners::default(),
            created_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            underway: Arc::new(Semaphore::new(MOST_REQUESTS as usize)),
        }
    }

    /// Fetches pictures from these hosts.
    pub(crate) fn fetch_from(&mut self, hosts: Vec<ImageHost>) {
        self.images = Images::new(hosts);
    }

    /// Requests under way.
    pub(crate) fn requests(&self) -> usize {
        MOST_REQUESTS as usize - self.underway.available_permits()
    }

    /// Begins a request.
    fn enter(&self) -> Option<Underway> {
        Arc::clone(&self.underway).try_acquire_owned().ok()
    }
}

/// Registers the routes.
pub(crate) fn routes(config: &mut ServiceConfig) {
    let wrong_method = || web::to(wrong_method);
    config
        .service(
            web::resource("/v1/chat/completions")
                .route(web::post().to(chat::complete))
                .default_service(wrong_method()),
        )
        .service(
            web::resource("/v1/audio/transcriptions")
                .route(web::post().to(transcriptions::transcribe))
                .default_service(wrong_method()),
        )
        .service(
            web::resource("/v1/audio/translations")
                .route(web::post().to(transcriptions::translate))
                .default_service(wrong_method()),
        )
        .service(
            web::resource("/v1/models").route(web::get().to(models::list)).default_service(wrong_method()),
        )
        .service(
            web::resource("/v1/models/{model}")
                .route(web::get().to(models::one))
                .default_service(wrong_method()),
        )
        .route("/healthz", web::get().to(health::live))
        .route("/readyz", web::get().to(health::ready))
        .route("/metrics", web::get().to(metrics::serve))
        .route("/openapi.json", web::get().to(openapi::document))
        .route("/docs", web::get().to(openapi::page));
}

/// Tells in OpenAI's form that there is nothing else below `/v1`; every route there has to come before.
pub(crate) fn unknown(config: &mut ServiceConfig) {
    config.route("/v1/{rest:.*}", web::to(no_route));
}

async fn wrong_method() -> Result<HttpResponse, ApiError> {
    Err(ApiError::wrong_method())
}

async fn no_route() -> Result<HttpResponse, ApiError> {
    Err(ApiError::no_route())
}
