//! The course of a question, played through.

use msao_protocol::{
    AudioGrid, ImageGrid, KeepMask, KeptImage, KeptParts, MasReceipt, Media, MediaKind, ModelInfo,
    PlanReason, Span, SpanKind, TokenFate, TokenOrigin, TokenSource,
};
use proptest::prelude::{any, prop_assert, proptest};

use super::*;

fn target() -> ModelInfo {
    ModelInfo {
        name: "target".into(),
        parameters: 20_000_000,
        device: "cpu".into(),
        image: ImageGrid { side_px: 192, tokens_per_side: 6 },
        audio: Some(AudioGrid { sample_rate_hz: 16_000, window_samples: 1_280, tokens: 60 }),
        co_located_draft: false,
    }
}

fn situation(cloud: bool) -> Situation {
    LinkMonitor::default().situation(true, 1_000_000, cloud.then(target).as_ref())
}

fn given(modality: Modality, locked: bool) -> Given {
    Given { modality, locked, whole_bytes: 40_000, target_tokens: 36, edge_tokens: 16 }
}

fn terms(locked: [bool; 2], policy: Policy) -> Terms {
    Terms {
        request_id: 7,
        question: "what color is the star?".into(),
        given: vec![given(Modality::Vision, locked[0]), given(Modality::Audio, locked[1])],
        max_new_tokens: 32,
        policy,
        mode: AnswerMode::Verified,
    }
}

fn scores(vision: f32, audio: f32) -> Vec<ModalityScores> {
    let one = |modality, relevance| ModalityScores {
        modality,
        mas: MasReceipt { relevance, density: 0.5, mas: 1.0 - relevance * 0.5, ..MasReceipt::default() },
        kept: KeptParts::default(),
    };
    vec![one(Modality::Vision, vision), one(Modality::Audio, audio)]
}

fn media() -> PreparedMedia {
    let png = |bytes| Media { kind: MediaKind::Png, bytes: vec![0; bytes] };
    PreparedMedia {
        images: vec![ImageInput::Kept(KeptImage { mask: KeepMask::new(&[true; 36]), tiles: png(900) })],
        audio: Some(AudioInput::Whole(Media { kind: MediaKind::Wav, bytes: vec![0; 700] })),
    }
}

fn token(id: u32, text: &str) -> Token {
    Token { id, text: text.into(), probability: 0.9 }
}

fn settled(id: u32, text: &str, source: TokenSource, fate: TokenFate) -> SettledToken {
    SettledToken { token: token(id, text), origin: TokenOrigin { source, fate } }
}

fn shown(request: &OneRequest) -> Vec<(String, TokenState)> {
    request.answer().into_iter().map(|token| (token.text, token.state)).collect()
}

#[test]
fn what_is_not_needed_is_not_sent() {
    let mut request = OneRequest::new(terms([false, false], Policy::Msao));
    request.plan(scores(0.99, 0.001), &situation(true)).unwrap();
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
    let mut request = OneRequest::new(terms([true, false], Policy::Msao));
    let plan = request.plan(scores(0.99, 0.9), &situation(true)).unwrap();
    assert_eq!((plan.strategy, plan.reason), (Strategy::EdgeOnly, PlanReason::NeededModalityLocked));
    assert_eq!(request.ask(media(), &[]), None);
    request.edge_token(0, token(1, "red"));
    assert!(matches!(shown(&request)[0].1, TokenState::Proposed(_)));
    request.edge_done(Receipt::default());
    assert!(request.is_complete());
    let origin = TokenOrigin { source: TokenSource::EdgeDraft, fate: TokenFate::Unverified };
    assert_eq!(shown(&request)[0].1, TokenState::Settled { origin, replaced: None });
    assert_eq!(request.receipt().unwrap().tokens, [origin]);
}

proptest! {
    #[test]
    fn no_lock_is_ever_broken(
        locked in any::<[bool; 2]>(), relevance in any::<[f32; 2]>(), policy in 0..Policy::ALL.len(),
        edge_ready in any::<bool>(), cloud in any::<bool>(), late in any::<bool>(),
    ) {
        let mut request = OneRequest::new(terms(locked, Policy::ALL[policy]));
        let mut now = situation(cloud);
        now.capabilities.edge_ready = edge_ready;
        let scores = scores(relevance[0], relevance[1]);
        if request.plan(scores, &now).is_ok() {
            let late = if late { &[Modality::Vision, Modality::Audio][..] } else { &[] };
            if let Some(ask) = request.ask(media(), late) {
                prop_assert!(!(locked[0] && (!ask.images.is_empty() || ask.pending.contains(&Modality::Vision))));
                prop_assert!(!(locked[1] && (ask.audio.is_some() || ask.pending.contains(&Modality::Audio))));
            }
        }
    }
}

