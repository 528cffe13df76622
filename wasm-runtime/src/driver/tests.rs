//! Questions played through, with both models played by the test.

use msao_planner::EngineKind;
use msao_protocol::{
    AnswerMode, Clip, ClipSampling, FinishReason, ImageGrid, ImageInput, KeepMask, KeptParts, Limits,
    MasReceipt, Media, MediaKind, Modality, ModelInfo, PictureSize, PlanReason, Policy, Receipt,
    SettledToken, Speculation, Strategy, Token, TokenFate, TokenOrigin, TokenSource, Vocabulary,
};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::{
    cloud_events::{CloudEvent, CloudFailure, CloudFailureCause},
    messages::{EdgeDone, EdgeErrorCode, EdgeFailure, Kept, Ready, RgbaPixels, WorkerEvent, WorkerRequest},
    scored::{ModalityScores, PrunedImage, Scored, SplitPicture},
};

const WORDS: [&str; 3] = [" a", " red", " star"];

fn model() -> ModelInfo {
    ModelInfo {
        name: "target".into(),
        parameters: 20_000_000,
        device: "cpu".into(),
        image: ImageGrid { side_px: 192, tokens_per_side: 6 },
        audio: None,
        co_located_draft: false,
        vocabulary: Vocabulary::default(),
        pictures: PictureSize::default(),
        clips: None,
    }
}

fn ready(has_probe: bool) -> WorkerEvent {
    WorkerEvent::Ready(Ready {
        engine: EngineKind::Simd,
        threads: 1,
        adapter: None,
        model: "edge".into(),
        parameters: 1_000_000,
        has_probe,
        vocabulary: Vocabulary::default(),
        weights_bytes: 0,
        from_cache: false,
        kept: Kept::Disk,
        download_ms: 0.0,
        load_ms: 0.0,
        warm_up_ms: 0.0,
    })
}

fn connected() -> CloudEvent {
    CloudEvent::Connected { session_id: "1".into(), model: model(), limits: Limits::default() }
}

fn driver(edge: bool, cloud: bool, settings: Settings) -> Driver {
    let mut driver = Driver::new(settings, 1);
    if edge {
        driver.edge_event(ready(true), 0.0);
    }
    if cloud {
        driver.cloud_event(connected(), 0.0);
    }
    driver
}

fn picture() -> Media {
    Media { kind: MediaKind::Png, bytes: vec![0; 20_000] }
}

fn question() -> Question {
    Question {
        text: "what is red?".into(),
        images: vec![picture()],
        max_new_tokens: 16,
        ..Question::default()
    }
}

fn scored(relevance: f32) -> Scored {
    let mask = KeepMask::new(&[true; 36]);
    Scored {
        modalities: vec![ModalityScores {
            modality: Modality::Vision,
            mas: MasReceipt { relevance, density: 0.3, mas: 1.0 - relevance * 0.3, ..MasReceipt::default() },
            kept: KeptParts::default(),
            patch_probabilities: vec![],
        }],
        images: vec![PrunedImage {
            split: None,
            frame: 0,
            mask,
            tiles: RgbaPixels { width: 4, height: 4, pixels: vec![0; 64] },
        }],
        ..Scored::default()
    }
}

fn token(index: usize) -> Token {
    Token { id: index as u32 + 1, text: WORDS[index].into(), probability: 0.9 }
}

fn settled(index: usize, fate: TokenFate) -> SettledToken {
    let source = if fate == TokenFate::Accepted { TokenSource::EdgeDraft } else { TokenSource::Target };
    SettledToken { token: token(index), origin: TokenOrigin { source, fate } }
}

fn edge_token(request_id: RequestId, index: usize) -> WorkerEvent {
    let token = token(index);
    WorkerEvent::Token { request_id, revision: 0, index: index as u32, token, candidates: Vec::new() }
}

