//! Drafts of every source, late media and kept parts: the answer is always the target's own.

use std::time::{Duration, Instant};

use msao_protocol::{
    Ask, Attach, AudioInput, ClientMessage, Draft, ErrorCode, FinishReason, ImageInput, KeepMask, KeptAudio,
    KeptImage, Limits, Media, MediaKind, Modality, ServerMessage, SpanKind, Speculation, TokenFate,
    TokenSource,
};

use crate::support::{Answer, Client, Options, TestServer, ask, png, wav, with_audio, with_image};

pub(crate) const QUESTION: &str = "what is this?";
/// Long enough that only a test that hangs waits for it.
pub(crate) const PATIENT: Speculation = Speculation::Distributed { patience_ms: 5_000 };

pub(crate) async fn answer_to(client: &mut Client, ask: Ask) -> Answer {
    let id = ask.request_id;
    client.send(&ClientMessage::Ask(ask)).await;
    client.answer(id).await
}

pub(crate) fn ids(answer: &Answer) -> Vec<u32> {
    answer.settled.iter().map(|settled| settled.token.id).collect()
}

pub(crate) fn draft(
    request_id: u32,
    revision: u32,
    start: u32,
    tokens: &[u32],
    is_last: bool,
) -> ClientMessage {
    ClientMessage::Draft(Draft {
        request_id,
        revision,
        start,
        tokens: tokens.to_vec(),
        distributions: Vec::new(),
        is_last,
    })
}

pub(crate) fn attach_image(request_id: u32, bytes: Vec<u8>) -> ClientMessage {
    let image = ImageInput::Whole(Media { kind: MediaKind::Png, bytes });
    ClientMessage::Attach(Attach { request_id, images: vec![image], clip: None, audio: None })
}

pub(crate) fn origins(answer: &Answer, source: TokenSource, fate: TokenFate) -> usize {
    answer.receipt.tokens.iter().filter(|one| one.source == source && one.fate == fate).count()
}

#[actix_web::test]
async fn right_drafts_are_accepted_in_one_round() {
    let server = TestServer::start(Options::default());
    let mut client = server.session().await;
    let alone = answer_to(&mut client, with_image(ask(1, QUESTION), png(64, 64))).await;
    let tokens = ids(&alone);
    assert!(tokens.len() > 4, "the tiny model should say more: {alone:?}");
    assert_eq!(alone.receipt.rounds as usize, tokens.len());

    let asked = Ask { speculation: PATIENT, ..with_image(ask(2, QUESTION), png(64, 64)) };
    client.send(&ClientMessage::Ask(asked)).await;
    // In two pieces, as an edge that drafts on while the question travels.
    client.send(&draft(2, 0, 0, &tokens[..3], false)).await;
    client.send(&draft(2, 0, 3, &tokens[3..], true)).await;
    let drafted = client.answer(2).await;
    assert_eq!((&drafted.text, ids(&drafted)), (&alone.text, tokens.clone()));
    assert!(drafted.receipt.rounds <= 2, "{:?}", drafted.receipt);
    // If the first piece was verified before the second came, the token between them is the target's own.
    let accepted = drafted.receipt.accepted_drafts as usize;
    assert_eq!(accepted, tokens.len() + 1 - drafted.receipt.rounds as usize);
    assert_eq!(origins(&drafted, TokenSource::EdgeDraft, TokenFate::Accepted), accepted);
    assert_eq!(drafted.revision, 0);
    assert!(drafted.receipt.ms(SpanKind::Verify) > 0.0);
}

