//! Models, health, metrics, and the description of it all.

use std::collections::BTreeMap;

use actix_web::http::Method;
use actix_web::test::TestRequest;
use futures_util::FutureExt as _;
use msao_protocol::Ask;
use msao_server::engine::{Engine as _, EngineEvent, job};
use serde_json::{Value, json};

use crate::schema::assert_conforms;
use crate::support::{Options, asking, completion, engine, get, post, send, state, with_image};

#[actix_web::test]
async fn the_model_is_told_by_name() {
    let state = state(Options::default());
    let models = get(&state, "/v1/models").await.json();
    assert_conforms(&models, "Models");
    assert_eq!(models["data"][0]["id"], "tiny");
    let one = get(&state, "/v1/models/tiny").await.json();
    assert_eq!(one, models["data"][0]);
}

#[actix_web::test]
async fn health_and_readiness_are_described() {
    let state = state(Options::default());
    assert_conforms(&get(&state, "/healthz").await.json(), "Health");
    assert_conforms(&get(&state, "/readyz").await.json(), "Readiness");
}

#[actix_web::test]
async fn every_described_operation_exists_and_the_page_stands_alone() {
    let state = state(Options::default());
    let document = get(&state, "/openapi.json").await.json();
    let mut operations = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let uri = path.replace("{model}", "tiny");
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let reply = send(&state, TestRequest::with_uri(&uri).method(method.clone())).await;
            assert!(![404, 405].contains(&reply.status.as_u16()), "{method} {path}: {}", reply.status);
            operations += 1;
        }
    }
    assert!(operations >= 9);
    let page = get(&state, "/docs").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.text().contains("/v1/chat/completions") && page.body.len() < 40_000);
}

/// Samples by name and labels.
fn samples(text: &str) -> BTreeMap<String, f64> {
    assert!(text.ends_with("# EOF\n"));
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    lines.map(sample).collect()
}

async fn metrics(state: &actix_web::web::Data<msao_server::AppState>) -> BTreeMap<String, f64> {
    let reply = get(state, "/metrics").await;
    assert!(reply.header("content-type").starts_with("application/openmetrics-text"));
    samples(reply.text())
}

#[actix_web::test]
async fn metrics_follow_what_happens() {
    let state = state(Options::default());
    let of = |samples: &BTreeMap<String, f64>, name: &str| samples.get(name).copied().unwrap_or(0.0);
    let before = metrics(&state).await;
    let answer: Value = completion(&state, &asking("what is this?", &json!({"max_tokens": 6}))).await;
    let url = format!(
        "data:image/png;base64,{}",
        base64::Engine::encode(&base64::prelude::BASE64_STANDARD, crate::support::png(20, 20))
    );
    let body =
        json!({"model": "tiny", "messages": with_image("what?", &url), "max_tokens": 3, "stream": true});
    post(&state, &body).await.chunks();
    post(&state, &asking("what?", &json!({"model": "other"}))).await;
    let after = metrics(&state).await;
    let grown = |name: &str| of(&after, name) - of(&before, name);
    assert_eq!(grown("msao_time_to_first_token_seconds_count"), 2.0);
    assert_eq!(grown("msao_time_per_output_token_seconds_count"), 2.0);
    assert_eq!(grown("msao_queue_wait_seconds_count"), 2.0);
    assert_eq!(grown("msao_requests_total{outcome=\"length\"}"), 2.0);
    assert_eq!(grown("msao_completion_tokens_total"), 9.0);
    assert!(grown("msao_prompt_tokens_total") > answer["usage"]["prompt_tokens"].as_f64().unwrap());
    assert_eq!(grown("msao_modality_actions_total{modality=\"vision\",action=\"whole\"}"), 1.0);
    assert!(grown("msao_received_bytes_total{modality=\"vision\"}") > 50.0);
    assert!(grown("msao_stage_seconds_total{stage=\"prefill\"}") > 0.0);
    assert_eq!(grown("msao_refusals_total{code=\"model_not_found\"}"), 1.0);
    let http = |status: u16| {
        format!(
            "msao_http_requests_total{{route=\"/v1/chat/completions\",method=\"POST\",status=\"{status}\"}}"
        )
    };
    assert_eq!((grown(&http(200)), grown(&http(404))), (2.0, 1.0));
    assert_eq!(of(&after, "msao_requests_running"), 0.0);
    assert!(of(&after, "msao_kv_budget_bytes") > 0.0);
    assert_eq!(grown("msao_batch_size_bucket{le=\"1.0\"}"), grown("msao_batch_size_count"));
    assert!(grown("msao_batch_size_count") >= 9.0 - 2.0, "prefill brings the first tokens");
}

#[test]
fn who_hears_of_the_end_is_counted_no_longer() {
    let engine = engine(&Options::default());
    for id in 0..200 {
        let (job, _handle, mut events) = job(Ask::new(id, "what?", 1), 1);
        engine.submit(engine.reserve().unwrap(), job);
        // Asked again and again, so that nothing passes between the end and the look at what is counted.
        loop {
            match events.next().now_or_never() {
                None | Some(Some(EngineEvent::Settled { .. })) => {}
                Some(Some(EngineEvent::Done(_))) => break,
                Some(other) => panic!("no end of an answer but {other:?}"),
            }
        }
        let statistics = engine.statistics();
        assert_eq!((statistics.waiting, statistics.running), (0, 0), "in round {id}");
    }
}

#[actix_web::test]
async fn strangers_cannot_invent_labels() {
    let state = state(Options::default());
    for path in ["/v1/a", "/v1/b", "/v1/models/x", "/v1/models/y"] {
        get(&state, path).await;
    }
    let odd = Method::from_bytes(b"ODD").unwrap();
    send(&state, TestRequest::with_uri("/v1/a").method(odd)).await;
    let labels: Vec<String> =
        metrics(&state).await.into_keys().filter(|name| name.starts_with("msao_http_requests")).collect();
    assert!(labels.iter().all(|label| !label.contains("ODD") && !label.contains("/x")), "{labels:?}");
    assert!(labels.iter().any(|label| label.contains("/v1/models/{model}")), "{labels:?}");
}