fn edge_done(request_id: RequestId) -> WorkerEvent {
    WorkerEvent::Done(EdgeDone {
        request_id,
        text: WORDS.concat(),
        finish_reason: FinishReason::Stop,
        receipt: Receipt { completion_tokens: 3, flops: 5, ..Receipt::default() },
        engine: EngineKind::Simd,
        revision: 0,
    })
}

fn released(request_id: RequestId) -> WorkerEvent {
    WorkerEvent::Released { request_id, receipt: Receipt { flops: 7, ..Receipt::default() } }
}

fn cloud_done(request_id: RequestId) -> CloudEvent {
    let receipt = Receipt { prompt_tokens: 9, completion_tokens: 3, flops: 11, ..Receipt::default() };
    CloudEvent::Done { request_id, text: " a red star".into(), finish_reason: FinishReason::Stop, receipt }
}

fn cloud_lost(request_id: RequestId) -> CloudEvent {
    CloudEvent::Failed(CloudFailure {
        request_id: Some(request_id),
        cause: CloudFailureCause::ConnectionLost,
        message: "cut".into(),
        retryable: true,
        retry_after_ms: None,
    })
}

/// What was told last that is of this kind.
fn told<'a, T>(actions: &'a [Action], of: impl Fn(&'a Told) -> Option<T>) -> Option<T> {
    actions.iter().rev().find_map(|action| match action {
        Action::Tell(told) => of(told),
        _ => None,
    })
}

fn done(actions: &[Action]) -> Option<(&str, &AnswerReceipt)> {
    told(actions, |told| match told {
        Told::Done { text, receipt, .. } => Some((text.as_str(), &**receipt)),
        _ => None,
    })
}

fn failed(actions: &[Action]) -> Option<FailureCode> {
    told(actions, |told| match told {
        Told::Failed { failure, .. } => Some(failure.code),
        _ => None,
    })
}

fn asked_of_cloud(actions: &[Action]) -> Option<&msao_protocol::Ask> {
    actions.iter().find_map(|action| if let Action::AskCloud(ask) = action { Some(&**ask) } else { None })
}

/// Looks, encodes what is kept and hands the question over.
fn hand_over(driver: &mut Driver, request_id: RequestId) -> Vec<Action> {
    let mut actions = driver.edge_event(WorkerEvent::Scored { request_id, scored: scored(0.9) }, 5.0);
    if actions.iter().any(|action| matches!(action, Action::Encode(..))) {
        actions.extend(driver.encoded(request_id, Some(vec![vec![1; 900]]), 6.0));
    }
    if asked_of_cloud(&actions).is_some() {
        actions.extend(driver.handed_over(request_id, Ok(()), 7.0));
    }
    actions
}

#[test]
fn the_times_of_a_video_go_with_its_frames_to_models_that_read_them_only() {
    let clips = ClipSampling { fps: 1.0, max_frames: 8, longest_edge_px: 64 };
    for reads in [true, false] {
        let mut driver = driver(true, false, Settings::default());
        let model = ModelInfo { clips: reads.then_some(clips), ..model() };
        driver.cloud_event(
            CloudEvent::Connected { session_id: "s".into(), model, limits: Limits::default() },
            0.0,
        );
        let clip = Clip { duration_ms: 2_000, times_ms: vec![0, 1_900] };
        let film = Question { images: vec![picture(); 2], clip: Some(clip), ..question() };
        let (id, actions) = driver.ask(film, 0.0).unwrap();
        assert!(
            matches!(&actions[..], [Action::AskEdge(header)] if header.clip.is_some()),
            "the device decides itself"
        );
        let actions = hand_over(&mut driver, id);
        let ask = asked_of_cloud(&actions).expect("the cloud is asked");
        // Of the two frames the first is kept.
        let kept = Clip { duration_ms: 2_000, times_ms: vec![0] };
        assert_eq!((ask.images.len(), &ask.clip), (1, &reads.then_some(kept)));
    }
}