#[actix_web::test]
async fn wrong_drafts_are_corrected_and_stale_ones_ignored() {
    let server = TestServer::start(Options::default());
    let mut client = server.session().await;
    let alone = answer_to(&mut client, ask(1, QUESTION)).await;
    let tokens = ids(&alone);
    client.send(&ClientMessage::Ask(Ask { speculation: PATIENT, ..ask(2, QUESTION) })).await;
    let wrong = if tokens[2] == 9 { 10 } else { 9 };
    client.send(&draft(2, 0, 0, &[tokens[0], tokens[1], wrong, wrong], false)).await;
    let ServerMessage::Settled { start: 0, tokens: settled, revision: 1, .. } = client.next().await else {
        panic!("no correction")
    };
    let fates: Vec<_> = settled.iter().map(|one| one.origin.fate).collect();
    assert_eq!(fates, [TokenFate::Accepted, TokenFate::Accepted, TokenFate::Corrected]);
    assert_eq!(settled.iter().map(|one| one.token.id).collect::<Vec<_>>(), tokens[..3]);
    // This one was written before the correction was known; its tokens happen to be right.
    client.send(&draft(2, 0, 3, &tokens[3..5], true)).await;
    // This one leaves a gap.
    client.send(&draft(2, 1, 4, &tokens[4..5], true)).await;
    // This one goes on from the correction.
    client.send(&draft(2, 1, 3, &tokens[3..4], true)).await;
    let ServerMessage::Settled { start: 3, tokens: settled, revision: 1, .. } = client.next().await else {
        panic!("the draft was not verified")
    };
    assert_eq!(settled[0].origin.source, TokenSource::EdgeDraft);
    assert_eq!(settled[1].origin.source, TokenSource::Target, "a void draft was used");
    loop {
        if let ServerMessage::Done { text, receipt, .. } = client.next().await {
            assert_eq!(text, alone.text);
            assert_eq!((receipt.proposed_drafts, receipt.accepted_drafts), (5, 3));
            break;
        }
    }
}

#[actix_web::test]
async fn patience_ends_and_the_target_writes_alone() {
    let server = TestServer::start(Options::default());
    let mut client = server.session().await;
    let alone = answer_to(&mut client, Ask { max_new_tokens: 3, ..ask(1, QUESTION) }).await;
    let started = Instant::now();
    let impatient = Speculation::Distributed { patience_ms: 30 };
    let asked = Ask { max_new_tokens: 3, speculation: impatient, ..ask(2, QUESTION) };
    let waited = answer_to(&mut client, asked).await;
    assert_eq!(waited.text, alone.text);
    assert!(started.elapsed() >= Duration::from_millis(30 * u64::from(waited.tokens)));
    assert!(waited.receipt.ms(SpanKind::Wait) >= 25.0 * f64::from(waited.tokens), "{:?}", waited.receipt);
    assert_eq!(origins(&waited, TokenSource::Target, TokenFate::Written), waited.tokens as usize);
}

#[actix_web::test]
async fn a_draft_model_beside_the_target_changes_nothing_but_the_rounds() {
    let server = TestServer::start(Options::default());
    let mut client = server.session().await;
    let question = |id, speculation| Ask { speculation, ..with_image(ask(id, QUESTION), png(64, 64)) };
    let alone = answer_to(&mut client, question(1, Speculation::None)).await;
    for (id, draft_tokens) in [(2, 1), (3, 4), (4, 32)] {
        let drafted = answer_to(&mut client, question(id, Speculation::CoLocated { draft_tokens })).await;
        assert_eq!(drafted.text, alone.text);
        // It drafts for itself, so it is always right.
        let rounds = alone.tokens.div_ceil(u32::from(draft_tokens) + 1);
        assert!(drafted.receipt.rounds <= rounds + 1, "{:?}", drafted.receipt);
        assert_eq!(drafted.receipt.accepted_drafts, drafted.receipt.proposed_drafts);
        assert!(origins(&drafted, TokenSource::CoLocatedDraft, TokenFate::Accepted) > 0);
        assert!(drafted.receipt.flops > alone.receipt.flops);
        assert!(drafted.receipt.ms(SpanKind::Propose) > 0.0);
    }
    let server = TestServer::start(Options { co_located_draft: false, ..Options::default() });
    let mut client = server.session().await;
    let asked = question(1, Speculation::CoLocated { draft_tokens: 4 });
    client.refused_with(asked, ErrorCode::Unsupported, &["--draft-model"]).await;
}

