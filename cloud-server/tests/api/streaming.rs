//! Streamed answers: the same as whole ones, in pieces.

use serde_json::{Value, json};

use crate::support::{Options, asking, completion, content, get, post, state};

fn text_of(chunks: &[Value]) -> String {
    chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect()
}

#[actix_web::test]
async fn a_stream_says_what_a_whole_answer_says() {
    let state = state(Options::default());
    for more in [
        json!({"max_tokens": 16}),
        json!({"max_tokens": 16, "temperature": 1.0, "seed": 7}),
        json!({"max_tokens": 16, "logprobs": true, "top_logprobs": 2}),
        json!({"max_tokens": 16, "stop": ["e", "no such text"]}),
    ] {
        let whole = completion(&state, &asking("what is this?", &more)).await;
        let mut streamed = more.clone();
        streamed["stream"] = json!(true);
        let chunks = post(&state, &asking("what is this?", &streamed)).await.chunks();
        assert_eq!(text_of(&chunks), content(&whole), "{more}");
        assert_eq!(chunks[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
        assert!(chunks.iter().all(|chunk| chunk["id"] == chunks[0]["id"] && chunk.get("usage").is_none()));
        let reasons: Vec<&Value> = chunks
            .iter()
            .map(|chunk| &chunk["choices"][0]["finish_reason"])
            .filter(|why| !why.is_null())
            .collect();
        assert_eq!(reasons, [&whole["choices"][0]["finish_reason"]]);
        let logprobs: Vec<Value> = chunks
            .iter()
            .filter_map(|chunk| chunk["choices"][0]["logprobs"]["content"].as_array())
            .flatten()
            .cloned()
            .collect();
        let expected = whole["choices"][0]["logprobs"]["content"].as_array().cloned().unwrap_or_default();
        assert_eq!(logprobs, expected);
    }
}

#[actix_web::test]
async fn the_usage_comes_last_if_it_is_asked_for() {
    let state = state(Options::default());
    let more = json!({"max_tokens": 8, "logprobs": true, "stream": true,
        "stream_options": {"include_usage": true}});
    let chunks = post(&state, &asking("what is this?", &more)).await.chunks();
    let (last, before) = chunks.split_last().unwrap();
    assert!(before.iter().all(|chunk| chunk["usage"].is_null() && chunk.get("usage").is_some()));
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["completion_tokens"], 8);
    assert_eq!(last["receipt"]["completion_tokens"], 8);
    // A beginning, each token by itself, an end: streaming is no show.
    assert_eq!(before.len(), 10);
}

#[actix_web::test]
async fn a_stream_that_cannot_begin_is_an_error_with_a_status() {
    let state = state(Options::default());
    let url = "data:image/png;base64,bm8gcGljdHVyZQ==";
    let messages = crate::support::with_image("what is this?", url);
    let body = json!({"model": "tiny", "messages": messages, "stream": true});
    let reply = post(&state, &body).await;
    assert_eq!(reply.status.as_u16(), 422);
    assert_eq!(reply.error(), "not_an_image");
    let metrics = get(&state, "/metrics").await;
    assert!(metrics.text().contains("msao_requests_total{outcome=\"refused\"} 1"), "{}", metrics.text());
    assert!(!metrics.text().contains("msao_refusals_total{"), "the engine has refused it, once");
}