#[test]
fn what_the_question_needs_is_sent_and_the_cloud_s_answer_is_told_once() {
    let mut driver = driver(true, true, Settings::default());
    let (id, actions) = driver.ask(question(), 0.0).unwrap();
    assert!(
        matches!(&actions[..], [Action::AskEdge(header)] if header.awaits_target && header.target.is_some())
    );
    let actions = hand_over(&mut driver, id);
    let ask = asked_of_cloud(&actions).expect("the cloud is asked");
    assert!(matches!(&ask.images[..], [ImageInput::Kept(kept)] if kept.tiles.bytes.len() == 900));

    let proposed = driver.edge_event(edge_token(id, 0), 8.0);
    let tokens = told(&proposed, |told| match told {
        Told::Answer { tokens, .. } => Some(tokens.clone()),
        _ => None,
    });
    assert!(matches!(&tokens.unwrap()[..], [one] if !one.settled && one.fate.is_none()), "{proposed:?}");

    let tokens = (0..3).map(|index| settled(index, TokenFate::Written)).collect();
    driver.cloud_event(CloudEvent::Settled { request_id: id, start: 0, tokens, revision: 0 }, 20.0);
    let actions = driver.cloud_event(cloud_done(id), 21.0);
    assert!(actions.contains(&Action::TellEdge(WorkerRequest::Cancel { request_id: id })), "{actions:?}");
    assert_eq!(done(&actions), None, "the device's receipt belongs to the answer's");
    let actions = driver.edge_event(released(id), 22.0);
    let (text, receipt) = done(&actions).expect("the end");
    assert_eq!((text, receipt.edge.as_ref().unwrap().flops), ("a red star", 7));
    assert_eq!((receipt.first_token_ms, receipt.total_ms), (Some(20.0), Some(22.0)));
    assert_eq!(driver.under_way(), 0);
    assert!(driver.edge_event(edge_token(id, 1), 23.0).is_empty(), "what comes late is ignored");
}

#[test]
fn tiles_are_left_out_where_that_is_asked_for_without_a_probe_too() {
    let splits = || {
        let mut driver = driver(true, true, Settings::default());
        driver.edge_event(ready(false), 0.0);
        let target = driver.target.as_mut().unwrap();
        target.pictures = PictureSize { longest_edge_px: 256, tile_px: 64 };
        driver
    };
    let mut unasked = splits();
    let (_, actions) = unasked.ask(question(), 0.0).unwrap();
    assert!(asked_of_cloud(&actions).is_some_and(|ask| matches!(&ask.images[..], [ImageInput::Whole(_)])));

    let mut driver = splits();
    let wished = Question { prune_tiles: Some(true), ..question() };
    let (id, actions) = driver.ask(wished, 0.0).unwrap();
    let [Action::AskEdge(header)] = &actions[..] else { panic!("{actions:?}") };
    assert!(header.target.unwrap().has_tiles());
    let mut scored = scored(1.0);
    let whole = RgbaPixels { width: 2, height: 2, pixels: vec![0; 16] };
    scored.images[0].mask = KeepMask::new(&[true, false, false, true]);
    scored.images[0].split = Some(SplitPicture { rows: 2, columns: 2, whole: whole.clone() });
    let actions = driver.edge_event(WorkerEvent::Scored { request_id: id, scored }, 5.0);
    let pictures: Vec<_> = actions
        .iter()
        .filter_map(|action| if let Action::Encode(_, tiles) = action { Some(tiles) } else { None })
        .flatten()
        .collect();
    assert!(matches!(&pictures[..], [_, second] if second.pixels == whole), "{actions:?}");
    let mut short = driver.running[&id].scored.clone();
    let actions = driver.encoded(id, Some(vec![vec![1; 900], vec![2; 30]]), 6.0);
    let ask = asked_of_cloud(&actions).expect("the cloud is asked");
    let [ImageInput::Tiles(tiled)] = &ask.images[..] else { panic!("{:?}", ask.images) };
    assert_eq!((tiled.rows, tiled.columns, tiled.mask.kept()), (2, 2, 2));
    assert_eq!((tiled.picture.bytes.len(), tiled.whole.bytes.len()), (900, 30));
    assert_eq!(ask.bytes(Modality::Vision), 930);
    assert!(
        short.images.remove(0).into_input(&mut [picture()].into_iter()).is_none(),
        "the whole is missing"
    );
}

