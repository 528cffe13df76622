//! `transformers serve` with the shipped weights as the upstream: its answers are those of the embedded engine.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use image::imageops::FilterType;
use msao_models::text::TextTokenizer;
use msao_protocol::{
    Ask, Attach, ClientMessage, Draft, ErrorCode, FinishReason, ImageInput, KeepMask, KeptImage, Media,
    MediaKind, Modality, ServerMessage, Speculation, TokenFate, TokenSource, Turn,
};
use msao_server::engine::{OpenAiEngine, Readiness};

use crate::engines::{
    TransformersServe, config, export, free_port, python, serve_embedded, serve_upstreams, weights,
};
use crate::support::{Answer, Client, TestServer, ask};

/// Side of the pictures that the model sees.
const SIDE_PX: u32 = 192;
/// How long the upstreams may take to be seen as what they are.
const PATIENCE: Duration = Duration::from_secs(60);
const PATIENT: Speculation = Speculation::Distributed { patience_ms: 5_000 };
/// A question with a long answer.
const LONG: (&str, &[&str]) = ("What do you see and hear?", &["26-describe-all.png"]);
const DESCRIBE: (&str, &[&str]) = ("What do you see", &["15-describe.png"]);
const QUESTIONS: [(&str, &[&str]); 6] = [
    LONG,
    DESCRIBE,
    ("Read the lower sign.", &["08-read-which.png"]),
    ("How many shapes are in the picture?", &["05-count-all.png"]),
    (
        "Describe what happens.",
        &["27-clip-what-0.png", "27-clip-what-1.png", "27-clip-what-2.png", "27-clip-what-3.png"],
    ),
    ("What do you see?", &[]),
];

/// A picture of the gallery, cut and scaled as pages do.
fn picture(name: &str) -> ImageInput {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/eval/gallery").join(name);
    let picture = image::load_from_memory(&fs::read(path).unwrap()).unwrap().to_rgb8();
    let scaled = image::imageops::resize(&picture, SIDE_PX, SIDE_PX, FilterType::Lanczos3);
    ImageInput::Whole(Media { kind: MediaKind::Png, bytes: png(&scaled) })
}

fn png(picture: &image::RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    picture.write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Png).unwrap();
    bytes
}

fn question(id: u32, (question, pictures): (&str, &[&str])) -> Ask {
    let images = pictures.iter().map(|name| picture(name)).collect();
    Ask { images, max_new_tokens: 80, ..ask(id, question) }
}

async fn answer(client: &mut Client, ask: Ask) -> Answer {
    let id = ask.request_id;
    client.send(&ClientMessage::Ask(ask)).await;
    client.answer(id).await
}

/// Everything at once, since each engine takes its time to start.
#[actix_web::test]
async fn a_real_engine_answers_as_the_embedded_one_and_may_go_away() {
    let Some(python) = python() else { return };
    let model = export();
    let mut engines = [free_port(), free_port()].map(|port| TransformersServe::start(&python, &model, port));
    let embedded = serve_embedded();
    engines.iter_mut().for_each(TransformersServe::wait);
    let mut config = config(&engines.each_ref().map(TransformersServe::url));
    config.model = Some(model.display().to_string());
    config.kind = msao_server::engine::Kind::Auto;
    let (server, engine) = serve_upstreams(config.clone()).await;
    assert_eq!(engine.upstreams().iter().filter(|one| one.is_up).count(), 2);

    answers_are_the_embedded_engine_s(&server, &embedded).await;
    drafts_are_accepted_and_corrected(&server, &embedded).await;
    kept_parts_reach_the_upstream(&server).await;
    one_place_is_one_question(config).await;
    an_upstream_is_killed_in_mid_answer(&server, &engine, &embedded, &mut engines, (&python, &model)).await;
}

