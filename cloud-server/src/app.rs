//! The application: its shared state and its routes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::{Compress, DefaultHeaders};
use actix_web::{App, HttpResponse, web};
use msao_protocol::Limits;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::assets::{self, Assets};
use crate::config::Timeouts;
use crate::drain::Drain;
use crate::engine::Engine;
use crate::intake;
use crate::origin::Origins;
use crate::ws;

/// What all requests share.
pub struct AppState {
    /// What answers.
    pub engine: Arc<dyn Engine>,
    /// Budgets of every input, the model's own included.
    pub limits: Limits,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// Pages that may open sessions.
    pub origins: Origins,
    /// The files that are served.
    pub assets: Assets,
    /// Set when the server stops.
    pub drain: Drain,
    sessions: Arc<Semaphore>,
    max_sessions: usize,
    next_session: AtomicU64,
    started: Instant,
}

impl AppState {
    /// Puts an engine and its surroundings together; `limits` are lowered to what the engine can take.
    pub fn new(
        engine: Arc<dyn Engine>,
        limits: Limits,
        timeouts: Timeouts,
        origins: Origins,
        assets: Assets,
        max_sessions: usize,
    ) -> Self {
        let limits = intake::effective_limits(limits, engine.info());
        Self {
            engine,
            limits,
            timeouts,
            origins,
            assets,
            drain: Drain::default(),
            sessions: Arc::new(Semaphore::new(max_sessions)),
            max_sessions,
            next_session: AtomicU64::new(1),
            started: Instant::now(),
        }
    }

    /// A name for a new session and its slot; `None` when all are taken.
    pub(crate) fn open_session(&self) -> Option<(String, OwnedSemaphorePermit)> {
        let slot = Arc::clone(&self.sessions).try_acquire_owned().ok()?;
        let number = self.next_session.fetch_add(1, Ordering::Relaxed);
        Some((format!("s{number}"), slot))
    }

    /// Sessions that are open.
    pub fn open_sessions(&self) -> usize {
        self.max_sessions - self.sessions.available_permits()
    }

    /// Tells all sessions to finish, and waits for them for at most `patience`; says whether all did.
    pub async fn finish_sessions(&self, patience: Duration) -> bool {
        self.drain.begin();
        let all = u32::try_from(self.max_sessions).unwrap_or(u32::MAX);
        tokio::time::timeout(patience, self.sessions.acquire_many(all)).await.is_ok()
    }
}

/// The whole application, for a server or for tests in process.
pub fn create_app(
    state: web::Data<AppState>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    let security = DefaultHeaders::new()
        .add(("Content-Security-Policy", assets::content_security_policy(&[])))
        .add(("X-Content-Type-Options", "nosniff"))
        .add(("Referrer-Policy", "no-referrer"))
        .add(("Permissions-Policy", "camera=(self), microphone=(self)"));
    App::new()
        .app_data(state)
        .wrap(Compress::default())
        .wrap(security)
        .route("/v1/session", web::get().to(ws::open))
        .route("/healthz", web::get().to(health))
        .configure(assets::routes)
}

async fn health(state: web::Data<AppState>) -> HttpResponse {
    let info = state.engine.info();
    HttpResponse::Ok().insert_header(("Cache-Control", "no-store")).json(json!({
        "status": if state.drain.has_begun() { "stopping" } else { "ok" },
        "model": info.model,
        "uptime_s": state.started.elapsed().as_secs(),
        "sessions": state.open_sessions(),
        "requests": state.engine.occupancy(),
    }))
}