#[test]
fn drafts_are_settled_in_place_and_a_correction_ends_them() {
    let mut request = OneRequest::new(terms([false, false], Policy::Distributed));
    request.plan(scores(0.9, 0.9), &situation(true)).unwrap();
    let draft_tokens = request.strategy().unwrap().draft_tokens();
    assert!(draft_tokens > 0);
    assert!(matches!(request.ask(media(), &[]).unwrap().speculation, Speculation::Distributed { .. }));
    let mut proposed = Vec::new();
    for (index, word) in ["a", " red", " star"].into_iter().enumerate() {
        if let Some(draft) = request.edge_token(index as u32, token(index as u32 + 10, word)) {
            assert_eq!(draft.start as usize, proposed.len());
            proposed.extend(draft.tokens);
        }
    }
    let last = request.edge_done(Receipt::default()).unwrap();
    assert!(last.is_last && last.start as usize == proposed.len());
    proposed.extend(last.tokens);
    assert_eq!(proposed, [10, 11, 12]);
    let texts =
        |request: &OneRequest| request.answer().into_iter().map(|token| token.text).collect::<String>();
    assert_eq!(texts(&request), "a red star");

    let tokens = vec![
        settled(10, "a", TokenSource::EdgeDraft, TokenFate::Accepted),
        settled(99, " blue", TokenSource::Target, TokenFate::Corrected),
    ];
    let ending = request.settled(0, tokens, 1).unwrap();
    assert!(ending.is_last && ending.tokens.is_empty() && ending.revision == 1 && ending.start == 2);
    assert_eq!(texts(&request), "a blue");
    let corrected = &shown(&request)[1].1;
    assert!(matches!(corrected, TokenState::Settled { replaced: Some(text), .. } if text == " red"));
    request.settled(2, vec![settled(12, " star", TokenSource::Target, TokenFate::Written)], 1);
    request.cloud_done(Receipt::default());
    assert_eq!((texts(&request).as_str(), request.is_complete()), ("a blue star", true));
}

#[test]
fn a_proposal_on_partial_context_shows_until_it_is_settled() {
    let mut request = OneRequest::new(terms([false, false], Policy::CloudOnly));
    request.plan(Vec::new(), &situation(true)).unwrap();
    let ask = request.ask(PreparedMedia::default(), &[Modality::Vision]).unwrap();
    assert_eq!(ask.pending, [Modality::Vision]);
    let attach = request.attach(media()).unwrap();
    assert!(attach.images.len() == 1 && attach.audio.is_none(), "the sound was not announced");
    assert_eq!(request.receipt().unwrap().modalities[0].sent_bytes, 900);
    assert_eq!(request.attach(media()), None, "media follow once");
    request.proposed(0, vec![token(1, "no")]);
    request.proposed(1, vec![token(2, " picture")]);
    assert_eq!(shown(&request).len(), 2);
    request.settled(0, vec![settled(5, "red", TokenSource::Target, TokenFate::Corrected)], 1);
    request.cloud_done(Receipt::default());
    let [(text, state)] = &shown(&request)[..] else { panic!("one token") };
    assert_eq!(text, "red");
    assert!(matches!(state, TokenState::Settled { replaced: Some(text), .. } if text == "no"));
}

#[test]
fn the_monitor_learns_the_uplink_from_receipts() {
    let mut link = LinkMonitor::default();
    link.round_trip(0.0, 40.0);
    let receipt = Receipt {
        prompt_tokens: 80,
        completion_tokens: 2,
        rounds: 2,
        spans: vec![Span { kind: SpanKind::Prefill, ms: 60.0 }, Span { kind: SpanKind::Decode, ms: 20.0 }],
        ..Receipt::default()
    };
    // 100 kB in 100 ms beside RTT and work: 1 MB/s.
    link.cloud_answered(&receipt, 100_000, 220.0);
    let estimates = link.situation(true, 1, None).estimates;
    assert!((estimates.uplink_bytes_per_s - 1e6).abs() < 1e3, "{estimates:?}");
    assert_eq!((estimates.rtt_ms, estimates.target_decode_ms), (40.0, 10.0));
}
