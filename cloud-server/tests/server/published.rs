//! A published checkpoint's own folder behind `--weights`: pictures in tiles, text alone, no probe, no model for the page.
//!
//! Its weights are random; that they are computed as in transformers is held to in `models`. Here the server answers what the
//! model by itself answers.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::web::Data;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use clap::Parser as _;
use msao_models::{
    Assistant, CheckpointFiles, DeviceKind, KeptTokens, ModelConfig, Prompt, RgbImage, device,
};
use msao_planner::tiles::{TAU_TILES, kept_tiles};
use msao_protocol::{Ask, ClientMessage, ErrorCode, FinishReason, Modality};
use msao_server::{AppState, ServerConfig, StartupError, create_app, listen, prepare};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_tungstenite::connect_async;

use crate::published_checkpoint::{checkpoint, published, reduced, safetensors};
use crate::speculation::{PATIENT, draft};
use crate::support::{Client, ask, png, with_image};

/// The folder of a family, named as its repository.
pub(crate) fn folder(family: &str, name: &str) -> TempDir {
    let place = TempDir::new().unwrap();
    let folder = place.path().join(name);
    fs::create_dir(&folder).unwrap();
    let files = checkpoint(family);
    fs::write(folder.join("config.json"), &files.config_json).unwrap();
    fs::write(folder.join("tokenizer.json"), &files.tokenizer_json).unwrap();
    let (_, preprocessor) = reduced(family);
    if !preprocessor.is_null() {
        fs::write(folder.join("preprocessor_config.json"), preprocessor.to_string()).unwrap();
    }
    for file in ["chat_template.json", "tokenizer_config.json"] {
        let content = published(name, file);
        if !content.is_null() {
            fs::write(folder.join(file), content.to_string()).unwrap();
        }
    }
    let tensors = ModelConfig::from_json(&files.config_json).unwrap().tensors();
    fs::write(folder.join("model.safetensors"), safetensors(&tensors)).unwrap();
    place
}

/// Puts a folder's weights into two files with an index, as published ones of gigabytes are.
pub(crate) fn split_in_two(folder: &Path) {
    let config = ModelConfig::from_json(&fs::read(folder.join("config.json")).unwrap()).unwrap();
    let tensors = config.tensors();
    let mut places = serde_json::Map::new();
    for (number, part) in tensors.chunks(tensors.len().div_ceil(2)).enumerate() {
        let name = format!("model-{:05}-of-00002.safetensors", number + 1);
        fs::write(folder.join(&name), safetensors(part)).unwrap();
        places.extend(part.iter().map(|(tensor, _)| (tensor.clone(), name.clone().into())));
    }
    let index = serde_json::json!({ "weight_map": places });
    fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
    fs::remove_file(folder.join("model.safetensors")).unwrap();
}

pub(crate) fn start(folder: &Path) -> Result<AppState, StartupError> {
    start_with(folder, &[])
}

pub(crate) fn start_with(folder: &Path, flags: &[&str]) -> Result<AppState, StartupError> {
    let arguments = ["msao-server", "--weights", folder.to_str().unwrap()];
    prepare(&ServerConfig::parse_from(arguments.iter().chain(flags)))
}

pub(crate) async fn session(state: Data<AppState>) -> Client {
    let (server, address) = listen(state, ([127, 0, 0, 1], 0).into()).unwrap();
    actix_web::rt::spawn(server);
    let (socket, _response) = connect_async(format!("ws://{address}/v1/session")).await.unwrap();
    let mut client = Client::new(socket);
    client.send(&ClientMessage::Hello { client: "test".into() }).await;
    client.next().await;
    client
}