async fn answers_are_the_embedded_engine_s(server: &TestServer, embedded: &TestServer) {
    let (mut client, mut reference) = (server.session().await, embedded.session().await);
    for (id, asked) in (1..).zip(QUESTIONS) {
        let expected = answer(&mut reference, question(id, asked)).await;
        let got = answer(&mut client, question(id, asked)).await;
        assert_eq!(got.text, expected.text, "{asked:?}");
        let ids = |answer: &Answer| answer.settled.iter().map(|one| one.token.id).collect::<Vec<_>>();
        assert_eq!(ids(&got), ids(&expected), "the edge's tokens of the text");
        assert_eq!(got.finish_reason, FinishReason::Stop);
        assert_eq!(got.receipt.prompt_tokens, expected.receipt.prompt_tokens, "by the upstream's own count");
        assert_eq!(got.receipt.flops, 0, "an upstream's operations are not known");
    }
    // A cut answer is a part of the whole one.
    let whole = answer(&mut reference, question(90, DESCRIBE)).await.text;
    let first = question(0, DESCRIBE);
    let turn = Turn {
        images: first.images,
        clip: None,
        audio: None,
        question: first.question,
        answer: whole.clone(),
    };
    let then = |id| Ask { history: vec![turn.clone()], ..question(id, ("What color is the circle?", &[])) };
    let expected = answer(&mut reference, then(92)).await.text;
    assert_eq!(answer(&mut client, then(93)).await.text, expected, "in a conversation");
    let cut = answer(&mut client, Ask { max_new_tokens: 4, ..question(91, DESCRIBE) }).await;
    assert_eq!((cut.tokens, cut.finish_reason), (4, FinishReason::Length));
    assert!(whole.starts_with(&cut.text), "{:?}", cut.text);
}

async fn drafts_are_accepted_and_corrected(server: &TestServer, embedded: &TestServer) {
    let tokenizer =
        TextTokenizer::from_json(&fs::read(weights("pocket-edge").join("tokenizer.json")).unwrap()).unwrap();
    let end = tokenizer.token_id("<end_of_utterance>").unwrap();
    let (mut client, mut reference) = (server.session().await, embedded.session().await);
    let expected = answer(&mut reference, question(1, DESCRIBE)).await;
    let right: Vec<u32> = expected.settled.iter().map(|one| one.token.id).collect();
    let count = right.len();
    let whole: Vec<u32> = right.iter().copied().chain([end]).collect();
    let wrong_at = 5;
    let mut wrong = whole.clone();
    wrong[wrong_at] = right[0];
    // Wrong where the answer has ended already.
    let too_long: Vec<u32> = right.iter().copied().chain([right[0]]).collect();
    for (id, drafted, accepted, revision) in
        [(2, whole, count + 1, 0), (3, wrong, wrong_at, 1), (4, too_long, count, 0), (5, vec![end], 0, 1)]
    {
        let ask = Ask { speculation: PATIENT, ..question(id, DESCRIBE) };
        // The picture comes after the drafts, so that they are there when the upstream begins.
        let attach = Attach { request_id: id, images: ask.images, clip: None, audio: None };
        let ask = Ask { images: vec![], pending: vec![Modality::Vision], ..ask };
        client.send(&ClientMessage::Ask(ask)).await;
        let (tokens, proposed) = (drafted.clone(), drafted.len() as u32);
        let (distributions, is_last) = (vec![], true);
        let draft = Draft { request_id: id, revision: 0, start: 0, tokens, distributions, is_last };
        client.send(&ClientMessage::Draft(draft)).await;
        client.send(&ClientMessage::Attach(attach)).await;
        let got = client.answer(id).await;
        assert_eq!(got.text, expected.text, "{drafted:?}");
        let receipt = &got.receipt;
        assert_eq!((receipt.accepted_drafts as usize, got.revision), (accepted, revision), "{drafted:?}");
        assert!(receipt.proposed_drafts <= proposed && receipt.proposed_drafts >= receipt.accepted_drafts);
        let is_accepted = |at: usize| {
            let origin = got.settled[at].origin;
            origin.source == TokenSource::EdgeDraft && origin.fate == TokenFate::Accepted
        };
        assert!((0..count).all(|at| is_accepted(at) == (at < accepted)), "{:?}", receipt.tokens);
    }
}

