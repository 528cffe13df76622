//! Courses of events of a session, cuts included.

use msao_protocol::{
    AudioInput, FinishReason, ImageGrid, ImageInput, Media, MediaKind, Modality, ModelInfo, PictureSize,
    Receipt, SettledToken, Speculation, Token, TokenFate, TokenOrigin, TokenSource, Vocabulary,
};
use proptest::prelude::{Just, Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;

fn ask(request_id: RequestId) -> Ask {
    Ask {
        speculation: Speculation::Distributed { patience_ms: 50 },
        ..Ask::new(request_id, "what color?", 8)
    }
}

fn waiting_ask(request_id: RequestId) -> Ask {
    Ask { pending: vec![Modality::Vision, Modality::Audio], ..ask(request_id) }
}

fn attach(request_id: RequestId) -> Attach {
    Attach {
        request_id,
        images: vec![ImageInput::Whole(Media { kind: MediaKind::Png, bytes: vec![1, 2] })],
        clip: None,
        audio: Some(AudioInput::Whole(Media { kind: MediaKind::Wav, bytes: vec![3] })),
    }
}

fn whole_ask(request_id: RequestId) -> Ask {
    let Attach { images, audio, .. } = attach(request_id);
    Ask { images, audio, ..ask(request_id) }
}

fn draft(request_id: RequestId) -> Draft {
    Draft { request_id, revision: 0, start: 0, tokens: vec![5, 2], distributions: Vec::new(), is_last: true }
}

fn welcome() -> ServerMessage {
    let model = ModelInfo {
        name: "m".into(),
        parameters: 1,
        device: "cpu".into(),
        image: ImageGrid { side_px: 192, tokens_per_side: 6 },
        audio: None,
        co_located_draft: false,
        vocabulary: Vocabulary::default(),
        pictures: PictureSize::default(),
        clips: None,
    };
    ServerMessage::Welcome { session_id: "s".into(), model, limits: Limits::default() }
}

fn token() -> Token {
    Token { id: 5, text: " red".into(), probability: 0.9 }
}

fn settled(request_id: RequestId) -> ServerMessage {
    let origin = TokenOrigin { source: TokenSource::EdgeDraft, fate: TokenFate::Accepted };
    let tokens = vec![SettledToken { token: token(), origin }];
    ServerMessage::Settled { request_id, start: 0, tokens, revision: 0 }
}

fn proposed(request_id: RequestId) -> ServerMessage {
    ServerMessage::Proposed { request_id, start: 0, tokens: vec![token()] }
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

fn frames(session: &mut Session, now_ms: f64) -> Vec<Outgoing> {
    std::iter::from_fn(|| session.next_frame(now_ms)).collect()
}

fn sent(session: &mut Session) -> Vec<ClientMessage> {
    frames(session, 0.0).iter().map(|outgoing| frame::decode(&outgoing.bytes).unwrap()).collect()
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
    assert_eq!(receive(&mut session, &settled(1)).len(), 1);
    assert_eq!(receive(&mut session, &done(1)).len(), 1);
    assert_eq!(receive(&mut session, &done(1)), []);
    assert_eq!(receive(&mut session, &settled(9)), [], "nobody asked");
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
    receive(&mut session, &settled(1));
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
    assert!(session.tick().is_ok());
    assert!(session.tick().is_ok());
    assert!(session.tick().is_err());
}

fn pong(session: &mut Session, now_ms: f64) -> Vec<CloudEvent> {
    let nonce = session.ping.nonce;
    session.received(&frame::encode(&ServerMessage::Pong { nonce }).unwrap(), now_ms)
}

#[test]
fn greeting_and_ping_measure_the_round_trip_from_when_they_were_handed_over() {
    let mut session = Session::new("test");
    session.connecting();
    session.connected();
    assert_eq!(frames(&mut session, 100.0).len(), 1);
    let events = session.received(&frame::encode(&welcome()).unwrap(), 130.0);
    assert!(matches!(events[..], [CloudEvent::Connected { .. }, CloudEvent::RoundTrip { rtt_ms: 30.0 }]));
    session.tick().unwrap();
    assert_eq!(frames(&mut session, 1_000.0).len(), 1);
    assert_eq!(pong(&mut session, 1_012.5), [CloudEvent::RoundTrip { rtt_ms: 12.5 }]);
    assert_eq!(pong(&mut session, 1_020.0), [], "each measures once");
}

#[test]
fn what_an_upload_or_an_answer_may_have_held_up_measures_nothing() {
    let mut session = open();
    session.tick().unwrap();
    session.ask(ask(1)).unwrap();
    assert_eq!(frames(&mut session, 10.0).len(), 2);
    assert_eq!(pong(&mut session, 500.0), [], "the question went out behind the ping");
    session.tick().unwrap();
    assert_eq!(frames(&mut session, 600.0).len(), 1);
    assert_eq!(pong(&mut session, 900.0), [], "the server is at work");
    receive(&mut session, &done(1));
    session.tick().unwrap();
    assert_eq!(frames(&mut session, 1_000.0).len(), 1);
    assert_eq!(pong(&mut session, 1_010.0), [CloudEvent::RoundTrip { rtt_ms: 10.0 }]);
}

#[test]
fn media_follow_their_question() {
    let mut session = open();
    session.ask(waiting_ask(1)).unwrap();
    assert_eq!(sent(&mut session), [ClientMessage::Ask(waiting_ask(1))]);
    let events = receive(&mut session, &proposed(1));
    assert_eq!(events, [CloudEvent::Proposed { request_id: 1, start: 0, tokens: vec![token()] }]);
    assert_eq!(session.attach(attach(1)), Ok(true));
    assert_eq!(sent(&mut session), [ClientMessage::Attach(attach(1))]);
    assert_eq!(session.attach(attach(1)), Ok(false), "they were all");
    receive(&mut session, &done(1));
    assert_eq!(receive(&mut session, &proposed(1)), [], "late");
    assert_eq!(session.attach(attach(1)), Ok(false), "over");
}

#[test]
fn a_question_that_is_sent_again_takes_its_attached_media_along_and_no_drafts() {
    let mut session = open();
    session.ask(waiting_ask(1)).unwrap();
    assert!(session.draft(draft(1)));
    session.attach(attach(1)).unwrap();
    assert_eq!(sent(&mut session).len(), 3);
    receive(&mut session, &proposed(1));
    session.closed("cut");
    assert!(!session.draft(draft(1)), "nobody works on it");
    assert!(reopen(&mut session).contains(&CloudEvent::Resent { request_id: 1 }));
    assert_eq!(sent(&mut session)[1..], [ClientMessage::Ask(whole_ask(1))]);
    assert!(session.draft(draft(1)));
    assert_eq!(sent(&mut session), [ClientMessage::Draft(draft(1))]);
}

#[test]
fn media_attached_during_a_cut_go_with_the_question() {
    let mut session = open();
    session.ask(waiting_ask(1)).unwrap();
    sent(&mut session);
    session.closed("cut");
    assert_eq!(session.attach(attach(1)), Ok(true));
    reopen(&mut session);
    assert_eq!(sent(&mut session)[1..], [ClientMessage::Ask(whole_ask(1))]);
}

#[test]
fn media_that_exceed_the_limits_leave_the_question_as_it_was() {
    let mut session = open();
    session.ask(waiting_ask(1)).unwrap();
    sent(&mut session);
    let many = Attach { images: vec![attach(1).images[0].clone(); 9], ..attach(1) };
    assert_eq!(session.attach(many).unwrap_err().code, ErrorCode::TooManyImages);
    assert_eq!(sent(&mut session), []);
    assert_eq!(session.attach(attach(1)), Ok(true));
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
    let outgoing = session.next_frame(0.0).unwrap();
    let frame_bytes = outgoing.bytes.len() as u64;
    assert_eq!(outgoing.event, Some(CloudEvent::Sent { request_id: 1, frame_bytes }));
    assert_eq!(session.traffic().sent_bytes - before.sent_bytes, frame_bytes);
    session.received(&[1, 2, 3], 0.0);
    assert_eq!(session.traffic().received_bytes - before.received_bytes, 3);
}

#[derive(Debug, Clone)]
enum Step {
    Ask,
    Open,
    Cut,
    Attach(RequestId),
    Draft(RequestId),
    Proposed(RequestId),
    Settled(RequestId),
    Done(RequestId),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        Just(Step::Ask),
        Just(Step::Open),
        Just(Step::Cut),
        (0..8_u32).prop_map(Step::Attach),
        (0..8_u32).prop_map(Step::Draft),
        (0..8_u32).prop_map(Step::Proposed),
        (0..8_u32).prop_map(Step::Settled),
        (0..8_u32).prop_map(Step::Done),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    /// However often the session is cut, each question ends exactly once: answered or failed. Drafts and media are
    /// sent only behind their question, and media once in a session.
    #[test]
    fn every_question_ends_exactly_once(steps in steps()) {
        let mut session = Session::new("test");
        let mut asked = 0;
        let mut ends = Vec::new();
        // Questions of this session, and whether their media are there.
        let mut known: Vec<(RequestId, bool)> = Vec::new();
        let mut note = |events: Vec<CloudEvent>| ends.extend(events.into_iter().filter_map(|event| match event {
            CloudEvent::Done { request_id, .. } => Some(request_id),
            CloudEvent::Failed(failure) => failure.request_id,
            _ => None,
        }));
        for step in steps {
            match step {
                Step::Ask => { session.ask(waiting_ask(asked)).unwrap(); asked += 1; }
                Step::Attach(id) => { session.attach(attach(id)).unwrap(); }
                Step::Draft(id) => { session.draft(draft(id)); }
                Step::Open if !session.is_open() => note(reopen(&mut session)),
                Step::Cut => note(session.closed("cut").0),
                Step::Proposed(id) if session.is_open() => note(receive(&mut session, &proposed(id))),
                Step::Settled(id) if session.is_open() => note(receive(&mut session, &settled(id))),
                Step::Done(id) if session.is_open() => note(receive(&mut session, &done(id))),
                _ => (),
            }
            for message in sent(&mut session) {
                match message {
                    ClientMessage::Hello { .. } => known.clear(),
                    ClientMessage::Ask(ask) => known.push((ask.request_id, !ask.images.is_empty())),
                    ClientMessage::Draft(draft) => {
                        prop_assert!(known.iter().any(|(id, _)| *id == draft.request_id));
                    }
                    ClientMessage::Attach(attach) => {
                        let ask = known.iter_mut().find(|(id, _)| *id == attach.request_id);
                        let (_, has_media) = ask.expect("media follow their question");
                        prop_assert!(!std::mem::replace(has_media, true));
                    }
                    ClientMessage::Steer { request_id, .. } => {
                        prop_assert!(known.iter().any(|(id, _)| *id == request_id));
                    }
                    ClientMessage::Verify(_) => prop_assert!(false, "nothing here verifies by itself"),
                    ClientMessage::Cancel { .. } | ClientMessage::Ping { .. } => (),
                }
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

#[test]
fn every_frame_is_noted_with_its_size_until_somebody_takes_it() {
    let mut session = Session::new("test");
    session.connecting();
    session.connected();
    let hello: u64 = frames(&mut session, 3.0).iter().map(|outgoing| outgoing.bytes.len() as u64).sum();
    receive(&mut session, &welcome());
    session.ask(ask(1)).unwrap();
    let asked: u64 = frames(&mut session, 8.0).iter().map(|outgoing| outgoing.bytes.len() as u64).sum();
    receive(&mut session, &done(1));
    session.received(b"no frame", 9.0);
    let noted: Vec<_> = std::iter::from_fn(|| session.take_crossed()).collect();
    let kinds: Vec<_> = noted.iter().map(|frame| frame.kind).collect();
    use FrameKind::{Done, Hello, Question, Unreadable, Welcome};
    assert_eq!(kinds, [Hello, Welcome, Question, Done, Unreadable]);
    assert_eq!((noted[0].bytes, noted[0].at_ms), (hello, 3.0));
    assert_eq!((noted[2].bytes, noted[2].request_id, noted[2].at_ms), (asked, Some(1), 8.0));
    let (sent, received): (Vec<_>, Vec<_>) = noted.iter().partition(|frame| frame.kind.is_sent());
    let bytes = |frames: &[&FrameRecord]| frames.iter().map(|frame| frame.bytes).sum::<u64>();
    let traffic = session.traffic();
    assert_eq!((bytes(&sent), bytes(&received)), (traffic.sent_bytes, traffic.received_bytes));
}