#[test]
fn frames_that_say_nothing_new_stay_here_without_a_probe_and_the_others_go_as_they_are() {
    let clips = ClipSampling { fps: 1.0, max_frames: 8, longest_edge_px: 64 };
    let clip = Clip { duration_ms: 3_000, times_ms: vec![0, 1_000, 2_000] };
    let frames: Vec<Media> = (0..3).map(|frame| Media { bytes: vec![frame; 20_000], ..picture() }).collect();
    let film =
        |wish| Question { images: frames.clone(), clip: Some(clip.clone()), prune_tiles: wish, ..question() };
    let mut driver = driver(true, true, Settings::default());
    driver.edge_event(ready(false), 0.0);
    driver.target.as_mut().unwrap().clips = Some(clips);
    let (_, actions) = driver.ask(film(None), 0.0).unwrap();
    let ask = asked_of_cloud(&actions).expect("nobody wished it");
    assert_eq!((ask.images.len(), &ask.clip), (3, &Some(clip.clone())));

    let (id, actions) = driver.ask(film(Some(true)), 0.0).unwrap();
    let [Action::AskEdge(header)] = &actions[..] else { panic!("{actions:?}") };
    let target = header.target.unwrap();
    assert!(target.drops_frames && !target.has_tiles());
    let scored = Scored { images: Vec::new(), whole_frames: vec![0, 2], ..scored(1.0) };
    let actions = driver.edge_event(WorkerEvent::Scored { request_id: id, scored }, 5.0);
    let ask = asked_of_cloud(&actions).expect("nothing is to be encoded");
    let whole = |frame: usize| ImageInput::Whole(frames[frame].clone());
    assert_eq!((&ask.images, &ask.clip), (&vec![whole(0), whole(2)], &Some(clip.only([0, 2]))));
}

#[test]
fn a_lock_that_is_set_while_squares_are_encoded_holds() {
    let mut driver = driver(true, true, Settings::default());
    let (id, _) = driver.ask(question(), 0.0).unwrap();
    let actions = driver.edge_event(WorkerEvent::Scored { request_id: id, scored: scored(0.9) }, 5.0);
    assert!(actions.iter().any(|action| matches!(action, Action::Encode(..))), "{actions:?}");
    let locks = Locks { vision: true, ..Locks::default() };
    driver.set(Settings { locks, ..Settings::default() });
    let actions = driver.encoded(id, Some(vec![vec![1; 900]]), 6.0);
    assert_eq!(asked_of_cloud(&actions), None);
    // The device answers, as it would without a cloud.
    driver.edge_event(edge_token(id, 0), 7.0);
    let mut actions = driver.edge_event(edge_done(id), 8.0);
    actions.extend(driver.edge_event(released(id), 9.0));
    let (_, receipt) = done(&actions).expect("the device's answer");
    assert_eq!(receipt.plan.strategy, Strategy::EdgeOnly);
    assert_eq!(receipt.plan.modalities[0].sent_bytes, 0);
}

#[test]
fn locked_words_keep_everything_here_and_need_the_device() {
    let locks = Locks { text: true, ..Locks::default() };
    let settings = Settings { locks, ..Settings::default() };
    let mut both = driver(true, true, settings);
    let (id, actions) = both.ask(question(), 0.0).unwrap();
    assert!(matches!(&actions[..], [.., Action::AskEdge(header)] if !header.awaits_target), "{actions:?}");
    both.edge_event(edge_token(id, 0), 1.0);
    let actions = both.edge_event(edge_done(id), 2.0);
    assert_eq!(
        done(&actions).map(|(_, receipt)| receipt.plan.reason),
        Some(PlanReason::NeededModalityLocked)
    );
    let mut alone = driver(false, true, settings);
    let refused = alone.ask(question(), 0.0).unwrap_err();
    assert_eq!(refused.code, FailureCode::Own(OwnCode::PolicyUnavailable));
}