/// What the model by itself answers, and how many tokens its prompt has.
fn alone(folder: &Path, question: &str, image: Option<&[u8]>) -> (Vec<u32>, usize, usize) {
    let device = pollster::block_on(device::open(DeviceKind::Cpu)).unwrap();
    let assistant = Assistant::load(&CheckpointFiles::from_dir(folder).unwrap(), &device).unwrap();
    let decode = |bytes: &[u8]| {
        let image = image::load_from_memory(bytes).unwrap().into_rgb8();
        RgbImage::from_rgb(image.width(), image.height(), image.into_raw()).unwrap()
    };
    let prompt = Prompt {
        question: question.to_owned(),
        images: image.map(decode).into_iter().collect(),
        ..Prompt::default()
    };
    let tokens = assistant.layout(&prompt).unwrap();
    let seen = tokens.image_inputs.iter().flatten().map(|input| input.span.len()).sum();
    let mut generation = pollster::block_on(assistant.start(&prompt)).unwrap();
    while generation.tokens().len() < 16 && pollster::block_on(generation.next_token()).unwrap().is_some() {}
    (generation.tokens().to_vec(), tokens.ids.len(), seen)
}

#[actix_web::test]
async fn a_published_vision_checkpoint_answers_about_pictures_in_tiles() {
    for (family, name) in [("Idefics3", "SmolVLM-256M-Instruct"), ("SmolVLM2", "SmolVLM2-2.2B-Instruct")] {
        let place = folder(family, name);
        let folder = place.path().join(name);
        let state = start(&folder).unwrap();
        let info = state.engine.info().clone();
        assert_eq!(
            (info.model.name.as_str(), info.model.co_located_draft, info.audio_window_s),
            (name, false, None)
        );
        assert_eq!(info.model.image.side_px % info.model.image.tokens_per_side, 0, "{name}");
        let mut client = session(Data::new(state)).await;

        let picture = png(120, 40);
        client.send(&ClientMessage::Ask(with_image(ask(1, "What is this?"), picture.clone()))).await;
        let answer = client.answer(1).await;
        let (expected, prompt_tokens, seen) = alone(&folder, "What is this?", Some(&picture));
        let ids = |answer: &crate::support::Answer| -> Vec<u32> {
            answer.settled.iter().map(|one| one.token.id).collect()
        };
        assert_eq!(ids(&answer), expected, "{name}");
        assert_eq!(answer.receipt.prompt_tokens as usize, prompt_tokens);
        let of_vision = |modality: &&msao_protocol::ModalityReceipt| modality.modality == Modality::Vision;
        let vision = answer.receipt.modalities.iter().find(of_vision).unwrap();
        // Two rows of four tiles and the whole.
        assert_eq!((vision.prompt_tokens as usize, seen), (seen, 9 * 4), "{name}");

        // The next question goes on from what is kept of the picture.
        let next = Ask { continues: Some(1), ..ask(2, "And what else?") };
        client.send(&ClientMessage::Ask(next)).await;
        assert!(client.answer(2).await.receipt.reused_tokens as usize > prompt_tokens - 10, "{name}");

        client.send(&ClientMessage::Ask(ask(3, "How many?"))).await;
        assert_eq!(ids(&client.answer(3).await), alone(&folder, "How many?", None).0, "{name}");
    }
}

#[actix_web::test]
async fn a_text_only_checkpoint_answers_and_says_that_it_cannot_see() {
    let name = "SmolLM2-135M-Instruct";
    let place = folder("Llama", name);
    let folder = place.path().join(name);
    let state = start(&folder).unwrap();
    assert_eq!((state.limits.images, state.engine.info().sees), (0, false));
    let mut client = session(Data::new(state)).await;
    client.send(&ClientMessage::Ask(ask(1, "How many?"))).await;
    let answer = client.answer(1).await;
    let ids: Vec<u32> = answer.settled.iter().map(|one| one.token.id).collect();
    assert_eq!(ids, alone(&folder, "How many?", None).0);
    let pictured = with_image(ask(2, "what?"), png(8, 8));
    client.refused_with(pictured, ErrorCode::Unsupported, &["cannot see", "leave the pictures out"]).await;
}

