//! Spans as OpenTelemetry traces, sent by OTLP over HTTP, as parts of the callers' own traces (W3C Trace Context).

use actix_web::http::header::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracerProvider, Tracer};
use tracing::Span;
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt as _};
use tracing_subscriber::registry::LookupSpan;

const SERVICE: &str = "msao-server";

/// The way to a collector. Spans are sent in batches from a thread of its own; more than it can hold are dropped.
#[derive(Debug)]
pub(super) struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// # Errors
    /// When `endpoint` is no address.
    pub(super) fn to(endpoint: &str) -> Result<Self, ExporterBuildError> {
        crate::tls::choose_provider();
        let exporter = SpanExporter::builder().with_http().with_endpoint(endpoint).build()?;
        let resource = Resource::builder().with_service_name(SERVICE).build();
        let provider =
            SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        Ok(Self { provider })
    }

    pub(super) fn layer<S>(&self) -> OpenTelemetryLayer<S, Tracer>
    where
        S: tracing::Subscriber + for<'span> LookupSpan<'span>,
    {
        tracing_opentelemetry::layer().with_tracer(self.provider.tracer(SERVICE))
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        // A collector that is away costs its last spans; there is nobody to tell any more.
        let _ = self.provider.shutdown();
    }
}

/// Makes a request's span part of the trace that its caller names in `traceparent`.
pub(crate) fn adopt_caller(span: &Span, headers: &HeaderMap) {
    // It fails only without a layer of OpenTelemetry, and then there is no trace to be part of.
    let _ = span.set_parent(TraceContextPropagator::new().extract(&Headers(headers)));
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|name| name.as_str()).collect()
    }
}