#[test]
fn tokens_of_a_device_that_answers_alone_stand_as_they_come() {
    let mut driver = driver(true, false, Settings::default());
    let (id, _) = driver.ask(Question { images: Vec::new(), ..question() }, 0.0).unwrap();
    let actions = driver.edge_event(edge_token(id, 0), 3.0);
    let stands = told(&actions, |told| match told {
        Told::Answer { tokens, .. } => Some((tokens[0].settled, tokens[0].fate)),
        _ => None,
    });
    assert_eq!(stands, Some((true, Some(TokenFate::Unverified))));
    let actions = driver.edge_event(edge_done(id), 4.0);
    assert_eq!(done(&actions).map(|(text, _)| text), Some("a red star"));
}

#[test]
fn a_cloud_that_fails_is_done_without_and_a_device_too() {
    let mut both = driver(true, true, Settings::default());
    let (id, _) = both.ask(question(), 0.0).unwrap();
    hand_over(&mut both, id);
    for index in 0..3 {
        both.edge_event(edge_token(id, index), 8.0);
    }
    both.edge_event(edge_done(id), 9.0);
    let mut actions = both.cloud_event(cloud_lost(id), 10.0);
    actions.extend(both.edge_event(released(id), 11.0));
    assert_eq!(done(&actions).map(|(text, _)| text), Some("a red star"), "{actions:?}");

    let (id, _) = both.ask(question(), 20.0).unwrap();
    let message = "lost".to_owned();
    let failure = EdgeFailure { request_id: None, code: EdgeErrorCode::EngineFailed, message, fits_as: None };
    let actions = both.edge_event(WorkerEvent::Error(failure), 21.0);
    let ask = asked_of_cloud(&actions).expect("the cloud is asked without the device");
    assert!(matches!(&ask.images[..], [ImageInput::Whole(_)]), "nobody has looked");
    both.handed_over(id, Ok(()), 22.0);
    let actions = both.cloud_event(cloud_lost(id), 23.0);
    assert_eq!(failed(&actions), Some(FailureCode::Own(OwnCode::ConnectionLost)), "nobody is left");
    assert_eq!(both.under_way(), 0);
}

#[test]
fn a_plan_is_told_and_nothing_is_sent() {
    let mut driver = driver(true, true, Settings::default());
    let (id, _) = driver.ask(Question { only_plan: true, ..question() }, 0.0).unwrap();
    let actions = driver.edge_event(WorkerEvent::Scored { request_id: id, scored: scored(0.9) }, 5.0);
    let planned = told(&actions, |told| match told {
        Told::Planned { receipt, .. } => Some(receipt.plan.modalities[0].action),
        _ => None,
    });
    assert!(planned.is_some_and(|action| action.leaves_device()), "{actions:?}");
    assert!(actions.contains(&Action::TellEdge(WorkerRequest::Cancel { request_id: id })));
    assert!(asked_of_cloud(&actions).is_none() && driver.under_way() == 0);
}

#[test]
fn earlier_turns_go_with_the_question_and_let_nothing_stand_by_itself() {
    let mode = AnswerMode::RiskControlled { epsilon: 0.5 };
    let mut driver = driver(true, true, Settings { mode, ..Settings::default() });
    let turn =
        Turn { images: Vec::new(), clip: None, audio: None, question: "a?".into(), answer: "b".into() };
    let (id, _) = driver.ask(Question { history: vec![turn.clone()], ..question() }, 0.0).unwrap();
    let actions = hand_over(&mut driver, id);
    assert_eq!(asked_of_cloud(&actions).map(|ask| ask.history.clone()), Some(vec![turn]));
    assert_eq!(driver.running[&id].request.receipt().unwrap().mode, AnswerMode::Verified);
}

