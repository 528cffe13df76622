//! The course of a question, played through.

use msao_protocol::{
    AudioGrid, ImageGrid, KeepMask, KeptImage, KeptParts, MasReceipt, Media, MediaKind, ModelInfo,
    PictureSize, PlanReason, Span, SpanKind, TokenFate, TokenOrigin, TokenSource, Vocabulary,
};
use proptest::prelude::{any, prop_assert, proptest};

use super::{
    risk_tests::{always_verifying, judged_knowledge},
    *,
};

fn target() -> ModelInfo {
    ModelInfo {
        name: "target".into(),
        parameters: 20_000_000,
        device: "cpu".into(),
        image: ImageGrid { side_px: 192, tokens_per_side: 6 },
        audio: Some(AudioGrid { sample_rate_hz: 16_000, window_samples: 1_280, tokens: 60 }),
        co_located_draft: false,
        vocabulary: Vocabulary::default(),
        pictures: PictureSize::default(),
        clips: None,
    }
}

pub(super) fn present(cloud: bool) -> Present {
    Present {
        edge_parameters: Some(1_000_000),
        edge_vocabulary: Vocabulary::default(),
        target: cloud.then(target),
    }
}

pub(super) fn knowledge() -> Knowledge {
    Knowledge::new(1)
}

pub(super) fn given(modality: Modality, locked: bool) -> Given {
    Given { modality, locked, whole_bytes: 40_000, target_tokens: 36, edge_tokens: 16 }
}

pub(super) fn terms(locked: [bool; 2], policy: Policy) -> Terms {
    Terms {
        request_id: 7,
        question: "what color is the star?".into(),
        given: vec![given(Modality::Vision, locked[0]), given(Modality::Audio, locked[1])],
        max_new_tokens: 32,
        sampling: None,
        policy,
        mode: AnswerMode::Verified,
    }
}

pub(super) fn scores(vision: f32, audio: f32) -> Vec<ModalityScores> {
    let one = |modality, relevance| ModalityScores {
        modality,
        mas: MasReceipt { relevance, density: 0.5, mas: 1.0 - relevance * 0.5, ..MasReceipt::default() },
        kept: KeptParts::default(),
        patch_probabilities: Vec::new(),
    };
    vec![one(Modality::Vision, vision), one(Modality::Audio, audio)]
}

pub(super) fn media() -> PreparedMedia {
    let png = |bytes| Media { kind: MediaKind::Png, bytes: vec![0; bytes] };
    PreparedMedia {
        images: vec![ImageInput::Kept(KeptImage { mask: KeepMask::new(&[true; 36]), tiles: png(900) })],
        clip: None,
        audio: Some(AudioInput::Whole(Media { kind: MediaKind::Wav, bytes: vec![0; 700] })),
    }
}

pub(super) fn token(id: u32, text: &str) -> Token {
    Token { id, text: text.into(), probability: 0.9 }
}

pub(super) fn settled(id: u32, text: &str, source: TokenSource, fate: TokenFate) -> SettledToken {
    SettledToken { token: token(id, text), origin: TokenOrigin { source, fate } }
}

fn shown(request: &OneRequest) -> Vec<(String, TokenState)> {
    request.answer().into_iter().map(|token| (token.text, token.state)).collect()
}

/// Plays the edge's part: `words` from `start` on under `revision`; returns what was to be done.
pub(super) fn edge_writes(
    request: &mut OneRequest,
    knowledge: &mut Knowledge,
    (revision, start): (u32, usize),
    words: &[(u32, &str)],
) -> Vec<Effect> {
    let mut effects = Vec::new();
    for (at, (id, text)) in words.iter().enumerate() {
        let written = (token(*id, text), Vec::new());
        effects.extend(request.edge_token(revision, (start + at) as u32, written, knowledge));
    }
    effects
}

pub(super) fn drafts(effects: &[Effect]) -> Vec<&Draft> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Draft(draft) => Some(draft),
            _ => None,
        })
        .collect()
}

pub(super) fn text(request: &OneRequest) -> String {
    request.answer().into_iter().map(|token| token.text).collect()
}

/// A question whose drafts come from the edge, asked.
fn distributed(knowledge: &mut Knowledge) -> OneRequest {
    let mut request = OneRequest::new(terms([false, false], Policy::Distributed));
    assert_eq!(request.plan(scores(0.9, 0.9), present(true), knowledge).unwrap(), [Effect::Ask]);
    assert!(matches!(request.ask(media(), &[]).unwrap().speculation, Speculation::Distributed { .. }));
    assert_eq!(request.asked(), []);
    request
}