#[actix_web::test]
async fn any_token_that_the_generation_config_names_ends_an_answer() {
    let name = "SmolLM2-135M-Instruct";
    let place = folder("Llama", name);
    let folder = place.path().join(name);
    let (whole, ..) = alone(&folder, "How many?", None);
    let (first, end) = (whole[0], *whole.iter().find(|&&token| token != whole[0]).unwrap());
    let until = whole.iter().position(|&token| token == end).unwrap();
    let unused = (0..).find(|token| !whole.contains(token)).unwrap();
    let named = serde_json::json!({ "eos_token_id": [unused, end] });
    fs::write(folder.join("generation_config.json"), named.to_string()).unwrap();
    assert_eq!(alone(&folder, "How many?", None).0, whole[..until]);
    let mut client = session(Data::new(start(&folder).unwrap())).await;
    client.send(&ClientMessage::Ask(ask(1, "How many?"))).await;
    let answer = client.answer(1).await;
    let ids: Vec<u32> = answer.settled.iter().map(|one| one.token.id).collect();
    assert_eq!((ids.as_slice(), answer.finish_reason), (&whole[..until], FinishReason::Stop), "from {first}");
    // A draft may hold the end, and nothing counts behind it.
    client.send(&ClientMessage::Ask(Ask { speculation: PATIENT, ..ask(2, "How many?") })).await;
    client.send(&draft(2, 0, 0, &whole[..until + 2], true)).await;
    let drafted = client.answer(2).await;
    assert_eq!((drafted.text, drafted.receipt.accepted_drafts as usize), (answer.text, until + 1));
}

