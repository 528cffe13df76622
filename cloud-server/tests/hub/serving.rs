//! The server with names on the hub instead of folders: it answers with the real engine, says where its model comes from, and
//! relays the page's model from its own origin.

use std::collections::BTreeMap;
use std::path::Path;

use actix_web::web::{self, Data};
use clap::Parser as _;
use msao_models::ModelConfig;
use msao_server::{AppState, ServerConfig, StartupError, listen, prepare};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::hub_server::{COMMIT, HubServer, ID};
use crate::published_checkpoint::{checkpoint, published, safetensors};
use crate::speech_checkpoint::{NAMES, contents};
use crate::support::{CARD, repository};

/// A random checkpoint of published structure.
fn published_files() -> BTreeMap<String, Vec<u8>> {
    let files = checkpoint("Llama");
    let tensors = ModelConfig::from_json(&files.config_json).unwrap().tensors();
    let template = published("SmolLM2-135M-Instruct", "tokenizer_config.json").to_string();
    let files = [
        ("config.json", files.config_json),
        ("tokenizer.json", files.tokenizer_json),
        ("tokenizer_config.json", template.into_bytes()),
        ("model.safetensors", safetensors(&tensors)),
        ("README.md", CARD.as_bytes().to_vec()),
    ];
    files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect()
}

async fn start(hub: &HubServer, cache: &Path, flags: &[&str]) -> Result<AppState, StartupError> {
    let always = [
        "msao-server",
        "--hub-endpoint",
        &hub.address,
        "--hub-cache",
        cache.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
    ];
    let config = ServerConfig::parse_from(always.iter().chain(flags));
    web::block(move || prepare(&config)).await.unwrap()
}

/// The server's address.
fn serve(state: AppState) -> String {
    let (server, address) = listen(Data::new(state), ([127, 0, 0, 1], 0).into()).unwrap();
    actix_web::rt::spawn(server);
    format!("http://{address}")
}

async fn get(address: String) -> reqwest::Response {
    reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .build()
        .unwrap()
        .get(address)
        .send()
        .await
        .unwrap()
}

async fn json_of(address: String) -> Value {
    serde_json::from_slice(&get(address).await.bytes().await.unwrap()).unwrap()
}

async fn answer(server: &str) -> Value {
    let question = json!({"model": "tiny-llama", "temperature": 0, "max_tokens": 12,
        "messages": [{"role": "user", "content": "How many?"}]});
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let request =
        client.post(format!("{server}/v1/chat/completions")).header("content-type", "application/json");
    let response = request.body(question.to_string()).send().await.unwrap();
    let answer: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    json!([
        answer["choices"][0]["message"],
        answer["usage"]["prompt_tokens"],
        answer["usage"]["completion_tokens"]
    ])
}

#[actix_web::test]
async fn a_checkpoint_from_the_hub_answers_as_its_folder_does() {
    let files = published_files();
    let hub = HubServer::start(files.clone()).await;
    let (cache, place) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let folder = place.path().join("tiny-llama");
    std::fs::create_dir(&folder).unwrap();
    files.iter().for_each(|(name, bytes)| std::fs::write(folder.join(name), bytes).unwrap());
    let local = serve(start(&hub, cache.path(), &["--weights", folder.to_str().unwrap()]).await.unwrap());
    assert!(hub.seen().is_empty());
    let name = format!("hub:{ID}");
    let fetched = serve(start(&hub, cache.path(), &["--weights", &name]).await.unwrap());
    let said = answer(&fetched).await;
    assert!(said[2].as_u64() > Some(0), "{said}");
    assert_eq!(said, answer(&local).await);

    let source = format!("hub:{ID}@{COMMIT}");
    let health = json_of(format!("{fetched}/healthz")).await;
    let model = json_of(format!("{fetched}/v1/models/tiny-llama")).await;
    for told in [&health, &model] {
        assert_eq!(
            (told["source"].as_str(), told["license"].as_str()),
            (Some(source.as_str()), Some("apache-2.0"))
        );
    }
    let health = json_of(format!("{local}/healthz")).await;
    assert_eq!((health["source"].as_str(), health["license"].as_str()), (None, Some("apache-2.0")));

    // Once more, without the hub.
    hub.stop().await;
    let again = serve(start(&hub, cache.path(), &["--weights", &name, "--hub-offline"]).await.unwrap());
    assert_eq!(answer(&again).await, said);
}

#[actix_web::test]
async fn the_pages_model_is_relayed_from_this_origin() {
    let files = published_files();
    let hub = HubServer::start(files.clone()).await;
    let cache = TempDir::new().unwrap();
    let name = format!("hub:{ID}");
    let server =
        serve(start(&hub, cache.path(), &["--weights", &name, "--edge-model", &name]).await.unwrap());
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        let response = get(format!("{server}/weights/tiny-llama/{file}")).await;
        assert_eq!(response.status().as_u16(), 200, "{file}");
        assert!(response.bytes().await.unwrap() == files[file], "{file} differs");
    }
}

#[actix_web::test]
async fn what_cannot_be_had_keeps_the_server_from_starting() {
    let hub = HubServer::start(repository()).await;
    let cache = TempDir::new().unwrap();
    for (flags, words) in [
        (&["--weights", "hub:someone/nothing"][..], "check the name"),
        (&["--weights", "hub:nobody"], "hub:OWNER/NAME"),
        (&["--weights", "hub:someone/tiny-llama@v9"], "no revision v9"),
        (&["--weights", "hub:someone/tiny-llama", "--hub-offline"], "msao-server fetch"),
    ] {
        let refused = start(&hub, cache.path(), flags).await.err().unwrap().to_string();
        assert!(refused.contains(words), "{refused}");
    }
    assert_eq!(hub.weights_sent(), 0);
}

#[actix_web::test]
async fn a_speech_model_comes_from_the_hub_too_for_the_server_and_for_pages() {
    let files: BTreeMap<String, Vec<u8>> =
        NAMES.iter().map(|name| (*name).to_owned()).zip(contents("english")).collect();
    let hub = HubServer::start(files).await;
    let cache = TempDir::new().unwrap();
    let reference = format!("hub:{ID}");
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/weights");
    let flags = ["--weights", shipped, "--speech", &reference, "--edge-speech", &reference];
    let state = start(&hub, cache.path(), &flags).await.unwrap();
    let name = ID.rsplit('/').next().unwrap();
    assert_eq!(state.speech.as_ref().unwrap().name(), name);
    let address = serve(state);
    let listing = get(format!("{address}/weights/index.json")).await.text().await.unwrap();
    let listing: Value = serde_json::from_str(&listing).unwrap();
    assert_eq!(listing["speech"]["name"], name);
    // What answers questions writes nothing down, and is refused before its weights move.
    let other = HubServer::start(repository()).await;
    let cache = TempDir::new().unwrap();
    let refused = start(&other, cache.path(), &flags).await.err().unwrap().to_string();
    assert!(refused.contains("whisper"), "{refused}");
    assert_eq!(other.weights_sent(), 0);
}
