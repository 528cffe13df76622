//! One client's session: what may be said when, and the requests that are under way.
//!
//! It reads frames and writes [`Outgoing`](crate::outgoing::Outgoing)s and knows neither actix nor sockets. A
//! fault in one request ends that request; a breach of the protocol ends the session. Dropping a session
//! cancels everything it asked for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use msao_protocol::{
    Ask, Attach, ClientMessage, Draft, ErrorCode, ErrorReport, RequestId, ServerMessage, Speculation, Verify,
    frame,
};
use tokio::task::JoinSet;

use crate::app::AppState;
use crate::engine::{Answer, EngineError, EngineEvent, Events, JobHandle, Owner, Place, job, verify_job};
use crate::intake;
use crate::outgoing::{Closing, Farewell, Gone, Outbox, Outgoing, send};

pub(crate) struct Session {
    id: String,
    /// Whose answers the engine keeps, to be gone on from.
    owner: Owner,
    state: Arc<AppState>,
    outbox: Outbox,
    greeted: bool,
    in_flight: InFlight,
    /// Carries each answer from the engine to the outbox; aborted with the session.
    forwarding: JoinSet<()>,
}

impl Session {
    pub(crate) fn new(id: String, state: Arc<AppState>, outbox: Outbox) -> Self {
        let (in_flight, forwarding) = (InFlight::default(), JoinSet::new());
        Self { id, owner: Owner::unique(), state, outbox, greeted: false, in_flight, forwarding }
    }

    /// Whether `Hello` has come.
    pub(crate) fn is_greeted(&self) -> bool {
        self.greeted
    }

