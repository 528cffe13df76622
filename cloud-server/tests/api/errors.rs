//! What is refused, with which status, and that nothing is left behind by it.

use actix_web::test::TestRequest;
use msao_protocol::Limits;
use serde_json::{Value, json};

use crate::support::{Options, asking, completion, get, post, send, state, with_image};

#[actix_web::test]
async fn refusals_have_a_status_a_code_and_the_field_to_blame() {
    let limits =
        Limits { image_bytes: 3_000, message_bytes: 30_000, question_chars: 50, ..Limits::default() };
    let state = state(Options { limits, ..Options::default() });
    let image = |url: &str| json!({"model": "tiny", "messages": with_image("what?", url)});
    let plain = |more: Value| {
        let mut body = json!({"model": "tiny", "messages": [{"role": "user", "content": "what?"}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let damaged = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB";
    let cases = [
        (json!({"messages": []}), 400, "invalid_json", "body"),
        (json!({"model": "tiny", "messages": 3}), 400, "invalid_json", "messages"),
        (json!({"model": "tiny", "messages": []}), 400, "invalid_order", "messages"),
        (plain(json!({"model": "gpt-4o"})), 404, "model_not_found", "model"),
        (plain(json!({"n": 2})), 400, "unsupported_parameter", "n"),
        (plain(json!({"tools": [{}]})), 400, "unsupported_parameter", "tools"),
        (plain(json!({"temperature": 3})), 400, "invalid_value", "temperature"),
        (plain(json!({"stop": ""})), 400, "invalid_value", "stop"),
        (asking(&"why ".repeat(20), &json!({})), 400, "context_length_exceeded", "messages"),
        (asking(" ", &json!({})), 400, "empty_question", "messages"),
        (image("data:image/png;base64,AAAA"), 422, "not_an_image", "messages"),
        (image(damaged), 422, "truncated", "messages"),
        (
            image("data:image/bmp;base64,AAAA"),
            400,
            "invalid_image_url",
            "messages[0].content[1].image_url.url",
        ),
        (image("https://example.org/a.png"), 400, "invalid_image_url", "messages"),
        (
            image(&format!("data:image/png;base64,{}", "A".repeat(6_000))),
            413,
            "too_large",
            "messages[0].content[1].image_url.url",
        ),
    ];
    for (body, status, code, param) in cases {
        let reply = post(&state, &body).await;
        let told = reply.json();
        assert_eq!((reply.status.as_u16(), reply.error()), (status, code.to_owned()), "{told}");
        assert_eq!(told["error"]["param"], param, "{told}");
        assert!(told["error"]["message"].as_str().unwrap().len() > 20, "{told}");
    }
    let garbage = TestRequest::post().uri("/v1/chat/completions").set_payload("{\"model\": \"tiny\"");
    assert_eq!(send(&state, garbage).await.error(), "invalid_json");
    let large = TestRequest::post().uri("/v1/chat/completions").set_payload(vec![b' '; 2 << 20]);
    let reply = send(&state, large).await;
    assert_eq!((reply.status.as_u16(), reply.error()), (413, "too_large".to_owned()));

    assert_eq!(state.engine.occupancy(), 0);
    completion(&state, &asking("what is this?", &json!({"max_tokens": 1}))).await;
}

#[actix_web::test]
async fn unknown_addresses_and_methods_are_told_in_the_same_form() {
    let state = state(Options::default());
    for (request, status, code) in [
        (TestRequest::get().uri("/v1/completions"), 404, "unknown_url"),
        (TestRequest::post().uri("/v1/embeddings"), 404, "unknown_url"),
        (TestRequest::get().uri("/v1/models/gpt-4o"), 404, "model_not_found"),
        (TestRequest::get().uri("/v1/chat/completions"), 405, "method_not_allowed"),
        (TestRequest::delete().uri("/v1/models"), 405, "method_not_allowed"),
    ] {
        let reply = send(&state, request).await;
        assert_eq!((reply.status.as_u16(), reply.error()), (status, code.to_owned()));
    }
}

#[actix_web::test]
async fn a_full_queue_says_when_to_come_back() {
    let state = state(Options { places: 2, ..Options::default() });
    let places = [state.engine.reserve().unwrap(), state.engine.reserve().unwrap()];
    for stream in [false, true] {
        let reply = post(&state, &asking("what is this?", &json!({"stream": stream}))).await;
        assert_eq!((reply.status.as_u16(), reply.error()), (429, "busy".to_owned()));
        assert_eq!(reply.json()["error"]["type"], "rate_limit_error");
        let seconds: u32 = reply.header("retry-after").parse().unwrap();
        let milliseconds: u32 = reply.header("retry-after-ms").parse().unwrap();
        assert_eq!(seconds, milliseconds.div_ceil(1_000).max(1));
    }
    let metrics = get(&state, "/metrics").await;
    assert!(metrics.text().contains("msao_refusals_total{code=\"busy\"} 2"), "{}", metrics.text());
    assert!(!metrics.text().contains("msao_requests_total{"), "none of them has begun");
    drop(places);
    completion(&state, &asking("what is this?", &json!({"max_tokens": 1}))).await;
}

#[actix_web::test]
async fn a_server_that_stops_takes_nothing_new_and_says_so() {
    let state = state(Options::default());
    assert_eq!(get(&state, "/readyz").await.status.as_u16(), 200);
    state.drain.begin();
    let reply = post(&state, &asking("what is this?", &json!({}))).await;
    assert_eq!((reply.status.as_u16(), reply.error()), (503, "shutting_down".to_owned()));
    assert!(!reply.header("retry-after").is_empty());
    let ready = get(&state, "/readyz").await;
    assert_eq!((ready.status.as_u16(), ready.json()), (503, json!({"status": "stopping"})));
    assert_eq!(get(&state, "/healthz").await.status.as_u16(), 200, "it lives until it ends");
}