#[actix_web::test]
async fn text_is_proposed_before_an_image_arrives_and_settled_after() {
    let server = TestServer::start(Options::default());
    let mut client = server.session().await;
    let whole = answer_to(&mut client, with_image(ask(1, QUESTION), png(64, 64))).await;
    let blind = answer_to(&mut client, ask(2, QUESTION)).await;

    let early = Ask { pending: vec![Modality::Vision], ..ask(3, QUESTION) };
    client.send(&ClientMessage::Ask(early.clone())).await;
    let mut proposed = Vec::new();
    while proposed.len() < blind.tokens as usize {
        let ServerMessage::Proposed { start, tokens, .. } = client.next().await else {
            panic!("settled early")
        };
        assert_eq!(start as usize, proposed.len());
        proposed.extend(tokens.iter().map(|token| token.id));
    }
    assert_eq!(proposed, ids(&blind));
    client.send(&attach_image(3, png(64, 64))).await;
    let late = client.answer(3).await;
    assert_eq!(late.text, whole.text);
    let receipt = &late.receipt;
    assert!(late.proposed.is_empty() && receipt.proposed_drafts as usize >= proposed.len(), "{receipt:?}");
    assert_eq!(receipt.prompt_tokens, whole.receipt.prompt_tokens);
    assert_eq!(receipt.modalities, whole.receipt.modalities, "late bytes count like others");
    let kinds: Vec<_> = receipt.spans.iter().map(|span| span.kind).collect();
    use SpanKind::{DecodeMedia, Encode, Prefill, Propose, Queue, Wait};
    assert_eq!(kinds[..8], [Queue, DecodeMedia, Queue, Propose, Wait, DecodeMedia, Queue, Encode]);
    assert_eq!(kinds[8], Prefill);

    // Media that are there in time make it an ordinary question.
    client.send(&ClientMessage::Ask(Ask { request_id: 4, ..early })).await;
    client.send(&attach_image(4, png(64, 64))).await;
    assert_eq!(client.answer(4).await.text, whole.text);
}

#[actix_web::test]
async fn waiting_for_media_can_be_cancelled_and_ends_by_itself() {
    let server = TestServer::start(Options::default());
    let mut client = server.session().await;
    // Nothing to begin with: the question itself follows.
    let spoken = |id| Ask { pending: vec![Modality::Audio], ..ask(id, "") };
    client.send(&ClientMessage::Ask(spoken(1))).await;
    // Others are answered meanwhile, though all of its kind wait.
    assert!(answer_to(&mut client, ask(2, QUESTION)).await.tokens > 0);
    client.send(&ClientMessage::Cancel { request_id: 1 }).await;
    assert_eq!(client.answer(1).await.finish_reason, FinishReason::Cancelled);

    client.send(&ClientMessage::Ask(spoken(3))).await;
    let sound = AudioInput::Whole(Media { kind: MediaKind::Wav, bytes: wav(1, 16_000, 60) });
    client
        .send(&ClientMessage::Attach(Attach {
            request_id: 3,
            images: vec![],
            clip: None,
            audio: Some(sound),
        }))
        .await;
    assert!(client.answer(3).await.tokens > 0);

    let attach_wait = Duration::from_millis(50);
    let server = TestServer::start(Options { attach_wait, max_batch: 1, ..Options::default() });
    let mut client = server.session().await;
    client.send(&ClientMessage::Ask(spoken(1))).await;
    let report = client.failure(1).await;
    assert_eq!(report.code, ErrorCode::TimedOut);
    assert!(report.message.contains("a recording") && report.message.contains("0.05 s"), "{report:?}");
    server.settle_requests().await;
    server.assert_alive().await;
}

