//! A request's body, read under three budgets: its own size, the size of all that are being read, and time.
//!
//! What counts against the common budget is what has come, not what was announced: so nobody keeps others out by announcing.
//! A place in the engine's queue is taken only once a request is known, so what comes before that needs bounds of its own.

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::StreamExt as _;
use msao_protocol::Limits;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::error::ApiError;

/// Largest bodies that are held at a time.
const LARGEST_BODIES: usize = 8;
/// What a body has beside its media: text and JSON.
const TEXT_BYTES: u32 = 1 << 20;
/// Grain of the common budget.
const GRAIN_BYTES: usize = 1 << 10;
/// Longest that one body may take.
const MOST_TIME: Duration = Duration::from_secs(300);
/// How long, and how many times the limit, a body that was refused is read and thrown away. A client that is still sending
/// would otherwise see a broken connection instead of the reason.
const SKIP_TIME: Duration = Duration::from_secs(5);
const SKIP_LIMITS: usize = 4;

/// The budgets of bodies.
#[derive(Debug)]
pub(crate) struct Bodies {
    /// Most bytes of one.
    largest: u32,
    /// Longest wait for some of it.
    patience: Duration,
    /// Grains that there are, and those of them that are free.
    all_grains: usize,
    grains: Arc<Semaphore>,
}

/// A body, and its share of the common budget.
pub(super) struct Body {
    pub(super) bytes: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

impl Bodies {
    /// Bodies that hold as much as one message of a session may, as base64.
    pub(crate) fn new(limits: &Limits, patience: Duration) -> Self {
        let largest = (limits.message_bytes / 3 * 4).saturating_add(TEXT_BYTES);
        let all_grains = (largest as usize).div_ceil(GRAIN_BYTES) * LARGEST_BODIES;
        Self { largest, patience, all_grains, grains: Arc::new(Semaphore::new(all_grains)) }
    }

    /// Bytes of bodies that are held at the moment, to the grain.
    pub(super) fn held_bytes(&self) -> usize {
        (self.all_grains - self.grains.available_permits()) * GRAIN_BYTES
    }

    /// Reads a body.
    ///
    /// # Errors
    /// When it is too large, too slow, cut off, or too many others are being read.
    pub(super) async fn read(&self, request: &HttpRequest, mut payload: Payload) -> Result<Body, ApiError> {
        let announced = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        let announced = announced.and_then(|length| length.parse::<u64>().ok());
        if let Some(bytes) = announced.filter(|&bytes| bytes > self.largest.into()) {
            self.skip(&mut payload).await;
            return Err(self.too_large(&format!("{bytes} bytes")));
        }
        let collected = timeout(MOST_TIME, self.collect(&mut payload)).await;
        let refused = match collected {
            Ok(Ok(body)) => return Ok(body),
            Ok(Err(error)) => error,
            Err(_elapsed) => return Err(slow(MOST_TIME)),
        };
        if !refused.is_unreadable() {
            self.skip(&mut payload).await;
        }
        Err(refused)
    }

    async fn collect(&self, payload: &mut Payload) -> Result<Body, ApiError> {
        let mut bytes = BytesMut::new();
        let mut share: Option<OwnedSemaphorePermit> = None;
        while let Some(piece) = self.next(payload).await? {
            let total = bytes.len() + piece.len();
            if total > self.largest as usize {
                return Err(self.too_large(&format!("more than {} bytes", self.largest)));
            }
            let held = share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
            let missing = total.div_ceil(GRAIN_BYTES).saturating_sub(held);
            // Fits: grains are fewer than the bytes of a body, which 32 bits count.
            let more = Arc::clone(&self.grains).try_acquire_many_owned(missing as u32);
            let more = more.map_err(|_taken| ApiError::crowded())?;
            match &mut share {
                Some(share) => share.merge(more),
                None => share = Some(more),
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(Body { bytes: bytes.freeze(), _share: share })
    }

    async fn next(&self, payload: &mut Payload) -> Result<Option<Bytes>, ApiError> {
        match timeout(self.patience, payload.next()).await {
            Err(_elapsed) => Err(slow(self.patience)),
            Ok(None) => Ok(None),
            Ok(Some(Ok(bytes))) => Ok(Some(bytes)),
            Ok(Some(Err(error))) => {
                Err(ApiError::unreadable(format!("the body ended early or is damaged: {error}")))
            }
        }
    }

    fn too_large(&self, has: &str) -> ApiError {
        let most = self.largest;
        let message = format!("the body has {has}; at most {most} are accepted: send smaller or fewer media");
        ApiError::too_large("body", message)
    }

    async fn skip(&self, payload: &mut Payload) {
        let enough = SKIP_LIMITS * self.largest as usize;
        let skipping = async {
            let mut skipped = 0;
            while let Some(Ok(bytes)) = payload.next().await {
                skipped += bytes.len();
                if skipped > enough {
                    return;
                }
            }
        };
        // Whether it came to an end or not, the reason is told next.
        let _ = timeout(SKIP_TIME, skipping).await;
    }
}

fn slow(waited: Duration) -> ApiError {
    let waited = waited.as_secs_f32();
    ApiError::unreadable(format!("the body was waited for in vain for {waited} s: send it faster"))
}
