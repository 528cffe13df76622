//! What is refused, with the remedy, and before the weights move.

use msao_models::WeightsFormat;
use msao_server::hub::{HubError, MemoryLimit, Purpose, Wanted};
use serde_json::json;

use crate::hub_server::{Fault, HubServer};
use crate::support::{Client, repository, sharded, weights};

/// Bytes of weights that may be read before a checkpoint is refused: the beginnings of its files.
const HEADER_BYTES: usize = 256 << 10;

async fn refused(change: impl FnOnce(&HubServer), words: &[&str]) {
    let hub = HubServer::start(repository()).await;
    change(&hub);
    let mut client = Client::new(&hub);
    let refused = client.refusal().await;
    for word in words {
        assert!(refused.contains(word), "no `{word}` in: {refused}");
    }
    assert!(hub.weights_sent() <= HEADER_BYTES, "{} bytes moved: {refused}", hub.weights_sent());
    assert!(client.planned.is_empty() && client.parts().is_empty(), "{refused}");
}

#[actix_web::test]
async fn another_architecture_is_refused_by_its_configuration() {
    let gpt = json!({"architectures": ["GPT2LMHeadModel"]}).to_string().into_bytes();
    refused(|hub| hub.set_file("config.json", gpt), &["GPT2LMHeadModel", "LlamaForCausalLM"]).await;
    refused(|hub| hub.set_file("config.json", b"<html>".to_vec()), &["config.json", "not usable"]).await;
}

#[actix_web::test]
async fn a_checkpoint_for_another_purpose_is_refused() {
    let hub = HubServer::start(repository()).await;
    let mut client = Client::new(&hub);
    let wanted = Wanted { purpose: Purpose::Speech, ..Wanted::default() };
    let words = client.fetch_wanting(wanted).await.unwrap_err().to_string();
    assert!(words.contains("whisper"), "{words}");
    assert_eq!(hub.weights_sent(), 0);
    client.fetch_wanting(Wanted { purpose: Purpose::Any, ..Wanted::default() }).await.unwrap();
}

#[actix_web::test]
async fn incomplete_repositories_are_refused() {
    for missing in ["config.json", "tokenizer.json", "model.safetensors"] {
        refused(|hub| hub.remove_file(missing), &[missing, "choose a checkpoint"]).await;
    }
    // The listing and the file may differ.
    refused(
        |hub| hub.fault("/config.json", Fault::Status(404, vec![("X-Error-Code", "EntryNotFound".into())])),
        &["has no config.json"],
    )
    .await;
}

#[actix_web::test]
async fn weights_that_do_not_belong_to_the_configuration_are_refused_by_their_headers() {
    let one = weights(&[("model.norm.weight".to_owned(), vec![32])]);
    refused(|hub| hub.set_file("model.safetensors", one), &["no tensor `model.", "config.json"]).await;
    let mut cut = repository().remove("model.safetensors").unwrap();
    cut.truncate(cut.len() - 4);
    refused(|hub| hub.set_file("model.safetensors", cut), &["model.safetensors is damaged"]).await;
    let html = b"<!doctype html><title>Sign in</title>".to_vec();
    refused(|hub| hub.set_file("model.safetensors", html), &["no safetensors file"]).await;
    refused(|hub| hub.set_file("model.safetensors", Vec::new()), &["model.safetensors is damaged"]).await;
}

#[actix_web::test]
async fn shards_are_held_to_their_index() {
    let hub = HubServer::start(sharded()).await;
    hub.remove_file("model-00002-of-00002.safetensors");
    let refused = Client::new(&hub).refusal().await;
    assert!(refused.contains("has no model-00002-of-00002.safetensors"), "{refused}");
    let index = json!({"weight_map": {"model.norm.weight": "../../../escape.safetensors"}});
    hub.set_file("model.safetensors.index.json", index.to_string().into_bytes());
    let refused = Client::new(&hub).refusal().await;
    assert!(refused.contains("escape.safetensors") && refused.contains("beside it"), "{refused}");
}

#[actix_web::test]
async fn what_does_not_fit_the_memory_is_refused() {
    let hub = HubServer::start(repository()).await;
    let mut client = Client::new(&hub);
    let wanting = |bytes| {
        let memory = Some(MemoryLimit { bytes, format: WeightsFormat::default() });
        Wanted { memory, ..Wanted::default() }
    };
    let error = client.fetch_wanting(wanting(1_000)).await.unwrap_err();
    assert!(matches!(error, HubError::Unsuitable { .. }), "{error}");
    let words = error.to_string();
    assert!(words.contains("MB are free") && words.contains("smaller"), "{words}");
    assert_eq!(hub.weights_sent(), 0);
    client.fetch_wanting(wanting(1 << 30)).await.unwrap();
}

#[actix_web::test]
async fn closed_doors_are_told_apart() {
    let hub = HubServer::start(repository()).await;
    let mut client = Client::new(&hub);
    client.reference = "hub:someone/nothing".parse().unwrap();
    let words = client.refusal().await;
    assert!(words.contains("someone/nothing") && words.contains("check the name"), "{words}");
    client.reference = "hub:someone/tiny-llama@v9".parse().unwrap();
    let words = client.refusal().await;
    assert!(words.contains("no revision v9"), "{words}");

    hub.ask_for("hf_right");
    let words = Client::new(&hub).refusal().await;
    assert!(words.contains("HF_TOKEN"), "{words}");
    let invalid = vec![("X-Error-Message", "Invalid credentials in Authorization header".to_owned())];
    hub.fault("/revision/main", Fault::Status(401, invalid));
    let words = Client::new(&hub).with_token("hf_wrong").refusal().await;
    assert!(words.contains("does not take the token") && !words.contains("hf_wrong"), "{words}");

    hub.gate();
    for mut client in [Client::new(&hub), Client::new(&hub).with_token("hf_wrong")] {
        let words = client.refusal().await;
        let page = format!("{}/someone/tiny-llama", hub.address);
        assert!(words.contains("accept its licence") && words.contains(&page), "{words}");
        assert!(!words.contains("hf_wrong"), "{words}");
    }
    assert_eq!(hub.weights_sent(), 0);
    Client::new(&hub).with_token("hf_right").fetch().await.unwrap();
}

#[actix_web::test]
async fn answers_have_budgets() {
    let large = [br#"{"sha": ""#.to_vec(), vec![b'a'; 9 << 20], br#""}"#.to_vec()].concat();
    refused(|hub| hub.fault("/revision/main", Fault::Body(large)), &["more than", "bytes"]).await;
    refused(|hub| hub.fault("/revision/main", Fault::Body(b"<html>".to_vec())), &["not usable"]).await;
    refused(|hub| hub.set_info("sha", json!("../../../../tmp")), &["names no commit"]).await;
    let large = |name: &str, bytes: u64| json!({"rfilename": name, "size": bytes, "blobId": "ab".repeat(20)});
    let files = [large("config.json", 65 << 20), large("tokenizer.json", 9), large("model.safetensors", 9)];
    refused(|hub| hub.set_info("siblings", json!(files)), &["config.json", "at most"]).await;
}

#[actix_web::test]
async fn redirects_end_and_lead_nowhere_unsafe() {
    let around = || Fault::Redirect("/api/models/someone/tiny-llama/revision/main".to_owned());
    refused(|hub| (0..9).for_each(|_| hub.fault("/revision/main", around())), &["redirects again and again"])
        .await;
    for elsewhere in ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,{}"] {
        let fault = Fault::Redirect(elsewhere.to_owned());
        refused(|hub| hub.fault("/revision/main", fault), &["not safe"]).await;
    }
}
