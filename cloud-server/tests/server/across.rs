//! Published checkpoints of different sizes on both sides: what the small one writes are drafts for the large one, as far as
//! their tokens mean the same, and the answer is the large one's own.

use std::path::Path;

use actix_web::web::Data;
use msao_models::{Assistant, CheckpointFiles, DeviceKind, Prompt, RgbImage, device};
use msao_protocol::{
    Ask, ClientMessage, Draft, ModelInfo, Receipt, ServerMessage, TokenFate, TokenSource, Vocabulary,
};
use msao_server::listen;
use pollster::block_on;
use tokio_tungstenite::connect_async;

use crate::published::{folder, start};
use crate::speculation::{PATIENT, answer_to, ids};
use crate::support::{Client, ask, png, with_image};

const QUESTION: &str = "What is this?";
/// Tokens of a draft.
const LENGTH: usize = 4;

async fn serve(folder: &Path) -> (Client, ModelInfo) {
    let state = start(folder).unwrap();
    let model = state.engine.info().model.clone();
    let (server, address) = listen(Data::new(state), ([127, 0, 0, 1], 0).into()).unwrap();
    actix_web::rt::spawn(server);
    let (socket, _response) = connect_async(format!("ws://{address}/v1/session")).await.unwrap();
    let mut client = Client::new(socket);
    client.send(&ClientMessage::Hello { client: "test".into() }).await;
    client.next().await;
    (client, model)
}

fn load(folder: &Path) -> (Assistant, Vocabulary) {
    let device = block_on(device::open(DeviceKind::Cpu)).unwrap();
    let assistant = Assistant::load(&CheckpointFiles::from_dir(folder).unwrap(), &device).unwrap();
    let (tokens, fingerprint) = assistant.tokenizer().fingerprint();
    (assistant, Vocabulary { tokens, fingerprint })
}

/// Asks with drafts of the edge, which takes over each correction and drafts on behind it.
async fn drafted(
    client: &mut Client,
    asked: Ask,
    edge: &Assistant,
    shared: u32,
    picture: Option<&[u8]>,
) -> (Vec<u32>, Receipt) {
    let (id, most) = (asked.request_id, asked.max_new_tokens as usize);
    let image = picture.map(|bytes| {
        let image = image::load_from_memory(bytes).unwrap().into_rgb8();
        RgbImage::from_rgb(image.width(), image.height(), image.into_raw()).unwrap()
    });
    let prompt =
        Prompt { question: asked.question.clone(), images: image.into_iter().collect(), ..Prompt::default() };
    client.send(&ClientMessage::Ask(Ask { speculation: PATIENT, ..asked })).await;
    let mut writing = block_on(edge.start(&prompt)).unwrap();
    let (mut standing, mut revision) = (Vec::new(), 0);
    loop {
        let agreed = writing.tokens().iter().zip(&standing).take_while(|(own, stands)| own == stands).count();
        if agreed < standing.len() {
            writing.roll_back(agreed);
            writing.adopt(&standing[agreed..]).unwrap();
        }
        while writing.tokens().len() < (standing.len() + LENGTH).min(most)
            && block_on(writing.next_token()).unwrap().is_some()
        {}
        let fresh = &writing.tokens()[standing.len()..];
        let tokens: Vec<u32> = fresh.iter().copied().take_while(|&token| token < shared).collect();
        let (start, is_last) = (standing.len() as u32, tokens.len() < LENGTH);
        let draft = Draft { request_id: id, revision, start, tokens, distributions: Vec::new(), is_last };
        client.send(&ClientMessage::Draft(draft)).await;
        match client.next().await {
            ServerMessage::Settled { start, tokens, revision: now, .. } => {
                assert_eq!(start as usize, standing.len());
                standing.extend(tokens.iter().map(|one| one.token.id));
                revision = now;
            }
            ServerMessage::Done { receipt, .. } => return (standing, receipt),
            other => panic!("not part of an answer: {other:?}"),
        }
    }
}

#[actix_web::test]
async fn a_smaller_checkpoint_of_the_same_tokens_drafts_for_a_larger_one() {
    let (small, large, text) = ("SmolVLM-256M-Instruct", "SmolVLM2-2.2B-Instruct", "SmolLM2-135M-Instruct");
    let families = [("Idefics3", small), ("SmolVLM2", large), ("Llama", text)];
    let places = families.map(|(family, name)| (folder(family, name), name));
    let folders = places.each_ref().map(|(place, name)| place.path().join(name));
    let edges = folders.each_ref().map(|folder| load(folder));
    for (at, target) in folders.iter().enumerate() {
        let (mut client, model) = serve(target).await;
        let sees = at != 2;
        let picture = sees.then(|| png(120, 40));
        let question = |id| match &picture {
            Some(picture) => with_image(ask(id, QUESTION), picture.clone()),
            None => ask(id, QUESTION),
        };
        let alone = ids(&answer_to(&mut client, question(1)).await);
        assert!(alone.len() > 4, "{alone:?}");
        for (other, (edge, vocabulary)) in edges.iter().enumerate() {
            assert_eq!(*vocabulary, model.vocabulary, "{} and {}", families[other].1, model.name);
            // One that does not see drafts from the words alone.
            let shown = picture.as_deref().filter(|_| other != 2);
            let id = 2 + other as u32;
            let (answer, receipt) =
                drafted(&mut client, question(id), edge, model.vocabulary.tokens, shown).await;
            assert_eq!(answer, alone, "{} for {}", families[other].1, model.name);
            let with = |fate| receipt.tokens.iter().filter(|one| one.fate == fate).count();
            let of_edge = receipt.tokens.iter().filter(|one| one.source == TokenSource::EdgeDraft).count();
            assert!(receipt.proposed_drafts > 0, "{receipt:?}");
            assert_eq!((with(TokenFate::Accepted), of_edge), (receipt.accepted_drafts as usize, of_edge));
            assert_eq!(receipt.tokens.len(), answer.len());
            if other == at {
                // It drafts for itself, so it is always right.
                assert_eq!(receipt.accepted_drafts, receipt.proposed_drafts, "{receipt:?}");
                assert!((receipt.rounds as usize) < answer.len());
            } else {
                assert!(with(TokenFate::Corrected) > 0, "two random models do not agree: {receipt:?}");
            }
        }
    }
}

#[test]
fn a_checkpoint_of_another_tokenizer_has_another_fingerprint() {
    let place = folder("Llama", "SmolLM2-135M-Instruct");
    let (_, published) = load(&place.path().join("SmolLM2-135M-Instruct"));
    let (_, tiny) = load(&crate::checkpoint::checkpoint());
    assert_ne!(published.fingerprint, tiny.fingerprint);
    assert_eq!(published.tokens, 49_152);
}