pub(super) const ACCEPTED: (TokenSource, TokenFate) = (TokenSource::EdgeDraft, TokenFate::Accepted);
pub(super) const CORRECTED: (TokenSource, TokenFate) = (TokenSource::Target, TokenFate::Corrected);

pub(super) fn stands(id: u32, text: &str, (source, fate): (TokenSource, TokenFate)) -> SettledToken {
    settled(id, text, source, fate)
}

#[test]
fn what_is_not_needed_is_not_sent() {
    let mut request = OneRequest::new(terms([false, false], Policy::Msao));
    request.plan(scores(0.99, 0.001), present(true), &mut knowledge()).unwrap();
    assert_eq!(request.action(Modality::Audio), ModalityAction::Drop);
    let ask = request.ask(media(), &[]).unwrap();
    assert!(ask.audio.is_none() && ask.images.len() == 1);
    let receipt = request.receipt().unwrap();
    let audio = &receipt.modalities[1];
    assert_eq!((audio.sent_bytes, audio.cloud_only_bytes), (0, 40_000));
    assert_eq!(receipt.modalities[0].sent_bytes, 900);
}

#[test]
fn a_needed_locked_modality_keeps_the_question_on_the_device() {
    let mut knowledge = knowledge();
    let mut request = OneRequest::new(terms([true, false], Policy::Msao));
    let effects = request.plan(scores(0.99, 0.9), present(true), &mut knowledge).unwrap();
    assert_eq!(effects, [Effect::ReleaseEdge]);
    assert_eq!(request.strategy(), Some(Strategy::EdgeOnly));
    assert_eq!(request.ask(media(), &[]), None);
    edge_writes(&mut request, &mut knowledge, (0, 0), &[(1, "red")]);
    assert!(matches!(shown(&request)[0].1, TokenState::Proposed(_)));
    request.edge_done(0, Receipt::default(), &mut knowledge);
    assert!(request.is_complete());
    let origin = TokenOrigin { source: TokenSource::EdgeDraft, fate: TokenFate::Unverified };
    assert_eq!(shown(&request)[0].1, TokenState::Settled { origin, replaced: None });
    let receipt = request.receipt().unwrap();
    assert_eq!((receipt.tokens, receipt.reason), (vec![origin], PlanReason::NeededModalityLocked));
}

proptest! {
    #[test]
    fn no_lock_is_ever_broken(
        locked in any::<[bool; 2]>(), relevance in any::<[f32; 2]>(), policy in 0..Policy::ALL.len(),
        edge_ready in any::<bool>(), cloud in any::<bool>(), late in any::<bool>(), risky in any::<bool>(),
        probability in 0.0..1.0_f32, verify in any::<bool>(),
    ) {
        let mut knowledge = judged_knowledge();
        if verify {
            // Every answer that stands is verified.
            knowledge = always_verifying();
        }
        let mode = if risky { AnswerMode::RiskControlled { epsilon: 0.05 } } else { AnswerMode::Verified };
        let mut request = OneRequest::new(Terms { mode, ..terms(locked, Policy::ALL[policy]) });
        let now = Present { edge_parameters: edge_ready.then_some(1_000_000), ..present(cloud) };
        let scores = scores(relevance[0], relevance[1]);
        if let Ok(mut effects) = request.plan(scores, now, &mut knowledge) {
            let written = Token { id: 1, text: "red".into(), probability };
            effects.extend(request.edge_token(0, 0, (written, Vec::new()), &mut knowledge));
            effects.extend(request.edge_done(0, Receipt::default(), &mut knowledge));
            let late = if late { &[Modality::Vision, Modality::Audio][..] } else { &[] };
            if let Some(ask) = request.ask(media(), late) {
                prop_assert!(effects.contains(&Effect::Ask));
                prop_assert!(!(locked[0] && (!ask.images.is_empty() || ask.pending.contains(&Modality::Vision))));
                prop_assert!(!(locked[1] && (ask.audio.is_some() || ask.pending.contains(&Modality::Audio))));
            }
        }
    }
}

