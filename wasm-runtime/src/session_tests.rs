//! Courses of events of a session, cuts included.

use msao_protocol::{FinishReason, ModelInfo, Receipt, Token};
use proptest::prelude::*;

use super::*;

fn ask(request_id: RequestId) -> Ask {
    Ask { request_id, question: "what color?".into(), images: vec![], audio: None, max_new_tokens: 8 }
}

fn welcome() -> ServerMessage {
    let model = ModelInfo { name: "m".into(), parameters: 1, device: "cpu".into() };
    ServerMessage::Welcome { session_id: "s".into(), model, limits: Limits::default() }
}

fn token(request_id: RequestId) -> ServerMessage {
    ServerMessage::Token {
        request_id,
        index: 0,
        token: Token { id: 5, text: " red".into(), probability: 0.9 },
    }
}

fn done(request_id: RequestId) -> ServerMessage {
    ServerMessage::Done {
        request_id,
        text: "red".into(),
        finish_reason: FinishReason::Stop,
        receipt: Receipt::default(),
    }
}

fn receive(session: &mut Session, message: &ServerMessage) -> Vec<CloudEvent> {
    session.received(&frame::encode(message).unwrap(), 0.0)
}

fn sent(session: &mut Session) -> Vec<ClientMessage> {
    std::iter::from_fn(|| session.next_frame()).map(|bytes| frame::decode(&bytes).unwrap()).collect()
}

fn open() -> Session {
    let mut session = Session::new("test");
    reopen(&mut session);
    assert!(matches!(sent(&mut session)[..], [ClientMessage::Hello { .. }]));
    session
}

fn reopen(session: &mut Session) -> Vec<CloudEvent> {
    session.connecting();
    session.connected();
    receive(session, &welcome())
}

#[test]
fn a_question_asked_too_early_is_sent_after_the_welcome() {
    let mut session = Session::new("test");
    session.ask(ask(1)).unwrap();
    session.connecting();
    session.connected();
    assert!(matches!(sent(&mut session)[..], [ClientMessage::Hello { .. }]));
    receive(&mut session, &welcome());
    assert_eq!(sent(&mut session), [ClientMessage::Ask(ask(1))]);
}

#[test]
fn an_answer_passes_through_once() {
    let mut session = open();
    session.ask(ask(1)).unwrap();
    assert_eq!(receive(&mut session, &token(1)).len(), 1);
    assert_eq!(receive(&mut session, &done(1)).len(), 1);
    assert_eq!(receive(&mut session, &done(1)), []);
    assert_eq!(receive(&mut session, &token(9)), [], "nobody asked");
}

#[test]
fn a_cut_before_the_answer_sends_the_question_once_more() {
    let mut session = open();
    session.ask(ask(1)).unwrap();
    sent(&mut session);
    let (events, _) = session.closed("cut");
    assert!(matches!(events[..], [CloudEvent::Disconnected { .. }]));

    let events = reopen(&mut session);
    assert!(events.contains(&CloudEvent::Resent { request_id: 1 }));
    assert!(sent(&mut session).contains(&ClientMessage::Ask(ask(1))));

    let (events, _) = session.closed("cut again");
    assert!(
        matches!(&events[1], CloudEvent::Failed(failure) if failure.retryable && failure.request_id == Some(1))
    );
    assert_eq!(reopen(&mut session).len(), 1, "only the welcome");
}

#[test]
fn a_cut_in_the_middle_of_the_answer_is_told() {
    let mut session = open();
    session.ask(ask(1)).unwrap();
    receive(&mut session, &token(1));
    let (events, _) = session.closed("cut");
    let [_, CloudEvent::Failed(failure)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(failure.cause, CloudFailureCause::ConnectionLost);
}

#[test]
fn a_server_that_stays_away_is_not_waited_for_forever() {
    let mut session = Session::new("test");
    session.ask(ask(1)).unwrap();
    let mut pauses = Vec::new();
    for attempt in 1..=ATTEMPTS_BEFORE_GIVING_UP {
        session.connecting();
        let (events, pause) = session.closed("away");
        pauses.push(pause);
        assert_eq!(events.len(), if attempt == ATTEMPTS_BEFORE_GIVING_UP { 2 } else { 1 });
    }
    assert_eq!(pauses, [500, 1_000, 2_000, 4_000]);
    assert_eq!(pause_ms(u32::MAX), LONGEST_PAUSE_MS);
}

#[test]
fn a_silent_server_counts_as_cut() {
    let mut session = open();
    assert!(session.tick(0.0).is_ok());
    let nonce = session.ping.nonce;
    let events = session.received(&frame::encode(&ServerMessage::Pong { nonce }).unwrap(), 12.5);
    assert_eq!(events, [CloudEvent::RoundTrip { rtt_ms: 12.5 }]);
    assert!(session.tick(20.0).is_ok());
    assert!(session.tick(30.0).is_ok());
    assert!(session.tick(40.0).is_err());
}

#[test]
fn a_cancelled_question_that_waits_is_forgotten() {
    let mut session = Session::new("test");
    session.ask(ask(1)).unwrap();
    assert!(!session.cancel(1));
    reopen(&mut session);
    assert_eq!(sent(&mut session).len(), 1, "only the greeting");
    session.ask(ask(2)).unwrap();
    assert!(session.cancel(2));
    assert_eq!(sent(&mut session)[1], ClientMessage::Cancel { request_id: 2 });
}

#[test]
fn bytes_are_counted_with_their_headers() {
    let mut session = open();
    let before = session.traffic();
    session.ask(ask(1)).unwrap();
    let frame_bytes = session.next_frame().unwrap().len() as u64;
    assert_eq!(session.traffic().sent_bytes - before.sent_bytes, frame_bytes);
    session.received(&[1, 2, 3], 0.0);
    assert_eq!(session.traffic().received_bytes - before.received_bytes, 3);
}

#[derive(Debug, Clone)]
enum Step {
    Ask,
    Open,
    Cut,
    Token(RequestId),
    Done(RequestId),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        Just(Step::Ask),
        Just(Step::Open),
        Just(Step::Cut),
        (0..8_u32).prop_map(Step::Token),
        (0..8_u32).prop_map(Step::Done),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    /// However often the session is cut, each question ends exactly once: answered or failed.
    #[test]
    fn every_question_ends_exactly_once(steps in steps()) {
        let mut session = Session::new("test");
        let mut asked = 0;
        let mut ends = Vec::new();
        let mut note = |events: Vec<CloudEvent>| ends.extend(events.into_iter().filter_map(|event| match event {
            CloudEvent::Done { request_id, .. } => Some(request_id),
            CloudEvent::Failed(failure) => failure.request_id,
            _ => None,
        }));
        for step in steps {
            match step {
                Step::Ask => { session.ask(ask(asked)).unwrap(); asked += 1; }
                Step::Open if !session.is_open() => note(reopen(&mut session)),
                Step::Cut => note(session.closed("cut").0),
                Step::Token(id) if session.is_open() => note(receive(&mut session, &token(id))),
                Step::Done(id) if session.is_open() => note(receive(&mut session, &done(id))),
                _ => (),
            }
        }
        for _ in 0..=ATTEMPTS_BEFORE_GIVING_UP {
            session.connecting();
            note(session.closed("away").0);
        }
        ends.sort_unstable();
        prop_assert_eq!(ends, (0..asked).collect::<Vec<_>>());
    }
}