    /// Whether no request is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.lock().is_empty()
    }

    /// Takes one message.
    ///
    /// # Errors
    /// A [`Farewell`] when the session has to end.
    pub(crate) async fn receive(&mut self, bytes: &[u8]) -> Result<(), Farewell> {
        let message = frame::decode::<ClientMessage>(bytes).map_err(|error| {
            Farewell::because(report(None, error.code(), error.to_string()), Closing::Protocol)
        })?;
        if let Some(request_id) = about(&message)
            && !self.greeted
        {
            let message = "the session is not open yet: send Hello first".to_owned();
            let report = report(Some(request_id), ErrorCode::OutOfOrder, message);
            return Err(Farewell::because(report, Closing::Policy));
        }
        match message {
            ClientMessage::Hello { client } => self.greet(&client).await,
            ClientMessage::Ping { nonce } => Ok(send(&self.outbox, ServerMessage::Pong { nonce }).await?),
            // What follows a question may cross its end, so a request that is not under way is no mistake.
            ClientMessage::Cancel { request_id } => {
                self.in_flight.with(request_id, JobHandle::cancel);
                Ok(())
            }
            ClientMessage::Steer { request_id, speculation } => {
                self.in_flight.with(request_id, |handle| self.steer(handle, speculation));
                Ok(())
            }
            ClientMessage::Attach(attach) => {
                self.in_flight.with(attach.request_id, |handle| self.attach(handle, attach));
                Ok(())
            }
            ClientMessage::Draft(draft) => {
                self.in_flight.with(draft.request_id, |handle| self.draft(handle, draft));
                Ok(())
            }
            ClientMessage::Ask(ask) => {
                let (request_id, admitted) = (ask.request_id, self.admit(ask));
                Ok(self.tell(request_id, admitted).await?)
            }
            ClientMessage::Verify(verify) => {
                let (request_id, admitted) = (verify.request_id, self.admit_verification(verify));
                Ok(self.tell(request_id, admitted).await?)
            }
        }
    }

    async fn greet(&mut self, client: &str) -> Result<(), Farewell> {
        if self.greeted {
            let message = "Hello came twice: send it once, as the first message".to_owned();
            return Err(Farewell::because(report(None, ErrorCode::OutOfOrder, message), Closing::Policy));
        }
        self.greeted = true;
        // What a client calls itself is logged, so it is cut and stripped of what could forge a line.
        let client: String = client.chars().filter(|c| !c.is_control()).take(80).collect();
        tracing::info!(session = self.id, client, "session opened");
        let welcome = ServerMessage::Welcome {
            session_id: self.id.clone(),
            model: self.state.engine.info().model.clone(),
            limits: self.state.limits,
        };
        Ok(send(&self.outbox, welcome).await?)
    }

    /// Tells the client if a request was not let in.
    async fn tell(&self, request_id: RequestId, admitted: Result<(), ErrorReport>) -> Result<(), Gone> {
        match admitted {
            Ok(()) => Ok(()),
            Err(report) => {
                tracing::debug!(session = self.id, request_id, code = ?report.code, "refused");
                send(&self.outbox, ServerMessage::Error(report)).await
            }
        }
    }

    /// Hands late media in; if they cannot be used, the request fails.
    fn attach(&self, handle: &JobHandle, attach: Attach) {
        let (limits, engine) = (&self.state.limits, self.state.engine.info());
        match intake::check_attach(&attach, handle.announced(), limits, engine) {
            Ok(()) => handle.attach(attach),
            Err(refusal) => handle.refuse(refusal),
        }
    }

    /// Lets a request's drafts come from elsewhere; if they cannot, the request fails.
    fn steer(&self, handle: &JobHandle, speculation: Speculation) {
        match intake::check_speculation(speculation, self.state.engine.info()) {
            Ok(()) => handle.steer(speculation),
            Err(refusal) => handle.refuse(refusal),
        }
    }

    /// Hands drafts in; if they cannot be drafts at all, the request fails.
    fn draft(&self, handle: &JobHandle, draft: Draft) {
        // Who drafts and who steers need not be one, so such a draft is no mistake; it is only too late.
        if handle.may_be_crossed() {
            return;
        }
        let (limits, engine) = (&self.state.limits, self.state.engine.info());
        match intake::check_draft(&draft, handle.speculation(), limits, engine) {
            Ok(()) => handle.draft(draft),
            Err(refusal) => handle.refuse(refusal),
        }
    }

    fn admit(&mut self, ask: Ask) -> Result<(), ErrorReport> {
        let request_id = ask.request_id;
        let limits = self.state.limits;
        self.open(request_id)?;
        intake::check_ask(&ask, &limits, self.state.engine.info())
            .map_err(|refusal| report(Some(request_id), refusal.code, refusal.message))?;
        let max_new_tokens = ask.max_new_tokens.min(limits.max_new_tokens);
        let (job, handle, events) = job(ask, max_new_tokens);
        let place = self.begin(request_id, handle)?;
        self.state.engine.submit(place, job.owned_by(self.owner));
        let (outbox, in_flight, session) = (self.outbox.clone(), self.in_flight.clone(), self.id.clone());
        self.forwarding.spawn(async move {
            // `Gone` needs no word: the session that this task belongs to is about to end.
            let _ = forward(events, request_id, &outbox, &in_flight, &session).await;
        });
        Ok(())
    }

    fn admit_verification(&mut self, verify: Verify) -> Result<(), ErrorReport> {
        let request_id = verify.request_id;
        self.open(request_id)?;
        intake::check_verify(&verify, &self.state.limits, self.state.engine.info())
            .map_err(|refusal| report(Some(request_id), refusal.code, refusal.message))?;
        let (job, handle, outcome) = verify_job(verify, self.owner);
        let place = self.begin(request_id, handle)?;
        self.state.engine.verify(place, job);
        let (outbox, in_flight, session) = (self.outbox.clone(), self.in_flight.clone(), self.id.clone());
        self.forwarding.spawn(async move {
            let last = match outcome.await.unwrap_or(Err(EngineError::Stopped)) {
                Ok(verified) => ServerMessage::Verified(verified),
                Err(error) => failed(request_id, &error, &session),
            };
            let _ = end(last, request_id, &outbox, &in_flight).await;
        });
        Ok(())
    }

    /// Whether requests are taken at all.
    fn open(&mut self, request_id: RequestId) -> Result<(), ErrorReport> {
        // Finished tasks are cleared away here, so their number is bounded by the requests in flight.
        while self.forwarding.try_join_next().is_some() {}
        if self.state.drain.has_begun() {
            let message = "the server is shutting down: connect again in a moment".to_owned();
            return Err(report(Some(request_id), ErrorCode::ShuttingDown, message));
        }
        Ok(())
    }

    /// Notes a request as under way and takes its place in the engine's queue.
    fn begin(&self, request_id: RequestId, handle: JobHandle) -> Result<Place, ErrorReport> {
        self.in_flight.begin(request_id, handle, self.state.limits.requests_in_flight)?;
        self.state.engine.reserve_for(self.owner).map_err(|busy| {
            self.in_flight.end(request_id);
            ErrorReport {
                retry_after_ms: Some(busy.retry_after_ms),
                ..report(Some(request_id), ErrorCode::Busy, busy.to_string())
            }
        })
    }
}

