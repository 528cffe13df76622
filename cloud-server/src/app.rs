//! The application: its shared state and its routes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::{Compress, DefaultHeaders, from_fn};
use actix_web::{App, web};
use msao_protocol::Limits;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::access::{self, Access};
use crate::api::{self, Api, ImageHost, Metrics};
use crate::assets::{self, Assets};
use crate::config::Timeouts;
use crate::drain::{Drain, Ending};
use crate::engine::{Engine, Speech};
use crate::hub::Provenance;
use crate::intake;
use crate::origin::Origins;
use crate::request_id::name_request;
use crate::ws;

/// How long answers that were handed back may take to reach their clients.
const HAND_BACK_TIME: Duration = Duration::from_secs(5);
/// How often it is looked whether anything still runs.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

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
    /// Who may do what.
    pub access: Access,
    /// Where what answers comes from.
    pub provenance: Provenance,
    /// The files that are served.
    pub assets: Assets,
    /// What writes recordings down, where there is such a thing.
    pub speech: Option<Speech>,
    /// Set when the server stops.
    pub drain: Drain,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) api: Api,
    sessions: Arc<Semaphore>,
    max_sessions: usize,
    next_session: AtomicU64,
    pub(crate) started: Instant,
}

impl AppState {
    /// Puts an engine and its surroundings together, for this machine only; `limits` are lowered to what the engine can
    /// take.
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
            metrics: Arc::new(Metrics::new(Arc::clone(&engine))),
            engine,
            limits,
            timeouts,
            origins,
            access: Access::of_this_machine(),
            provenance: Provenance::default(),
            assets,
            speech: None,
            drain: Drain::default(),
            api: Api::new(&limits, timeouts.silence),
            sessions: Arc::new(Semaphore::new(max_sessions)),
            max_sessions,
            next_session: AtomicU64::new(1),
            started: Instant::now(),
        }
    }

    /// Lets pictures be fetched from these hosts.
    #[must_use]
    pub fn with_image_hosts(mut self, hosts: Vec<ImageHost>) -> Self {
        self.api.fetch_from(hosts);
        self
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

    /// Requests of the API that are under way.
    pub fn api_requests(&self) -> usize {
        self.api.requests()
    }

    /// Takes nothing new, lets what runs finish for at most `patience`, and hands back what does not.
    pub async fn finish(&self, patience: Duration) -> Ending {
        self.drain.begin();
        let early = self.drain.handed_back();
        let finished = async {
            tokio::select! {
                () = self.nothing_runs() => true,
                () = early => false,
            }
        };
        if tokio::time::timeout(patience, finished).await.unwrap_or(false) {
            return Ending::Finished;
        }
        self.drain.hand_back();
        match tokio::time::timeout(HAND_BACK_TIME, self.nothing_runs()).await {
            Ok(()) => Ending::HandedBack,
            Err(_elapsed) => Ending::Cut,
        }
    }

    /// Waits until no session is open, no request of the API under way, and the engine has nothing to do, for whomever it was.
    async fn nothing_runs(&self) {
        while self.open_sessions() > 0 || self.api_requests() > 0 || self.engine.occupancy() > 0 {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
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
    let cross_origin = access::cross_origin(&state.origins);
    let security = DefaultHeaders::new()
        .add(("Content-Security-Policy", assets::content_security_policy(&[])))
        .add(("X-Content-Type-Options", "nosniff"))
        .add(("Referrer-Policy", "no-referrer"))
        .add(("Permissions-Policy", "camera=(self), microphone=(self)"));
    App::new()
        .app_data(state)
        .wrap(Compress::default())
        .wrap(from_fn(access::guard))
        .wrap(cross_origin)
        .wrap(security)
        .wrap(from_fn(name_request))
        .wrap(from_fn(api::count))
        .route("/v1/session", web::get().to(ws::open))
        .configure(access::routes)
        .configure(api::routes)
        .configure(api::unknown)
        .configure(assets::routes)
}