#[actix_web::test]
async fn many_that_wait_leave_the_batch_to_others() {
    let server = TestServer::start(Options { max_batch: 1, ..Options::default() });
    let mut waiting = server.session().await;
    for id in 1..=3 {
        let asked = Ask { pending: vec![Modality::Vision], max_new_tokens: 2, ..ask(id, QUESTION) };
        waiting.send(&ClientMessage::Ask(asked)).await;
    }
    // Nobody will draft for this one, and it is patient.
    waiting
        .send(&ClientMessage::Ask(Ask { speculation: PATIENT, max_new_tokens: 1, ..ask(9, QUESTION) }))
        .await;
    let started = Instant::now();
    server.assert_alive().await;
    assert!(started.elapsed() < Duration::from_secs(4), "others waited too");
    waiting.send(&ClientMessage::Cancel { request_id: 9 }).await;
    for id in 1..=3 {
        waiting.send(&attach_image(id, png(64, 64))).await;
    }
    let mut done = 0;
    while done < 4 {
        done += usize::from(matches!(waiting.next().await, ServerMessage::Done { .. }));
    }
}

#[actix_web::test]
async fn media_and_drafts_that_nobody_can_use_fail_their_request_only() {
    use ErrorCode::{NotAnImage, OutOfOrder, TooLarge, TooManyImages, Unsupported};
    let limits = Limits { images: 1, image_bytes: 50_000, ..Limits::default() };
    let server = TestServer::start(Options { limits, ..Options::default() });
    let mut client = server.session().await;
    let image = |bytes: Vec<u8>| ImageInput::Whole(Media { kind: MediaKind::Png, bytes });
    let attach =
        |id, images| ClientMessage::Attach(Attach { request_id: id, images, clip: None, audio: None });
    let pending = |id| Ask { pending: vec![Modality::Vision], ..ask(id, QUESTION) };
    let waits = |id| Ask { speculation: PATIENT, ..ask(id, QUESTION) };
    let nothing_announced = waits(9);
    let cases = [
        (pending(1), attach(1, vec![image(b"<svg/>".to_vec())]), NotAnImage),
        (pending(2), attach(2, vec![image(vec![0; 50_001])]), TooLarge),
        (pending(3), attach(3, vec![image(png(8, 8)); 2]), TooManyImages),
        (pending(4), attach(4, vec![]), OutOfOrder),
        (waits(5), draft(5, 0, 0, &[480], false), Unsupported),
        (waits(6), draft(6, 0, 0, &[1; 200], false), TooLarge),
        (pending(7), draft(7, 0, 0, &[1], false), OutOfOrder),
        (nothing_announced, attach(9, vec![image(png(8, 8))]), OutOfOrder),
    ];
    for (asked, follows, code) in cases {
        let id = asked.request_id;
        client.send(&ClientMessage::Ask(asked)).await;
        client.send(&follows).await;
        let report = loop {
            match client.next().await {
                ServerMessage::Error(report) => break report,
                ServerMessage::Proposed { .. } => {}
                other => panic!("{id}: {other:?}"),
            }
        };
        assert_eq!((report.request_id, report.code), (Some(id), code), "{report:?}");
        assert!(report.message.len() > 20, "{report:?}");
    }
    // For what is not under way, nothing happens: it may have crossed the end.
    client.send(&attach(77, vec![image(png(8, 8))])).await;
    client.send(&draft(77, 0, 0, &[1], false)).await;
    client.refused_with(Ask { pending: vec![Modality::Text], ..ask(8, "a?") }, Unsupported, &["text"]).await;
    server.settle_requests().await;
    server.assert_alive().await;

    let mut stranger = server.connect().await;
    stranger.send(&draft(5, 0, 0, &[1], false)).await;
    assert_eq!(stranger.error().await.code, OutOfOrder);
}