async fn kept_parts_reach_the_upstream(server: &TestServer) {
    let mut client = server.session().await;
    let grey = image::RgbImage::from_pixel(128, 32, image::Rgb([128; 3]));
    let mask: Vec<bool> = (0..36).map(|part| part < 4).collect();
    let tiles = Media { kind: MediaKind::Png, bytes: png(&grey) };
    let kept = ImageInput::Kept(KeptImage { mask: KeepMask::new(&mask), tiles });
    let pruned = answer(&mut client, Ask { images: vec![kept], ..question(1, DESCRIBE) }).await;
    // All that was kept is as grey as what was not, so this is an empty picture.
    let empty = image::RgbImage::from_pixel(SIDE_PX, SIDE_PX, image::Rgb([128; 3]));
    let whole = ImageInput::Whole(Media { kind: MediaKind::Png, bytes: png(&empty) });
    let whole = answer(&mut client, Ask { images: vec![whole], ..question(2, DESCRIBE) }).await;
    assert_eq!(pruned.text, whole.text);
    let report = client.refused(crate::support::with_image(ask(3, "what?"), b"no picture".to_vec())).await;
    assert_eq!(report.code, ErrorCode::NotAnImage);
}

async fn one_place_is_one_question(config: msao_server::engine::OpenAiConfig) {
    let (server, _engine) = serve_upstreams(msao_server::engine::OpenAiConfig { places: 1, ..config }).await;
    let mut client = server.session().await;
    client
        .send(&ClientMessage::Ask(Ask { pending: vec![Modality::Vision], ..question(1, ("What?", &[])) }))
        .await;
    let refused = client.refused(question(2, ("What?", &[]))).await;
    assert_eq!(refused.code, ErrorCode::Busy);
    assert!(refused.retry_after_ms.is_some_and(|ms| ms > 0));
    client.send(&ClientMessage::Cancel { request_id: 1 }).await;
    assert_eq!(client.answer(1).await.finish_reason, FinishReason::Cancelled);
    assert!(!answer(&mut client, question(3, DESCRIBE)).await.text.is_empty());
}

async fn an_upstream_is_killed_in_mid_answer(
    server: &TestServer,
    engine: &OpenAiEngine,
    embedded: &TestServer,
    engines: &mut [TransformersServe; 2],
    (python, model): (&Path, &Path),
) {
    let (mut client, mut reference) = (server.session().await, embedded.session().await);
    let expected = answer(&mut reference, question(1, LONG)).await.text;
    client.send(&ClientMessage::Ask(question(1, LONG))).await;
    let mut text = String::new();
    while text.is_empty() {
        match client.next().await {
            ServerMessage::Settled { tokens, .. } => {
                text.extend(tokens.into_iter().map(|one| one.token.text))
            }
            other => panic!("{other:?}"),
        }
    }
    let busy = engine.upstreams().iter().position(|one| one.in_flight > 0);
    let killed = busy.unwrap_or(0);
    engines[killed].kill();
    if busy.is_none() {
        println!("the answer was complete before its upstream could be killed");
    }
    let whole = loop {
        match client.next().await {
            ServerMessage::Settled { tokens, .. } => {
                text.extend(tokens.into_iter().map(|one| one.token.text))
            }
            ServerMessage::Done { text, .. } => break text,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((&text, &whole), (&expected, &expected), "no character is wrong, missing or double");
    let other = 1 - killed;
    seen_as(engine, |up| !up[killed] && up[other]).await;
    assert_eq!(readiness(server), Readiness::Ready);
    assert_eq!(answer(&mut client, question(2, DESCRIBE)).await.finish_reason, FinishReason::Stop);

    engines[other].kill();
    let report = client.refused(question(3, DESCRIBE)).await;
    assert_eq!(report.code, ErrorCode::Unavailable, "{report:?}");
    assert!(report.message.contains("ask again"), "{report:?}");
    seen_as(engine, |up| up == [false; 2]).await;
    let not_ready = readiness(server);
    assert!(
        matches!(&not_ready, Readiness::NotReady { reason } if reason.contains("none of 2")),
        "{not_ready:?}"
    );

    let port = engines[killed].port();
    engines[killed] = TransformersServe::start(python, model, port);
    engines[killed].wait();
    seen_as(engine, |up| up[killed]).await;
    assert_eq!(answer(&mut client, question(4, LONG)).await.text, expected);
    assert_eq!(readiness(server), Readiness::Ready);
}

fn readiness(server: &TestServer) -> Readiness {
    server.state.engine.readiness()
}

/// Waits until the engine sees its upstreams so.
async fn seen_as(engine: &OpenAiEngine, holds: impl Fn(&[bool]) -> bool) {
    let started = Instant::now();
    loop {
        let up: Vec<bool> = engine.upstreams().iter().map(|one| one.is_up).collect();
        if holds(&up) {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "the upstreams are seen as {up:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