#[test]
fn the_edge_drafts_on_after_a_correction() {
    let mut knowledge = knowledge();
    let mut request = distributed(&mut knowledge);
    let mut effects =
        edge_writes(&mut request, &mut knowledge, (0, 0), &[(10, "a"), (11, " red"), (12, " star")]);
    effects.extend(request.edge_done(0, Receipt::default(), &mut knowledge));
    let proposed: Vec<u32> = drafts(&effects).iter().flat_map(|draft| draft.tokens.clone()).collect();
    assert_eq!(proposed, [10, 11, 12]);
    assert!(drafts(&effects).last().unwrap().is_last);
    assert_eq!(text(&request), "a red star");

    let tokens = vec![stands(10, "a", ACCEPTED), stands(99, " blue", CORRECTED)];
    let effects = request.settled(0, tokens, 1, &mut knowledge);
    let correction = Correction { revision: 1, start: 1, tokens: vec![99] };
    assert!(effects.contains(&Effect::CorrectEdge(correction)), "{effects:?}");
    assert_eq!(text(&request), "a blue");
    let corrected = &shown(&request)[1].1;
    assert!(matches!(corrected, TokenState::Settled { replaced: Some(text), .. } if text == " red"));

    // A token from before the edge heard of it, then those behind the correction.
    assert_eq!(edge_writes(&mut request, &mut knowledge, (0, 3), &[(13, "!")]), []);
    let mut effects = edge_writes(&mut request, &mut knowledge, (1, 2), &[(20, " sun")]);
    effects.extend(request.redrafted(1));
    let draft = drafts(&effects)[0];
    assert_eq!((draft.revision, draft.start, draft.tokens.as_slice()), (1, 2, &[20][..]));
    assert_eq!(text(&request), "a blue sun");
    request.settled(2, vec![stands(20, " sun", ACCEPTED)], 1, &mut knowledge);
    let effects = request.cloud_done(Receipt::default(), None, &mut knowledge);
    assert_eq!((effects.as_slice(), request.is_complete()), (&[Effect::ReleaseEdge][..], true));
    assert_eq!(text(&request), "a blue sun");
}

#[test]
fn a_whole_draft_that_is_there_in_time_is_verified_at_once() {
    let mut knowledge = knowledge();
    let mut request = OneRequest::new(terms([false, false], Policy::Msao));
    request.plan(scores(0.9, 0.9), present(true), &mut knowledge).unwrap();
    // Whatever was planned before: the target is to write by itself.
    request.strategy = Some(Strategy::Cloud);
    request.ask(media(), &[]).unwrap();
    request.asked();
    edge_writes(&mut request, &mut knowledge, (0, 0), &[(10, "a"), (11, " red"), (12, " star")]);
    let effects = request.edge_done(0, Receipt::default(), &mut knowledge);
    assert!(matches!(effects[0], Effect::Steer(Speculation::Distributed { .. })), "{effects:?}");
    assert_eq!((drafts(&effects)[0].tokens.len(), drafts(&effects)[0].is_last), (3, true));
    assert!(matches!(request.receipt().unwrap().changes[0].strategy, Strategy::Distributed { .. }));
}

#[test]
fn draft_lengths_follow_what_is_accepted() {
    let mut knowledge = knowledge();
    let before = knowledge.edge_acceptance();
    for round in 0..40 {
        let mut request = distributed(&mut knowledge);
        edge_writes(&mut request, &mut knowledge, (0, 0), &[(10, "a"), (11, " red")]);
        request.edge_done(0, Receipt::default(), &mut knowledge);
        let tokens = vec![stands(90 + round, "no", CORRECTED)];
        request.settled(0, tokens, 1, &mut knowledge);
        request.cloud_done(Receipt::default(), None, &mut knowledge);
    }
    assert!(knowledge.edge_acceptance() < 0.5 * before, "{}", knowledge.edge_acceptance());
    assert_eq!(knowledge.draft_tokens(), 1);
}

#[test]
fn drafting_is_given_up_when_it_does_not_pay() {
    let mut knowledge = knowledge();
    for _ in 0..200 {
        knowledge.edge_drafts_verified(1, 0);
    }
    knowledge.round_trip(0.0, 800.0);
    let mut request = OneRequest::new(terms([false, false], Policy::Msao));
    request.plan(scores(0.9, 0.9), present(true), &mut knowledge).unwrap();
    request.strategy = Some(Strategy::Distributed { draft_tokens: 4, pipelined: true });
    request.ask(media(), &[]).unwrap();
    request.asked();
    edge_writes(&mut request, &mut knowledge, (0, 0), &[(10, "a")]);
    let effects = request.settled(0, vec![stands(9, "the", CORRECTED)], 1, &mut knowledge);
    assert!(effects.contains(&Effect::Steer(Speculation::None)), "{effects:?}");
    let receipt = request.receipt().unwrap();
    assert_eq!((receipt.strategy, receipt.changes.len()), (Strategy::Cloud, 1));
    assert_eq!(receipt.changes[0].at_token, 1);
}