#[actix_web::test]
async fn kept_parts_are_put_in_place_and_malformed_ones_refused() {
    use ErrorCode::{KeptMismatch, NotAnImage, NotAudio};
    let server = TestServer::start(Options::default());
    let mut client = server.session().await;
    // The grid of the tiny model: 4 squares of 32 pixels, 10 windows of 0.48 s.
    let tiles = |kept: &[bool], width, height| KeptImage {
        mask: KeepMask::new(kept),
        tiles: Media { kind: MediaKind::Png, bytes: png(width, height) },
    };
    let with_tiles = |id, tiles| Ask { images: vec![ImageInput::Kept(tiles)], ..ask(id, QUESTION) };
    let two = answer_to(&mut client, with_tiles(1, tiles(&[true, false, false, true], 64, 32))).await;
    let vision = &two.receipt.modalities[1];
    assert_eq!((vision.modality, vision.prompt_tokens), (Modality::Vision, 2));
    let whole = answer_to(&mut client, with_image(ask(2, QUESTION), png(64, 64))).await;
    assert!(two.receipt.flops < whole.receipt.flops);

    let windows = |parts: &[bool], bytes| KeptAudio {
        mask: KeepMask::new(parts),
        windows: Media { kind: MediaKind::Wav, bytes },
    };
    let with_windows = |id, windows| Ask { audio: Some(AudioInput::Kept(windows)), ..ask(id, QUESTION) };
    let mut mask = [false; 10];
    mask[3..5].fill(true);
    // Two windows of 7,680 samples, of which the recorder left the last 0.36 s away.
    let heard = answer_to(&mut client, with_windows(3, windows(&mask, samples(15_000, 60)))).await;
    assert_eq!(heard.receipt.modalities[1].prompt_tokens, 2);
    // Silence that somebody chose is no mistake.
    answer_to(&mut client, with_windows(4, windows(&mask, samples(15_000, 0)))).await;

    for (id, (kept, width, height)) in (10..).zip([
        (&[true, false, false][..], 32, 32),
        (&[true; 5], 128, 64),
        (&[false; 4], 32, 32),
        (&[true, true, false, false], 32, 32),
        (&[true, true, false, false], 32, 64),
        (&[true, true, false, false], 65, 32),
    ]) {
        client.refused_with(with_tiles(id, tiles(kept, width, height)), KeptMismatch, &[]).await;
    }
    let mut damaged = tiles(&[true, false, false, false], 32, 32);
    damaged.tiles.bytes = wav(1, 8_000, 9);
    client.refused_with(with_tiles(20, damaged), NotAnImage, &[]).await;
    for (id, (mask, bytes, words)) in (30..).zip([
        (&[true; 9][..], samples(9, 60), "9 parts"),
        (&[false; 10], samples(9, 60), "at least 1"),
        (&mask, samples(7_680, 60), "15360"),
        (&mask, samples(15_361, 60), "15361"),
        (&mask, wav(1, 8_000, 60), "8000"),
    ]) {
        client.refused_with(with_windows(id, windows(mask, bytes)), KeptMismatch, &[words]).await;
    }
    client.refused_with(with_windows(40, windows(&mask, png(8, 8))), NotAudio, &[]).await;
    server.assert_alive().await;
}

#[actix_web::test]
async fn many_at_once_get_the_answers_each_would_get_alone() {
    let server = TestServer::start(Options { max_batch: 3, max_sessions: 9, ..Options::default() });
    let question = |id: u32| {
        let asked = ask(id, ["a?", "what is this?", "how many are there?"][id as usize % 3]);
        let asked = if id.is_multiple_of(2) { with_image(asked, png(40 + id, 64)) } else { asked };
        let asked = if id.is_multiple_of(3) { with_audio(asked, wav(1, 16_000, 60)) } else { asked };
        let speculation =
            if id.is_multiple_of(4) { Speculation::CoLocated { draft_tokens: 3 } } else { Speculation::None };
        Ask { speculation, ..asked }
    };
    let mut alone = Vec::new();
    let mut client = server.session().await;
    for id in 0..8 {
        alone.push(answer_to(&mut client, question(id)).await.text);
    }
    let mut clients = Vec::new();
    for id in 0..8 {
        let mut client = server.session().await;
        client.send(&ClientMessage::Ask(question(id))).await;
        clients.push(client);
    }
    for (id, client) in (0..).zip(&mut clients) {
        assert_eq!(client.answer(id).await.text, alone[id as usize], "question {id}");
    }
}

/// A tone of so many samples at 16 kHz, 0 for silence.
fn samples(count: u32, height: u8) -> Vec<u8> {
    let mut bytes = wav(1, count, height);
    bytes[24..28].copy_from_slice(&16_000_u32.to_le_bytes());
    bytes[28..32].copy_from_slice(&16_000_u32.to_le_bytes());
    bytes
}