#[test]
fn a_folder_that_is_no_good_is_named_with_the_remedy() {
    let name = "SmolLM2-135M-Instruct";
    let place = folder("Llama", name);
    let folder = place.path().join(name);
    fs::write(folder.join("model.safetensors"), b"cut").unwrap();
    let refused = start(&folder).err().unwrap().to_string();
    assert!(refused.contains("model.safetensors is damaged") && refused.contains("fetch"), "{refused}");
    fs::write(folder.join("config.json"), r#"{"architectures": ["GPT2LMHeadModel"]}"#).unwrap();
    let refused = start(&folder).err().unwrap().to_string();
    assert!(refused.contains("GPT2LMHeadModel") && refused.contains("LlamaForCausalLM"), "{refused}");
    let refused = start(place.path()).err().unwrap().to_string();
    assert!(refused.contains("--weights"), "{refused}");
}

/// Flat but for one corner, so that most of its tiles show nothing.
fn mostly_empty() -> Vec<u8> {
    let pixel = |x: u32, y: u32| {
        if x < 60 && y < 60 { [(x * y * 7) as u8, (x * 90) as u8, y as u8] } else { [128; 3] }
    };
    let image = image::RgbImage::from_fn(480, 240, |x, y| image::Rgb(pixel(x, y)));
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

async fn complete(state: &Data<AppState>, picture: &[u8], more: Value) -> Value {
    let app = init_service(create_app(state.clone())).await;
    let url = format!("data:image/png;base64,{}", BASE64_STANDARD.encode(picture));
    let content = json!([
        {"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]);
    let messages = json!([{"role": "user", "content": content}]);
    let model = &state.engine.info().model.name;
    let mut body = json!({"model": model, "messages": messages, "max_tokens": 16});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let request = TestRequest::post().uri("/v1/chat/completions").set_json(body).to_request();
    serde_json::from_slice(&read_body(call_service(&app, request).await).await).unwrap()
}

pub(crate) fn vision_of(reply: &Value) -> [u64; 4] {
    let modalities = reply["receipt"]["modalities"].as_array().unwrap();
    let vision = modalities.iter().find(|one| one["modality"] == "vision").unwrap();
    ["prompt_tokens", "given_tokens", "inputs", "kept_inputs"].map(|field| vision[field].as_u64().unwrap())
}

#[actix_web::test]
async fn tiles_that_show_little_are_left_unread_on_request_and_the_answer_is_the_target_s_own() {
    for (family, name) in [("Idefics3", "SmolVLM-256M-Instruct"), ("SmolVLM2", "SmolVLM2-2.2B-Instruct")] {
        let place = folder(family, name);
        let folder = place.path().join(name);
        let state = Data::new(start(&folder).unwrap());
        let bytes = mostly_empty();

        let device = pollster::block_on(device::open(DeviceKind::Cpu)).unwrap();
        let assistant = Assistant::load(&CheckpointFiles::from_dir(&folder).unwrap(), &device).unwrap();
        let rgb = image::load_from_memory(&bytes).unwrap().into_rgb8();
        let picture = RgbImage::from_rgb(rgb.width(), rgb.height(), rgb.into_raw()).unwrap();
        let patches = pollster::block_on(assistant.saliency(&picture)).unwrap();
        // Two rows of four tiles, and the whole.
        let tiles = kept_tiles(&patches, 2, 4, TAU_TILES);
        let kept_inputs = tiles.iter().filter(|kept| **kept).count() + 1;
        assert!(tiles[0] && kept_inputs < 9, "{name}: {tiles:?}");
        let kept = KeptTokens { images: vec![Some(assistant.tokens_of_tiles(&tiles))], audio: None };
        let prompt =
            Prompt { question: "What is this?".into(), images: vec![picture], kept, ..Prompt::default() };
        let mut generation = pollster::block_on(assistant.start(&prompt)).unwrap();
        while generation.tokens().len() < 16 && pollster::block_on(generation.next_token()).unwrap().is_some()
        {
        }
        let expected = assistant.tokenizer().decode(generation.tokens());

        let whole = complete(&state, &bytes, json!({})).await;
        let pruned = complete(&state, &bytes, json!({"msao": {"prune_tiles": true}})).await;
        assert_eq!(
            pruned["choices"][0]["message"]["content"].as_str().unwrap().trim(),
            expected.trim(),
            "{name}"
        );
        let per_input = vision_of(&whole)[0] / 9;
        assert_eq!(vision_of(&whole), [9 * per_input, 9 * per_input, 9, 9], "{name}");
        let kept_inputs = kept_inputs as u64;
        assert_eq!(vision_of(&pruned), [kept_inputs * per_input, 9 * per_input, 9, kept_inputs], "{name}");
        let flops = |reply: &Value| reply["receipt"]["flops"].as_u64().unwrap();
        assert!(flops(&pruned) < flops(&whole), "{name}: {} {}", flops(&pruned), flops(&whole));

        // Asked again, and whole behind it: what is kept of the pruned prompt is not taken for the whole one.
        assert_eq!(
            complete(&state, &bytes, json!({"msao": {"prune_tiles": true}})).await["choices"],
            pruned["choices"]
        );
        assert_eq!(complete(&state, &bytes, json!({})).await["choices"], whole["choices"], "{name}");
        let misspelt = complete(&state, &bytes, json!({"msao": {"prune": true}})).await;
        assert!(misspelt["error"]["message"].as_str().unwrap().contains("prune_tiles"), "{misspelt}");

        // A session that sends whole pictures, where the server is told so.
        let pruning = Data::new(start_with(&folder, &["--prune-tiles"]).unwrap());
        let default = complete(&pruning, &bytes, json!({})).await;
        assert_eq!(vision_of(&default), vision_of(&pruned), "{name}");
        let refused = complete(&pruning, &bytes, json!({"msao": {"prune_tiles": false}})).await;
        assert_eq!(vision_of(&refused), vision_of(&whole), "{name}");
        let mut client = session(pruning).await;
        client.send(&ClientMessage::Ask(with_image(ask(1, "What is this?"), bytes.clone()))).await;
        let ids: Vec<u32> = client.answer(1).await.settled.iter().map(|one| one.token.id).collect();
        assert_eq!(ids, generation.tokens(), "{name}");
    }
}
