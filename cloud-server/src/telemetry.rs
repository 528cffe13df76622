//! The server's log and traces: what is told, in which form, and to whom.

#[cfg(feature = "otel")]
mod otel;

use clap::{Args, ValueEnum};
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

#[cfg(feature = "otel")]
pub(crate) use otel::adopt_caller;

/// What an operator can say about log and traces.
#[derive(Debug, Clone, Args)]
pub struct LogOptions {
    /// What is logged: a level, or one for each part, such as info,msao_server::engine=debug
    #[arg(long = "log", env = "MSAO_LOG", default_value = "info", value_parser = checked_filter)]
    pub filter: String,
    /// Lines for people, or one JSON object a line
    #[arg(long = "log-format", env = "MSAO_LOG_FORMAT", value_enum, default_value_t = LogFormat::Pretty)]
    pub format: LogFormat,
    /// OpenTelemetry collector that gets traces by OTLP over HTTP, such as http://localhost:4318/v1/traces; the server
    /// has to be built with the feature `otel`
    #[arg(long, env = "MSAO_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
}

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line, for log collectors.
    Json,
}

fn checked_filter(filter: &str) -> Result<String, ParseError> {
    EnvFilter::try_new(filter).map(|_valid| filter.to_owned())
}

/// Why there are no traces.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// The feature is not compiled in.
    #[error("--otlp-endpoint needs a server built with `--features otel`: build one, or leave it out")]
    NotBuilt,
    /// The exporter does not take its settings.
    #[cfg(feature = "otel")]
    #[error("--otlp-endpoint: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// Keeps the traces going; when dropped, what was not sent yet is sent.
#[derive(Debug)]
pub struct Telemetry {
    #[cfg(feature = "otel")]
    _traces: Option<otel::Traces>,
}

/// Begins to log to the standard error, and to send traces where that is asked for; call it once.
///
/// # Errors
/// When traces are asked for and cannot be had.
pub fn start(options: &LogOptions) -> Result<Telemetry, TelemetryError> {
    let log = fmt::layer().with_writer(std::io::stderr);
    let log = match options.format {
        LogFormat::Pretty => log.boxed(),
        LogFormat::Json => log.json().flatten_event(true).with_current_span(false).boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(EnvFilter::new(&options.filter)).with(log);
    #[cfg(feature = "otel")]
    {
        let traces = options.otlp_endpoint.as_deref().map(otel::Traces::to).transpose()?;
        subscriber.with(traces.as_ref().map(otel::Traces::layer)).init();
        Ok(Telemetry { _traces: traces })
    }
    #[cfg(not(feature = "otel"))]
    {
        if options.otlp_endpoint.is_some() {
            return Err(TelemetryError::NotBuilt);
        }
        subscriber.init();
        Ok(Telemetry {})
    }
}

/// Without OpenTelemetry a request has no caller's trace to be part of.
#[cfg(not(feature = "otel"))]
pub(crate) fn adopt_caller(_span: &tracing::Span, _headers: &actix_web::http::header::HeaderMap) {}
