//! Models for the page: any checkpoint folder, with a manifest made for those that have none, and a list to choose from.

use std::fs;
use std::path::Path;

use actix_web::http::StatusCode;
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::web::Data;
use clap::Parser as _;
use msao_models::ModelConfig;
use msao_server::{AppState, ServerConfig, StartupError, create_app, prepare};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::checkpoint::checkpoint;
use crate::published::{folder, split_in_two};

fn configured(flags: &[&str]) -> Result<AppState, StartupError> {
    let weights = checkpoint().parent().unwrap().display().to_string();
    let always = ["msao-server", "--weights", &weights, "--model", "tiny"];
    prepare(&ServerConfig::parse_from(always.iter().chain(flags)))
}

async fn get(state: &Data<AppState>, path: &str) -> (StatusCode, Vec<u8>) {
    let app = init_service(create_app(state.clone())).await;
    let response = call_service(&app, TestRequest::get().uri(path).to_request()).await;
    (response.status(), read_body(response).await.to_vec())
}

async fn get_json(state: &Data<AppState>, path: &str) -> Value {
    let (status, body) = get(state, path).await;
    assert_eq!(status, StatusCode::OK, "{path}: {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[actix_web::test]
async fn a_folder_without_a_manifest_gets_one_that_its_files_meet() {
    let name = "SmolVLM-256M-Instruct";
    let place = folder("Idefics3", name);
    let folder = place.path().join(name);
    fs::write(folder.join("README.md"), "---\nlicense: apache-2.0\n---\n# A card").unwrap();
    fs::write(folder.join("optimizer.pt"), "not for pages").unwrap();
    split_in_two(&folder);
    let state = Data::new(configured(&["--edge-model", folder.to_str().unwrap()]).unwrap());

    let manifest = get_json(&state, &format!("/weights/{name}/MANIFEST.json")).await;
    assert_eq!((&manifest["name"], &manifest["licence"]), (&json!(name), &json!("apache-2.0")));
    let files = manifest["files"].as_object().unwrap();
    for wanted in ["config.json", "tokenizer.json", "preprocessor_config.json", "chat_template.json"] {
        assert!(files.contains_key(wanted), "{wanted}");
    }
    let shards = files.keys().filter(|name| name.starts_with("model-0000")).count();
    assert_eq!((shards, files.contains_key("model.safetensors.index.json")), (2, true));
    for (file, entry) in files {
        let (status, body) = get(&state, &format!("/weights/{name}/{file}")).await;
        assert_eq!(status, StatusCode::OK, "{file}");
        assert_eq!(
            (entry["bytes"].as_u64(), &entry["sha256"]),
            (Some(body.len() as u64), &json!(sha256(&body)))
        );
    }
    for other in ["README.md", "optimizer.pt", "model-00003-of-00002.safetensors"] {
        assert_eq!(
            get(&state, &format!("/weights/{name}/{other}")).await.0,
            StatusCode::NOT_FOUND,
            "{other}"
        );
    }

    // What changes on disk is hashed again.
    fs::write(folder.join("generation_config.json"), "{}").unwrap();
    let manifest = get_json(&state, &format!("/weights/{name}/MANIFEST.json")).await;
    assert_eq!(manifest["files"]["generation_config.json"]["bytes"], 2);
    // What is gone is told, not served.
    fs::remove_file(folder.join("model-00002-of-00002.safetensors")).unwrap();
    let (status, _) = get(&state, &format!("/weights/{name}/MANIFEST.json")).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[actix_web::test]
async fn the_page_is_told_what_it_may_choose_from() {
    let (vlm, text) = ("SmolVLM-256M-Instruct", "SmolLM2-135M-Instruct");
    let (first, second) = (folder("Idefics3", vlm), folder("Llama", text));
    let both = [first.path().join(vlm), second.path().join(text)];
    let target = both[1].display().to_string();
    let flags = ["msao-server", "--weights", &target, "--edge-model"];
    let models = both.each_ref().map(|folder| folder.display().to_string()).join(",");
    let state = Data::new(prepare(&ServerConfig::parse_from(flags.into_iter().chain([&*models]))).unwrap());

    let listed = get_json(&state, "/weights/index.json").await;
    let models = listed["models"].as_array().unwrap();
    let of = |key: &str| -> Vec<Value> { models.iter().map(|model| model[key].clone()).collect() };
    assert_eq!(of("name"), [vlm, text]);
    assert_eq!(of("sees"), [true, false]);
    assert_eq!(of("hears"), [false, false]);
    // The tokens that they share are all of the one's and most of the other's.
    assert_eq!(of("drafts"), [true, true]);
    assert_eq!(models[0]["vocabulary"], models[1]["vocabulary"]);
    let bytes = |folder: &Path| fs::metadata(folder.join("model.safetensors")).unwrap().len();
    for (model, folder) in models.iter().zip(&both) {
        assert!(model["bytes"].as_u64().unwrap() > bytes(folder));
        let config = ModelConfig::from_json(&fs::read(folder.join("config.json")).unwrap()).unwrap();
        let parameters: usize =
            config.tensors().iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
        assert_eq!(model["parameters"], parameters);
        let memory = model["memory"].as_array().unwrap();
        let formats: Vec<&str> = memory.iter().filter_map(|needs| needs["format"].as_str()).collect();
        assert_eq!(formats, ["f32", "f16", "int8", "q4"]);
        let weights: Vec<u64> = memory.iter().filter_map(|needs| needs["weights_bytes"].as_u64()).collect();
        assert!(weights[0] >= 4 * parameters as u64 && weights.is_sorted_by(|a, b| a > b), "{weights:?}");
        for needs in memory {
            assert!(needs["peak_bytes"].as_u64() > needs["weights_bytes"].as_u64());
            assert!(needs["largest_tensor_bytes"].as_u64() < needs["weights_bytes"].as_u64());
        }
    }
}

#[actix_web::test]
async fn a_model_of_another_tokenizer_is_listed_as_one_that_cannot_draft() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/weights/pocket-edge");
    let both = format!("{},tiny", shipped.display());
    let state = Data::new(configured(&["--edge-model", &both]).unwrap());
    let listed = get_json(&state, "/weights/index.json").await;
    let models = listed["models"].as_array().unwrap();
    let of = |key: &str| -> Vec<Value> { models.iter().map(|model| model[key].clone()).collect() };
    assert_eq!(of("name"), ["pocket-edge", "tiny"]);
    assert_eq!(of("drafts"), [false, true]);
    assert_eq!(models[0]["licence"], "Apache-2.0 OR MIT");
}

#[test]
fn what_no_page_can_run_is_refused_at_the_start() {
    let place = folder("Llama", "other");
    let folder = place.path().join("other");
    let path = folder.display().to_string();
    let twice = configured(&["--edge-model", &path, "--edge-model", &path]).err().unwrap().to_string();
    assert!(twice.contains("`other`") && twice.contains("--edge-model"), "{twice}");
    fs::write(folder.join("config.json"), r#"{"architectures": ["GPT2LMHeadModel"]}"#).unwrap();
    let refused = configured(&["--edge-model", &path]).err().unwrap().to_string();
    assert!(refused.contains("GPT2LMHeadModel") && refused.contains("LlamaForCausalLM"), "{refused}");
}
