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
use tracing::Instrument as _;

use crate::access::{Caller, RequestPermit};
use crate::api::{self, Watch};
use crate::app::AppState;
use crate::drain::Drain;
use crate::engine::{Answer, EngineError, EngineEvent, Events, JobHandle, Owner, Place, job, verify_job};
use crate::intake;
use crate::outgoing::{Closing, Farewell, Gone, Outbox, Outgoing, send};

/// When another server, or this one after a restart, may be there.
const RETRY_AFTER_SHUTDOWN_MS: u32 = 1_000;

pub(crate) struct Session {
    id: String,
    caller: Caller,
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
    pub(crate) fn new(id: String, caller: Caller, state: Arc<AppState>, outbox: Outbox) -> Self {
        let (in_flight, forwarding) = (InFlight::default(), JoinSet::new());
        let owner = Owner::unique();
        Self { id, caller, owner, state, outbox, greeted: false, in_flight, forwarding }
    }

    /// Who opened it.
    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
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
                self.state.metrics.count_refusal(&api::name_of(report.code));
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
        let permit = self.open(request_id)?;
        intake::check_ask(&ask, &limits, self.state.engine.info())
            .map_err(|refusal| report(Some(request_id), refusal.code, refusal.message))?;
        let max_new_tokens = ask.max_new_tokens.min(limits.max_new_tokens);
        let (job, handle, events) = job(ask, max_new_tokens);
        let place = self.begin(request_id, handle, permit)?;
        let watch = Watch::new(&self.state.metrics, &job.ask);
        self.state.engine.submit(place, job.owned_by(self.owner));
        let (answer, state) = (self.forwarding_of(request_id), Arc::clone(&self.state));
        let span = tracing::info_span!("answer", session = self.id, request_id);
        let forward = async move {
            // `Gone` needs no word: the session that this task belongs to is about to end.
            let _ = answer.run((events, watch), &state.drain).await;
        };
        self.forwarding.spawn(forward.instrument(span));
        Ok(())
    }

    fn admit_verification(&mut self, verify: Verify) -> Result<(), ErrorReport> {
        let request_id = verify.request_id;
        let permit = self.open(request_id)?;
        intake::check_verify(&verify, &self.state.limits, self.state.engine.info())
            .map_err(|refusal| report(Some(request_id), refusal.code, refusal.message))?;
        let (job, handle, outcome) = verify_job(verify, self.owner);
        let place = self.begin(request_id, handle, permit)?;
        self.state.engine.verify(place, job);
        let (answer, state) = (self.forwarding_of(request_id), Arc::clone(&self.state));
        let forward = async move {
            let last = tokio::select! {
                outcome = outcome => match outcome.unwrap_or(Err(EngineError::Stopped)) {
                    Ok(verified) => ServerMessage::Verified(verified),
                    Err(error) => failed(request_id, &error, &answer.session),
                },
                () = state.drain.handed_back() => answer.handed_back(0),
            };
            // As above.
            let _ = answer.end(last).await;
        };
        let span = tracing::info_span!("verification", session = self.id, request_id);
        self.forwarding.spawn(forward.instrument(span));
        Ok(())
    }

    fn forwarding_of(&self, request_id: RequestId) -> Forwarding {
        Forwarding {
            request_id,
            outbox: self.outbox.clone(),
            in_flight: self.in_flight.clone(),
            session: self.id.clone(),
        }
    }

    /// Whether requests are taken at all, and another one of this caller.
    fn open(&mut self, request_id: RequestId) -> Result<RequestPermit, ErrorReport> {
        // Finished tasks are cleared away here, so their number is bounded by the requests in flight.
        while self.forwarding.try_join_next().is_some() {}
        if self.state.drain.has_begun() {
            return Err(shutting_down(Some(request_id), "connect again in a moment"));
        }
        self.caller.begin_request().map_err(|denial| denial.report(request_id))
    }

    /// Notes a request as under way and takes its place in the engine's queue.
    fn begin(
        &self,
        request_id: RequestId,
        handle: JobHandle,
        permit: RequestPermit,
    ) -> Result<Place, ErrorReport> {
        self.in_flight.begin(request_id, (handle, permit), self.state.limits.requests_in_flight)?;
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
struct Forwarding {
    request_id: RequestId,
    outbox: Outbox,
    in_flight: InFlight,
    session: String,
}

impl Forwarding {
    /// Until the answer's end, or until the server cannot wait for that any longer.
    async fn run(self, events: (Events, Watch), drain: &Drain) -> Result<(), Gone> {
        let mut told = 0;
        let last = tokio::select! {
            last = self.carry(events, &mut told) => last?,
            () = drain.handed_back() => self.handed_back(told),
        };
        self.end(last).await
    }

    /// Tells what the engine tells, counting the settled tokens, and returns the message that ends the answer.
    async fn carry(
        &self,
        (mut events, mut watch): (Events, Watch),
        told: &mut usize,
    ) -> Result<ServerMessage, Gone> {
        let (request_id, session) = (self.request_id, self.session.as_str());
        loop {
            let event = events.next().await;
            event.iter().for_each(|event| watch.see(event));
            match event {
                Some(EngineEvent::Settled { start, tokens, revision, logprobs: _ }) => {
                    let settled = tokens.len();
                    let message = ServerMessage::Settled { request_id, start, tokens, revision };
                    send(&self.outbox, message).await?;
                    *told += settled;
                }
                Some(EngineEvent::Proposed { start, tokens }) => {
                    send(&self.outbox, ServerMessage::Proposed { request_id, start, tokens }).await?;
                }
                Some(EngineEvent::Done(answer)) => return Ok(done(request_id, answer, session)),
                Some(EngineEvent::Failed(error)) => return Ok(failed(request_id, &error, session)),
                None => return Ok(failed(request_id, &EngineError::Stopped, session)),
            }
        }
    }

    /// The answer as far as it got is the client's already; the engine stops, since nobody takes its events any more.
    fn handed_back(&self, told: usize) -> ServerMessage {
        let (session, request_id) = (self.session.as_str(), self.request_id);
        tracing::info!(session, request_id, tokens = told, "handed back");
        let remedy = format!("the {told} tokens that were settled stand; ask again in a new session");
        ServerMessage::Error(shutting_down(Some(request_id), &remedy))
    }

    /// Says the last word about the request.
    async fn end(&self, last: ServerMessage) -> Result<(), Gone> {
        let room = self.outbox.reserve().await.map_err(|_closed| Gone)?;
        // Before the client hears of the end, so that its next question is not one too many.
        self.in_flight.end(self.request_id);
        room.send(Outgoing::Message(last));
        Ok(())
    }
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

pub(crate) fn shutting_down(request_id: Option<RequestId>, remedy: &str) -> ErrorReport {
    let message = format!("the server is shutting down: {remedy}");
    ErrorReport {
        retry_after_ms: Some(RETRY_AFTER_SHUTDOWN_MS),
        ..report(request_id, ErrorCode::ShuttingDown, message)
    }
}

/// The requests under way, each with the session's hold on it and its caller's permit. Locks are held for a look-up only.
#[derive(Debug, Clone, Default)]
struct InFlight(Arc<Mutex<HashMap<RequestId, UnderWay>>>);

type UnderWay = (JobHandle, RequestPermit);

impl InFlight {
    fn lock(&self) -> MutexGuard<'_, HashMap<RequestId, UnderWay>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, request_id: RequestId, request: UnderWay, limit: u32) -> Result<(), ErrorReport> {
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
        requests.insert(request_id, request);
        Ok(())
    }

    fn end(&self, request_id: RequestId) {
        self.lock().remove(&request_id);
    }

    /// Does something with a request, if it is under way.
    fn with(&self, request_id: RequestId, act: impl FnOnce(&JobHandle)) {
        let handle = self.lock().get(&request_id).map(|(handle, _permit)| handle.clone());
        if let Some(handle) = handle {
            act(&handle);
        }
    }

    fn cancel_all(&self) {
        self.lock().values().for_each(|(handle, _permit)| handle.cancel());
    }
}
