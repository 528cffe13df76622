//! Videos as frames with their times, before a checkpoint that has learned about them and one that has not: over the wire and
//! over HTTP.

use std::io::Cursor;
use std::path::Path;

use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::web::Data;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use msao_models::preprocess;
use msao_models::{Assistant, CheckpointFiles, DeviceKind, PastTurn, Prompt, RgbImage, device};
use msao_protocol::{
    Ask, Attach, ClientMessage, Clip, ErrorCode, ImageInput, Media, MediaKind, Modality, ModalityReceipt,
};
use msao_server::{AppState, create_app};
use serde_json::{Value, json};

use crate::published::{folder, session, start};
use crate::support::{Answer, ask, png};

pub(crate) const QUESTION: &str = "What happens?";

/// Four frames that differ, of 4 s.
fn frames() -> (Vec<Vec<u8>>, Clip) {
    let frames = (0..4).map(|index| png(60 + 10 * index, 40)).collect();
    (frames, Clip { duration_ms: 4_000, times_ms: vec![0, 1_000, 2_000, 3_000] })
}

fn whole(bytes: Vec<u8>) -> ImageInput {
    ImageInput::Whole(Media { kind: MediaKind::Png, bytes })
}

fn flat(side: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image::RgbImage::new(side, side).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

pub(crate) fn film(request_id: u32, (frames, clip): (Vec<Vec<u8>>, Clip)) -> Ask {
    Ask { images: frames.into_iter().map(whole).collect(), clip: Some(clip), ..ask(request_id, QUESTION) }
}

pub(crate) fn ids(answer: &Answer) -> Vec<u32> {
    answer.settled.iter().map(|one| one.token.id).collect()
}

/// A model by itself.
pub(crate) struct Alone(pub(crate) Assistant);

impl Alone {
    pub(crate) fn new(folder: &Path) -> Self {
        let device = pollster::block_on(device::open(DeviceKind::Cpu)).unwrap();
        Self(Assistant::load(&CheckpointFiles::from_dir(folder).unwrap(), &device).unwrap())
    }

    pub(crate) fn answer(&self, prompt: &Prompt) -> (Vec<u32>, usize) {
        let mut generation = pollster::block_on(self.0.start(prompt)).unwrap();
        while generation.tokens().len() < 16 && pollster::block_on(generation.next_token()).unwrap().is_some()
        {
        }
        (generation.tokens().to_vec(), self.0.layout(prompt).unwrap().ids.len())
    }
}

pub(crate) fn prompt((frames, clip): (Vec<Vec<u8>>, Option<Clip>)) -> Prompt {
    let decode = |bytes: Vec<u8>| {
        let image = image::load_from_memory(&bytes).unwrap().into_rgb8();
        RgbImage::from_rgb(image.width(), image.height(), image.into_raw()).unwrap()
    };
    let seconds = |clip: Clip| preprocess::Clip {
        duration_s: f64::from(clip.duration_ms) / 1e3,
        times_s: clip.times_ms.into_iter().map(|ms| f64::from(ms) / 1e3).collect(),
    };
    let images = frames.into_iter().map(decode).collect();
    Prompt { question: QUESTION.into(), images, clip: clip.map(seconds), ..Prompt::default() }
}

#[actix_web::test]
async fn a_video_is_answered_as_the_model_by_itself_does_and_can_be_gone_on_from() {
    let place = folder("SmolVLM2", "SmolVLM2-2.2B-Instruct");
    let folder = place.path().join("SmolVLM2-2.2B-Instruct");
    let alone = Alone::new(&folder);
    let state = start(&folder).unwrap();
    let clips = state.engine.info().model.clips.unwrap();
    assert_eq!((clips.fps, clips.max_frames, state.limits.clip_frames), (1.0, 64, 64));
    let mut client = session(Data::new(state)).await;

    let (pictures, clip) = frames();
    let about_video = prompt((pictures.clone(), Some(clip.clone())));
    let (expected, prompt_tokens) = alone.answer(&about_video);
    client.send(&ClientMessage::Ask(film(1, frames()))).await;
    let first = client.answer(1).await;
    assert_eq!((ids(&first), first.receipt.prompt_tokens as usize), (expected, prompt_tokens));
    let vision = |modality: &&ModalityReceipt| modality.modality == Modality::Vision;
    let seen = first.receipt.modalities.iter().find(vision).unwrap();
    assert_eq!((seen.inputs, seen.kept_inputs), (4, 4), "frames are not split");

    // The same files as pictures are another prompt, of which nothing of the video's is reused.
    let as_pictures = Ask { clip: None, ..film(2, frames()) };
    client.send(&ClientMessage::Ask(as_pictures)).await;
    let second = client.answer(2).await;
    let (expected, prompt_tokens) = alone.answer(&prompt((pictures.clone(), None)));
    assert_eq!((ids(&second), second.receipt.prompt_tokens as usize), (expected, prompt_tokens));

    // The question after it, which names the one before.
    let past = PastTurn { asked: about_video, answer: first.text.clone() };
    let next = Prompt { question: "And then?".into(), history: vec![past], ..Prompt::default() };
    client.send(&ClientMessage::Ask(Ask { continues: Some(1), ..ask(3, "And then?") })).await;
    let third = client.answer(3).await;
    let (expected, prompt_tokens) = alone.answer(&next);
    assert_eq!((ids(&third), third.receipt.prompt_tokens as usize), (expected, prompt_tokens));
    assert!(third.receipt.reused_tokens > 0);

    // Frames that follow the question.
    let late = Ask { pending: vec![Modality::Vision], ..ask(4, QUESTION) };
    client.send(&ClientMessage::Ask(late)).await;
    let Ask { images, clip, .. } = film(4, frames());
    client.send(&ClientMessage::Attach(Attach { request_id: 4, images, clip, audio: None })).await;
    assert_eq!(ids(&client.answer(4).await), ids(&first));
}

#[actix_web::test]
async fn times_that_are_none_and_frames_beyond_the_limit_are_refused() {
    let place = folder("SmolVLM2", "SmolVLM2-2.2B-Instruct");
    let mut client = session(Data::new(start(&place.path().join("SmolVLM2-2.2B-Instruct")).unwrap())).await;
    let (pictures, clip) = frames();
    let times = |times_ms: &[u32]| Clip { times_ms: times_ms.to_vec(), ..clip.clone() };
    for (id, wrong) in [&[0, 1][..], &[0, 3, 2, 4], &[0, 1, 2, 4_001], &[]].into_iter().enumerate() {
        let wrong = film(id as u32 + 1, (pictures.clone(), times(wrong)));
        client.refused_with(wrong, ErrorCode::ClipMismatch, &["send"]).await;
    }
    let many = (vec![png(4, 4); 65], Clip { duration_ms: 65_000, times_ms: (0..65).collect() });
    client.refused_with(film(9, many), ErrorCode::TooManyImages, &["64", "fewer"]).await;
    // Large frames share the pixels of all pictures.
    let large = (vec![flat(1_000); 41], Clip { duration_ms: 65_000, times_ms: (0..41).collect() });
    client.refused_with(film(10, large), ErrorCode::TooManyPixels, &["scale"]).await;

    let place = folder("Idefics3", "SmolVLM-256M-Instruct");
    let mut client = session(Data::new(start(&place.path().join("SmolVLM-256M-Instruct")).unwrap())).await;
    client.refused_with(film(1, frames()), ErrorCode::Unsupported, &["leave the times out"]).await;
}

pub(crate) async fn post(state: &Data<AppState>, video: Value, more: Value) -> (u16, Value) {
    let app = init_service(create_app(state.clone())).await;
    let content = json!([{"type": "video_url", "video_url": video}, {"type": "text", "text": QUESTION}]);
    let model = &state.engine.info().model.name;
    let messages = json!([{"role": "user", "content": content}]);
    let mut body = json!({"model": model, "messages": messages, "max_tokens": 16});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let request = TestRequest::post().uri("/v1/chat/completions").set_json(body).to_request();
    let response = call_service(&app, request).await;
    (response.status().as_u16(), serde_json::from_slice(&read_body(response).await).unwrap())
}

pub(crate) fn address(frames: &[Vec<u8>]) -> String {
    let frames: Vec<String> = frames.iter().map(|frame| BASE64_STANDARD.encode(frame)).collect();
    format!("data:video/jpeg;base64,{}", frames.join(","))
}

#[actix_web::test]
async fn a_video_over_http_is_looked_at_as_often_as_the_checkpoint_does() {
    let place = folder("SmolVLM2", "SmolVLM2-2.2B-Instruct");
    let folder_of_videos = place.path().join("SmolVLM2-2.2B-Instruct");
    let alone = Alone::new(&folder_of_videos);
    let state = Data::new(start(&folder_of_videos).unwrap());
    let (pictures, clip) = frames();
    let (expected, prompt_tokens) = alone.answer(&prompt((pictures.clone(), Some(clip))));
    let (status, reply) = post(&state, json!({"url": address(&pictures)}), json!({})).await;
    assert_eq!(status, 200, "{reply}");
    let content = reply["choices"][0]["message"]["content"].as_str().unwrap();
    assert_eq!(content.trim(), alone.0.tokenizer().decode(&expected).trim());
    assert_eq!(reply["usage"]["prompt_tokens"], prompt_tokens);

    // Sixteen frames of the same 4 s: four of them, and at the times they were.
    let many: Vec<Vec<u8>> = (0..16).map(|index| png(60 + index, 40)).collect();
    let chosen = [0, 5, 10, 15];
    let clip = Clip { duration_ms: 4_000, times_ms: chosen.iter().map(|&index| index * 250).collect() };
    let looked = chosen.iter().map(|&index| many[index as usize].clone()).collect();
    let (expected, prompt_tokens) = alone.answer(&prompt((looked, Some(clip))));
    let (_, reply) = post(&state, json!({"url": address(&many), "fps": 4}), json!({})).await;
    let content = reply["choices"][0]["message"]["content"].as_str().unwrap();
    assert_eq!(content.trim(), alone.0.tokenizer().decode(&expected).trim());
    assert_eq!(reply["usage"]["prompt_tokens"], prompt_tokens);

    for (video, word) in [
        (json!({"url": "data:video/mp4;base64,AAAA"}), "video/jpeg;base64,F1"),
        (json!({"url": "https://example.org/a.mp4"}), "not fetched"),
        (json!({"url": address(&pictures), "fps": -1}), "fps"),
    ] {
        let (status, refusal) = post(&state, video, json!({})).await;
        assert_eq!(status, 400, "{refusal}");
        let message = refusal["error"]["message"].as_str().unwrap();
        assert!(message.contains(word), "{message}");
    }

    // A checkpoint without videos sees pictures spread over it, no more than it may be sent.
    let place = folder("Idefics3", "SmolVLM-256M-Instruct");
    let state = Data::new(start(&place.path().join("SmolVLM-256M-Instruct")).unwrap());
    let small: Vec<Vec<u8>> = (0..16).map(|index| png(8 + index, 8)).collect();
    let (status, reply) = post(&state, json!({"url": address(&small)}), json!({})).await;
    // Its tiles may be more than its context holds, which is then said.
    let message = reply["error"]["message"].as_str().unwrap_or_default();
    assert!(status == 200 || reply["error"]["code"] == "context_length_exceeded", "{status} {message}");
}
