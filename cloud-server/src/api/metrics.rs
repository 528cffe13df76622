//! What the server counts, for Prometheus: `GET /metrics`.
//!
//! Names, units and buckets are told in docs/api.md. Counters of requests are fed by [`Watch`](super::watch::Watch), those
//! of HTTP by [`count`]; what the state knows at the moment is read when somebody asks.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::CACHE_CONTROL;
use actix_web::middleware::Next;
use actix_web::{HttpResponse, web};
use msao_protocol::{Modality, SpanKind};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::engine_metrics::EngineMetrics;
use crate::app::AppState;
use crate::engine::{Engine, Speech};

/// Seconds: from what a warm small model takes to what nobody waits for.
const SECONDS: [f64; 16] =
    [0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.0, 1.5, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0];
/// Seconds a token.
const TOKEN_SECONDS: [f64; 12] = [0.001, 0.002, 0.004, 0.007, 0.012, 0.02, 0.035, 0.06, 0.1, 0.2, 0.5, 1.0];
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// A label's name and its value.
type Label<V> = (&'static str, V);
type SecondsCounter = Counter<f64, AtomicU64>;

/// All of them, and the registry that tells them.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    pub(super) time_to_first_token: Histogram,
    pub(super) time_per_output_token: Histogram,
    pub(super) request_duration: Histogram,
    pub(super) queue_wait: Histogram,
    pub(super) prompt_tokens: Counter,
    pub(super) completion_tokens: Counter,
    pub(super) proposed_drafts: Counter,
    pub(super) accepted_drafts: Counter,
    pub(super) flops: Counter,
    outcomes: Family<[Label<&'static str>; 1], Counter>,
    refusals: Family<[Label<String>; 1], Counter>,
    actions: Family<[Label<&'static str>; 2], Counter>,
    received_bytes: Family<[Label<&'static str>; 1], Counter>,
    received_tokens: Family<[Label<&'static str>; 1], Counter>,
    stages: Family<[Label<&'static str>; 1], SecondsCounter>,
    http: Family<[Label<String>; 3], Counter>,
    transcribed: SecondsCounter,
    transcriptions: Counter,
    files_waiting: Gauge,
    sessions: Gauge,
    body_bytes: Gauge,
}

impl Metrics {
    /// Counters at zero, and what `engine` counts by itself.
    pub(crate) fn new(engine: Arc<dyn Engine>) -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("msao"),
            time_to_first_token: Histogram::new(SECONDS),
            time_per_output_token: Histogram::new(TOKEN_SECONDS),
            request_duration: Histogram::new(SECONDS),
            queue_wait: Histogram::new(SECONDS),
            prompt_tokens: Counter::default(),
            completion_tokens: Counter::default(),
            proposed_drafts: Counter::default(),
            accepted_drafts: Counter::default(),
            flops: Counter::default(),
            outcomes: Family::default(),
            refusals: Family::default(),
            actions: Family::default(),
            received_bytes: Family::default(),
            received_tokens: Family::default(),
            stages: Family::default(),
            http: Family::default(),
            transcribed: SecondsCounter::default(),
            transcriptions: Counter::default(),
            files_waiting: Gauge::default(),
            sessions: Gauge::default(),
            body_bytes: Gauge::default(),
        };
        metrics.register();
        metrics.registry.register_collector(Box::new(EngineMetrics(engine)));
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        let seconds = || Unit::Seconds;
        registry.register_with_unit(
            "time_to_first_token",
            "From a checked request to its first settled token",
            seconds(),
            self.time_to_first_token.clone(),
        );
        registry.register_with_unit(
            "time_per_output_token",
            "Of the tokens after the first one, a request's mean",
            seconds(),
            self.time_per_output_token.clone(),
        );
        registry.register_with_unit(
            "request_duration",
            "From a checked request to its end, however it ended",
            seconds(),
            self.request_duration.clone(),
        );
        registry.register_with_unit(
            "queue_wait",
            "Time in which a request waited for the engine while others were served",
            seconds(),
            self.queue_wait.clone(),
        );
        registry.register("prompt_tokens", "Tokens read, media included", self.prompt_tokens.clone());
        registry.register("completion_tokens", "Tokens written", self.completion_tokens.clone());
        registry.register(
            "proposed_drafts",
            "Draft tokens verified, of all sources",
            self.proposed_drafts.clone(),
        );
        registry.register("accepted_drafts", "Draft tokens that stand", self.accepted_drafts.clone());
        registry.register(
            "floating_point_operations",
            "Operations of towers and decoder, counted from the configuration",
            self.flops.clone(),
        );
        registry.register("requests", "Requests that ended, by how", self.outcomes.clone());
        registry.register("refusals", "Requests refused before they began, by code", self.refusals.clone());
        registry.register(
            "modality_actions",
            "Pictures and recordings by what the plan did with them: whole, pruned, announced for later",
            self.actions.clone(),
        );
        registry.register_with_unit(
            "received",
            "Content of requests by modality",
            Unit::Bytes,
            self.received_bytes.clone(),
        );
        registry.register("received_tokens", "Prompt tokens by modality", self.received_tokens.clone());
        registry.register_with_unit(
            "stage",
            "Time of requests by stage, as receipts have it",
            seconds(),
            self.stages.clone(),
        );
        registry.register("http_requests", "HTTP requests by route, method and status", self.http.clone());
        registry.register_with_unit(
            "transcribed",
            "Sound of files that were written down",
            seconds(),
            self.transcribed.clone(),
        );
        registry.register("transcriptions", "Files that were written down", self.transcriptions.clone());
        registry.register(
            "transcriptions_waiting",
            "Files that wait to be written down, or are being",
            self.files_waiting.clone(),
        );
        registry.register("open_sessions", "Sessions that are open", self.sessions.clone());
        registry.register(
            "held_body_bytes",
            "Bodies of requests that are being read",
            self.body_bytes.clone(),
        );
    }

    /// A request was refused before it reached the engine.
    pub(crate) fn count_refusal(&self, code: &str) {
        self.refusals.get_or_create(&[("code", code.to_owned())]).inc();
    }

    /// A file was written down.
    pub(super) fn note_transcription(&self, seconds: f64) {
        self.transcriptions.inc();
        self.transcribed.inc_by(seconds);
    }

    pub(super) fn count_outcome(&self, outcome: &'static str) {
        self.outcomes.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub(super) fn count_action(&self, modality: Modality, action: &'static str) {
        self.actions.get_or_create(&[("modality", name_of(modality)), ("action", action)]).inc();
    }

    pub(super) fn add_received(&self, modality: Modality, bytes: u64, tokens: u32) {
        let label = [("modality", name_of(modality))];
        self.received_bytes.get_or_create(&label).inc_by(bytes);
        self.received_tokens.get_or_create(&label).inc_by(tokens.into());
    }

    pub(super) fn add_span(&self, kind: SpanKind, seconds: f64) {
        self.stages.get_or_create(&[("stage", stage_of(kind))]).inc_by(seconds);
    }
}

fn name_of(modality: Modality) -> &'static str {
    match modality {
        Modality::Text => "text",
        Modality::Vision => "vision",
        Modality::Audio => "audio",
    }
}

fn stage_of(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Queue => "queue",
        SpanKind::DecodeMedia => "decode_media",
        SpanKind::Encode => "encode",
        SpanKind::Prefill => "prefill",
        SpanKind::Decode => "decode",
        SpanKind::Score => "score",
        SpanKind::Plan => "plan",
        SpanKind::Propose => "propose",
        SpanKind::Verify => "verify",
        SpanKind::Wait => "wait",
        SpanKind::Prune => "prune",
        SpanKind::Transcribe => "transcribe",
    }
}

/// Counts HTTP requests: by the route's pattern, so that there are no more labels than routes.
pub(crate) async fn count(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let metrics = request.app_data::<web::Data<AppState>>().map(|state| state.metrics.clone());
    let method = request.method().clone();
    // Methods are free text to a client.
    let method = if method.is_safe() || method.is_idempotent() || method == "POST" || method == "PATCH" {
        method.to_string()
    } else {
        "other".to_owned()
    };
    let result = next.call(request).await;
    if let Some(metrics) = metrics {
        let (route, status) = match &result {
            Ok(response) => (response.request().match_pattern(), response.status()),
            Err(error) => (None, error.as_response_error().status_code()),
        };
        let route = route.unwrap_or_else(|| "other".to_owned());
        let labels = [("route", route), ("method", method), ("status", status.as_u16().to_string())];
        metrics.http.get_or_create(&labels).inc();
    }
    result
}

/// Tells all metrics.
pub(super) async fn serve(state: web::Data<AppState>) -> HttpResponse {
    let metrics = &state.metrics;
    let level = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    metrics.files_waiting.set(level(state.speech.as_ref().map_or(0, Speech::occupancy)));
    metrics.sessions.set(level(state.open_sessions()));
    metrics.body_bytes.set(level(state.api.bodies.held_bytes()));
    let mut text = String::new();
    match encode(&mut text, &metrics.registry) {
        Ok(()) => HttpResponse::Ok()
            .insert_header((CACHE_CONTROL, "no-store"))
            .content_type(CONTENT_TYPE)
            .body(text),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be written");
            HttpResponse::InternalServerError().finish()
        }
    }
}
