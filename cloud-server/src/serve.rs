//! The server's life: it loads the model, listens, and when told to stop lets answers finish or hands them back.

use std::io::Write as _;
use std::time::Duration;

use actix_web::web::Data;
use anyhow::Context as _;

use crate::config::ServerConfig;
use crate::drain::Ending;
use crate::startup::{listen, prepare};
use crate::stop_signals::StopSignals;

/// Serves until the process is told to stop, by SIGTERM or Ctrl-C.
///
/// # Errors
/// When it cannot start, or the web server fails.
#[actix_web::main]
pub async fn serve(config: &ServerConfig) -> anyhow::Result<()> {
    let state = Data::new(prepare(config)?);
    let model = &state.engine.info().model;
    tracing::info!(
        name = model.name,
        parameters = model.parameters,
        device = model.device,
        co_located_draft = model.co_located_draft,
        source = state.provenance.source,
        license = state.provenance.license,
        "the model is ready"
    );
    let (server, address) = listen(state.clone(), config.listen)?;
    tracing::info!("{}", state.access.summary(address));
    // From before anyone is told that it runs: whoever is told may stop it.
    let mut signals = StopSignals::new().context("cannot listen for SIGTERM and Ctrl-C")?;
    // Browsers hand out camera and microphone on localhost and over HTTPS only.
    let shown = if address.ip().is_unspecified() {
        format!("localhost:{}", address.port())
    } else {
        address.to_string()
    };
    let scheme = if state.access.has_tls() { "https" } else { "http" };
    writeln!(std::io::stdout(), "MSAO is ready: open {scheme}://{shown}/")
        .context("cannot write to stdout")?;

    tell_supervisor(Supervised::Ready);
    let handle = server.handle();
    let running = actix_web::rt::spawn(server);
    signals.next().await;
    tell_supervisor(Supervised::Stopping);
    let patience = Duration::from_secs(config.drain_s.into());
    tracing::info!(sessions = state.open_sessions(), ?patience, "stopping: running answers are finished");
    let finishing = state.finish(patience);
    let impatient = async {
        signals.next().await;
        tracing::info!("told twice to stop: running answers are handed back");
        state.drain.hand_back();
        std::future::pending().await
    };
    let ending = tokio::select! {
        ending = finishing => ending,
        ending = impatient => ending,
    };
    match ending {
        Ending::Finished => tracing::info!("all answers finished"),
        Ending::HandedBack => tracing::warn!("answers that did not finish in time were handed back"),
        Ending::Cut => {
            tracing::warn!(sessions = state.open_sessions(), "some clients took no word of the end")
        }
    }
    handle.stop(true).await;
    running.await.context("the server's task failed")?.context("the server failed")
}

/// What systemd wants to hear of a service of `Type=notify`.
#[derive(Debug, Clone, Copy)]
enum Supervised {
    Ready,
    Stopping,
}

/// Where nobody listens, and that is everywhere but under systemd, nothing happens.
#[cfg(target_os = "linux")]
fn tell_supervisor(state: Supervised) {
    let state = match state {
        Supervised::Ready => sd_notify::NotifyState::Ready,
        Supervised::Stopping => sd_notify::NotifyState::Stopping,
    };
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "systemd cannot be told of this service's state");
    }
}

#[cfg(not(target_os = "linux"))]
fn tell_supervisor(_state: Supervised) {}