/// The request that a message is about, if it must not come before `Hello`.
fn about(message: &ClientMessage) -> Option<RequestId> {
    match message {
        ClientMessage::Ask(ask) => Some(ask.request_id),
        ClientMessage::Attach(attach) => Some(attach.request_id),
        ClientMessage::Draft(draft) => Some(draft.request_id),
        ClientMessage::Verify(verify) => Some(verify.request_id),
        ClientMessage::Steer { request_id, .. } => Some(*request_id),
        ClientMessage::Hello { .. } | ClientMessage::Cancel { .. } | ClientMessage::Ping { .. } => None,
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // In this order: what is cancelled is not kept.
        self.in_flight.cancel_all();
        self.state.engine.forget(self.owner);
    }
}

/// Carries one answer to the client.
async fn forward(
    mut events: Events,
    request_id: RequestId,
    outbox: &Outbox,
    in_flight: &InFlight,
    session: &str,
) -> Result<(), Gone> {
    let last = loop {
        match events.next().await {
            Some(EngineEvent::Settled { start, tokens, revision }) => {
                send(outbox, ServerMessage::Settled { request_id, start, tokens, revision }).await?;
            }
            Some(EngineEvent::Proposed { start, tokens }) => {
                send(outbox, ServerMessage::Proposed { request_id, start, tokens }).await?;
            }
            Some(EngineEvent::Done(answer)) => break done(request_id, answer, session),
            Some(EngineEvent::Failed(error)) => break failed(request_id, &error, session),
            None => break failed(request_id, &EngineError::Stopped, session),
        }
    };
    end(last, request_id, outbox, in_flight).await
}

/// Says the last word about a request.
async fn end(
    last: ServerMessage,
    request_id: RequestId,
    outbox: &Outbox,
    in_flight: &InFlight,
) -> Result<(), Gone> {
    let room = outbox.reserve().await.map_err(|_closed| Gone)?;
    // Before the client hears of the end, so that its next question is not one too many.
    in_flight.end(request_id);
    room.send(Outgoing::Message(last));
    Ok(())
}

fn done(request_id: RequestId, answer: Answer, session: &str) -> ServerMessage {
    let Answer { text, finish_reason, receipt } = answer;
    let total_ms = receipt.spans.iter().map(|span| span.ms).sum::<f64>().round();
    // Neither question nor answer is logged: they belong to the person who asked.
    tracing::info!(
        session,
        request_id,
        prompt_tokens = receipt.prompt_tokens,
        completion_tokens = receipt.completion_tokens,
        rounds = receipt.rounds,
        ?finish_reason,
        total_ms,
        "answered"
    );
    ServerMessage::Done { request_id, text, finish_reason, receipt }
}

fn failed(request_id: RequestId, error: &EngineError, session: &str) -> ServerMessage {
    let code = error.code();
    if code == ErrorCode::Internal {
        tracing::error!(session, request_id, %error, "request failed");
    } else {
        tracing::debug!(session, request_id, ?code, "refused");
    }
    let retry_after_ms = error.retry_after_ms();
    ServerMessage::Error(ErrorReport { retry_after_ms, ..report(Some(request_id), code, error.to_string()) })
}

pub(crate) fn report(request_id: Option<RequestId>, code: ErrorCode, message: String) -> ErrorReport {
    ErrorReport { request_id, code, message, retry_after_ms: None }
}

/// The requests under way, each with the session's hold on it. Locks are held for a look-up only.
#[derive(Debug, Clone, Default)]
struct InFlight(Arc<Mutex<HashMap<RequestId, JobHandle>>>);

impl InFlight {
    fn lock(&self) -> MutexGuard<'_, HashMap<RequestId, JobHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, request_id: RequestId, handle: JobHandle, limit: u32) -> Result<(), ErrorReport> {
        let mut requests = self.lock();
        if requests.contains_key(&request_id) {
            let message =
                format!("request {request_id} is still being answered: give each request its own id");
            return Err(report(Some(request_id), ErrorCode::DuplicateRequest, message));
        }
        if requests.len() >= limit as usize {
            let message = format!("{limit} requests of this session are under way: wait for one to end");
            return Err(report(Some(request_id), ErrorCode::Busy, message));
        }
        requests.insert(request_id, handle);
        Ok(())
    }

    fn end(&self, request_id: RequestId) {
        self.lock().remove(&request_id);
    }

    /// Does something with a request, if it is under way.
    fn with(&self, request_id: RequestId, act: impl FnOnce(&JobHandle)) {
        let handle = self.lock().get(&request_id).cloned();
        if let Some(handle) = handle {
            act(&handle);
        }
    }

    fn cancel_all(&self) {
        self.lock().values().for_each(JobHandle::cancel);
    }
}