#[test]
fn a_proposal_on_partial_context_shows_until_it_is_settled() {
    let mut knowledge = knowledge();
    let mut request = OneRequest::new(terms([false, false], Policy::CloudOnly));
    request.plan(Vec::new(), present(true), &mut knowledge).unwrap();
    let ask = request.ask(PreparedMedia::default(), &[Modality::Vision]).unwrap();
    assert_eq!(ask.pending, [Modality::Vision]);
    let attach = request.attach(media()).unwrap();
    assert!(attach.images.len() == 1 && attach.audio.is_none(), "the sound was not announced");
    assert_eq!(request.receipt().unwrap().modalities[0].sent_bytes, 900);
    assert_eq!(request.attach(media()), None, "media follow once");
    request.proposed(0, vec![token(1, "no")]);
    request.proposed(1, vec![token(2, " picture")]);
    assert_eq!(shown(&request).len(), 2);
    request.settled(0, vec![stands(5, "red", CORRECTED)], 1, &mut knowledge);
    request.cloud_done(Receipt::default(), None, &mut knowledge);
    let [(text, state)] = &shown(&request)[..] else { panic!("one token") };
    assert_eq!(text, "red");
    assert!(matches!(state, TokenState::Settled { replaced: Some(text), .. } if text == "no"));
}

