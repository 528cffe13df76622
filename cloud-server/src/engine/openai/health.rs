//! Whether an upstream is up, what it is, and what its model is called.
//!
//! `/health` is looked at first; engines that load a model say so there (llama.cpp: 503). Where there is none, a list of
//! models is sign enough. Checks come every few seconds, a little early or late by chance, so that several servers do not ask at
//! the same moment.

use std::sync::Arc;
use std::time::Duration;

use msao_planner::SplitMix64;
use tokio::time::timeout;

use super::Shared;
use super::error::UpstreamError;
use super::kind::Kind;
use super::pool::Checked;
use super::wire::ModelList;

const CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// Share by which a wait is longer or shorter by chance.
const JITTER: f64 = 0.2;

/// Checks one upstream for as long as the engine's tasks run.
pub(super) async fn watch(engine: Arc<Shared>, index: usize) {
    let mut rng = SplitMix64::new(u64::from(std::process::id()) << 8 | index as u64);
    loop {
        let wait = engine.pool.check_after(index).mul_f64(1.0 + JITTER * (2.0 * rng.uniform() - 1.0));
        // Whoever finds it broken rings, and the wait before the next check is a short one then.
        if timeout(wait, engine.pool.went_out[index].notified()).await.is_err() {
            check(&engine, index).await;
        }
    }
}

/// Checks once.
pub(super) async fn check(engine: &Shared, index: usize) {
    let found = match timeout(CHECK_TIMEOUT, look(engine, index)).await {
        Ok(found) => found,
        Err(_elapsed) => Err(UpstreamError::Silent(CHECK_TIMEOUT)),
    };
    match found {
        Ok(checked) => {
            let Checked { model, kind } = checked.clone();
            if engine.pool.note_check(index, Some(checked)) {
                tracing::info!(upstream = index + 1, model, ?kind, "an upstream is up");
            }
        }
        // One that is busy with answers may be slow to say so; if it is not, the answers find out.
        Err(UpstreamError::Silent(_)) if engine.pool.is_answering(index) => {}
        Err(error) => {
            if engine.pool.note_check(index, None) {
                tracing::warn!(upstream = index + 1, failure = error.for_log(), "an upstream is out");
            } else {
                tracing::debug!(upstream = index + 1, failure = error.for_log(), "an upstream is still out");
            }
        }
    }
}

async fn look(engine: &Shared, index: usize) -> Result<Checked, UpstreamError> {
    let endpoint = &engine.endpoints[index];
    let health = endpoint.health().await?;
    if health >= 500 {
        return Err(UpstreamError::Failed { status: health });
    }
    let is_healthy = (200..300).contains(&health);
    let told = engine.model.clone();
    let models = match endpoint.models().await {
        Ok(body) => serde_json::from_slice::<ModelList>(&body)
            .map_err(|error| UpstreamError::Malformed(format!("its list of models: {error}")))?,
        // Somebody whose key is refused here is refused everywhere.
        Err(error @ UpstreamError::Misconfigured { status: 401 | 403 }) => return Err(error),
        // `transformers serve` fails here where it has no cache of downloaded models.
        Err(_) if is_healthy && told.is_some() => ModelList::default(),
        Err(error) => return Err(error),
    };
    let kind = if engine.kind == Kind::Auto { Kind::detect(&models) } else { engine.kind };
    let first = || models.data.first().map(|model| model.id.clone());
    let no_model =
        || UpstreamError::Malformed("it lists no model: name one with --upstream-model".to_owned());
    let model = told.or_else(first).ok_or_else(no_model)?;
    Ok(Checked { model, kind })
}