#[test]
fn a_cancelled_question_is_over_at_once_on_both_sides() {
    let mut driver = driver(true, true, Settings::default());
    let (id, _) = driver.ask(question(), 0.0).unwrap();
    hand_over(&mut driver, id);
    let actions = driver.cancel(id);
    assert_eq!(
        actions,
        [Action::TellEdge(WorkerRequest::Cancel { request_id: id }), Action::CancelCloud(id)]
    );
    assert!(driver.cloud_event(cloud_done(id), 9.0).is_empty() && driver.cancel(id).is_empty());
}

proptest! {
    /// Whatever happens in whatever order, a question ends at most once, nothing is told behind the end but a better
    /// receipt, and what is locked is in no message.
    #[test]
    fn every_question_ends_at_most_once_and_no_lock_is_broken(
        events in proptest::collection::vec(0_usize..14, 1..40),
        policy in 0..Policy::ALL.len(),
        locked in any::<bool>(),
    ) {
        let locks = Locks { vision: locked, ..Locks::default() };
        let mut driver = driver(true, true, Settings { locks, policy: Policy::ALL[policy], ..Settings::default() });
        let Ok((id, mut actions)) = driver.ask(question(), 0.0) else { return Ok(()) };
        for (step, event) in events.into_iter().enumerate() {
            let now_ms = step as f64;
            let more = match event {
                0 => driver.edge_event(WorkerEvent::Scored { request_id: id, scored: scored(0.9) }, now_ms),
                index @ 1..=3 => driver.edge_event(edge_token(id, index - 1), now_ms),
                4 => driver.edge_event(edge_done(id), now_ms),
                5 => driver.edge_event(released(id), now_ms),
                6 => driver.encoded(id, Some(vec![vec![1; 900]]), now_ms),
                7 => driver.handed_over(id, Ok(()), now_ms),
                8 => {
                    let tokens = vec![settled(0, TokenFate::Accepted), settled(1, TokenFate::Corrected)];
                    driver.cloud_event(CloudEvent::Settled { request_id: id, start: 0, tokens, revision: 1 }, now_ms)
                }
                9 => driver.cloud_event(cloud_done(id), now_ms),
                10 => driver.cloud_event(cloud_lost(id), now_ms),
                11 => driver.cloud_event(CloudEvent::Resent { request_id: id }, now_ms),
                12 => driver.edge_event(WorkerEvent::Redrafted { request_id: id, revision: 1 }, now_ms),
                _ => {
                    let message = String::new();
                    let failure =
                        EdgeFailure { request_id: Some(id), code: EdgeErrorCode::EngineFailed, message, fits_as: None };
                    driver.edge_event(WorkerEvent::Error(failure), now_ms)
                }
            };
            actions.extend(more);
        }
        let is_end = |action: &Action| matches!(action, Action::Tell(Told::Done { .. } | Told::Failed { .. }));
        let ends: Vec<usize> = actions.iter().enumerate().filter(|(_, one)| is_end(one)).map(|(at, _)| at).collect();
        prop_assert!(ends.len() <= 1, "{:?}", ends);
        if let [end] = ends[..] {
            let answers = actions[end + 1..].iter().filter(|one| matches!(one, Action::Tell(Told::Answer { .. })));
            prop_assert_eq!(answers.count(), 0);
        }
        if locked {
            let sent = actions.iter().filter_map(|one| if let Action::AskCloud(ask) = one { Some(ask) } else { None });
            prop_assert!(sent.into_iter().all(|ask| ask.images.is_empty()));
        }
        let steered = actions.iter().any(|one| matches!(one, Action::Steer(_, Speculation::CoLocated { .. })));
        prop_assert!(!steered, "there is no draft model beside the target");
    }
}