#[test]
fn a_question_that_is_sent_again_gets_its_drafts_again() {
    let mut knowledge = knowledge();
    let mut request = distributed(&mut knowledge);
    edge_writes(&mut request, &mut knowledge, (0, 0), &[(10, "a"), (11, " red")]);
    request.edge_done(0, Receipt::default(), &mut knowledge);
    request.settled(0, vec![stands(10, "a", ACCEPTED)], 0, &mut knowledge);
    let effects = request.resent();
    let [draft] = drafts(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!((draft.start, draft.tokens.as_slice(), draft.is_last), (0, &[10, 11][..], true));
}

#[test]
fn the_knowledge_learns_the_uplink_from_receipts() {
    let mut knowledge = knowledge();
    knowledge.round_trip(0.0, 40.0);
    let receipt = Receipt {
        prompt_tokens: 80,
        completion_tokens: 2,
        rounds: 2,
        spans: vec![Span { kind: SpanKind::Prefill, ms: 60.0 }, Span { kind: SpanKind::Decode, ms: 20.0 }],
        ..Receipt::default()
    };
    // 100 kB in 100 ms beside RTT and work: 1 MB/s.
    let trip = RoundTripOfAnswer { asked_bytes: 100_000, to_end_ms: 220.0 };
    knowledge.cloud_answered(Strategy::Cloud, &receipt, Some(trip));
    let estimates = knowledge.estimates();
    assert!((estimates.uplink_bytes_per_s - 1e6).abs() < 1e3, "{estimates:?}");
    assert_eq!((estimates.rtt_ms, estimates.target_decode_ms), (40.0, 10.0));
    // The server's draft model: 30 ms to read, 4 ms a token.
    for proposed in [1, 3, 6, 2, 5].repeat(4) {
        let ms = 30.0 + 4.0 * f64::from(proposed);
        let spans = vec![Span { kind: SpanKind::Propose, ms }];
        let receipt = Receipt { proposed_drafts: proposed, rounds: 1, spans, ..Receipt::default() };
        knowledge.cloud_answered(Strategy::CoLocated { draft_tokens: 4 }, &receipt, None);
    }
    let estimates = knowledge.estimates();
    assert!((estimates.co_located_prefill.ms(80.0) - 30.0).abs() < 1.5, "{estimates:?}");
    assert!((estimates.co_located_decode_ms - 4.0).abs() < 0.4, "{estimates:?}");
}

#[test]
fn work_is_priced_while_others_wait_for_the_server() {
    let mut knowledge = knowledge();
    let target = ModelInfo { co_located_draft: true, ..target() };
    let present = Present { target: Some(target), ..present(true) };
    // Two answers beside the target's drafts, each of 2 GFLOP; the queue is empty, then long.
    let mut answered = |queue_ms: f64| {
        for _ in 0..40 {
            let receipt = Receipt {
                prompt_tokens: 80,
                completion_tokens: 6,
                flops: 2_000_000_000,
                spans: vec![Span { kind: SpanKind::Queue, ms: queue_ms }],
                ..Receipt::default()
            };
            knowledge.cloud_answered(Strategy::Cloud, &receipt, None);
        }
        let mut request = OneRequest::new(terms([false, false], Policy::CoLocated));
        request.plan(scores(0.9, 0.9), present.clone(), &mut knowledge).unwrap();
        request.strategy().unwrap().draft_tokens()
    };
    let (idle, busy) = (answered(0.0), answered(2_000.0));
    assert!(busy < idle, "drafts that may be rejected cost others: {idle} tokens, then {busy}");
}

#[test]
fn without_the_cloud_the_edge_s_answer_counts() {
    let mut knowledge = knowledge();
    let mut request = OneRequest::new(terms([false, false], Policy::Msao));
    request.plan(scores(0.9, 0.9), present(true), &mut knowledge).unwrap();
    request.ask(media(), &[]).unwrap();
    request.asked();
    edge_writes(&mut request, &mut knowledge, (0, 0), &[(10, "red")]);
    request.edge_done(0, Receipt::default(), &mut knowledge);
    request.cloud_failed(&mut knowledge);
    assert!(request.is_complete());
    let receipt = request.receipt().unwrap();
    assert_eq!(receipt.changes.last().unwrap().reason, PlanReason::CloudAway);
    assert_eq!(receipt.strategy, Strategy::EdgeOnly);
}

/// The edge agrees with what is settled, or differs from it; either way it writes the rest.
#[test]
fn what_the_cloud_has_begun_the_edge_finishes_unverified() {
    for second in [(11, " red"), (21, " blue")] {
        let mut knowledge = knowledge();
        let mut request = OneRequest::new(terms([false, false], Policy::Msao));
        request.plan(scores(0.9, 0.9), present(true), &mut knowledge).unwrap();
        request.ask(media(), &[]).unwrap();
        request.asked();
        edge_writes(&mut request, &mut knowledge, (0, 0), &[(10, "a"), (11, " red"), (12, " star")]);
        request.edge_done(0, Receipt::default(), &mut knowledge);
        request.settled(0, vec![stands(10, "a", ACCEPTED)], 0, &mut knowledge);
        let corrected = (TokenSource::Target, TokenFate::Corrected);
        let (fate, revision) = if second.0 == 11 { (ACCEPTED, 0) } else { (corrected, 1) };
        let told = request.settled(1, vec![stands(second.0, second.1, fate)], revision, &mut knowledge);

        let effects = [told, request.cloud_failed(&mut knowledge)].concat();
        assert!(request.lost_its_cloud());
        assert!(effects.contains(&Effect::ReleaseEdge), "{effects:?}");
        let correction = effects.iter().find_map(|effect| match effect {
            Effect::CorrectEdge(correction) => Some(correction.clone()),
            _ => None,
        });
        assert_eq!(correction.is_some(), second.0 == 21, "{effects:?}");
        if let Some(Correction { revision, start, tokens }) = correction {
            assert_eq!((start, tokens), (1, vec![21]));
            assert!(!request.is_complete(), "the rest is to come");
            assert_eq!(text(&request), "a blue");
            edge_writes(&mut request, &mut knowledge, (revision, 2), &[(12, " star")]);
            request.redrafted(revision);
        }
        assert!(request.is_complete());
        assert_eq!(text(&request), format!("a{} star", second.1));
        let last = shown(&request).pop().unwrap().1;
        assert!(
            matches!(last, TokenState::Settled { origin, .. } if origin.fate == TokenFate::Unverified),
            "{last:?}"
        );
    }
}

#[test]
fn nothing_is_decided_anew_once_only_the_end_is_open() {
    let mut knowledge = knowledge();
    let mut request = OneRequest::new(terms([false, false], Policy::Msao));
    request.plan(scores(0.9, 0.9), present(true), &mut knowledge).unwrap();
    edge_writes(&mut request, &mut knowledge, (0, 0), &[(10, "a"), (11, " star")]);
    request.edge_done(0, Receipt::default(), &mut knowledge);
    request.ask(media(), &[]).unwrap();
    assert_eq!(drafts(&request.asked()).len(), 1, "the whole draft goes with the question");
    let before = request.receipt().unwrap().changes;
    let tokens = vec![stands(10, "a", ACCEPTED), stands(11, " star", ACCEPTED)];
    assert_eq!(request.settled(0, tokens, 0, &mut knowledge), []);
    assert_eq!(request.receipt().unwrap().changes, before);
}
