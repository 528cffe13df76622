//! Whole answers: what they say, where they end, and what they count as.

use actix_web::web::Data;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use msao_protocol::{Ask, Turn};
use msao_server::AppState;
use msao_server::engine::{Answer, EngineEvent, job};
use serde_json::{Value, json};

use crate::support::{Options, asking, completion, content, png, state, with_image};

/// What the engine itself answers, before it is dressed for HTTP.
async fn engine_answers(state: &Data<AppState>, question: &str, history: Vec<Turn>) -> Answer {
    let ask = Ask { history, ..Ask::new(1, question, 24) };
    let (job, _handle, mut events) = job(ask, 24);
    state.engine.submit(state.engine.reserve().unwrap(), job);
    loop {
        match events.next().await.expect("an end") {
            EngineEvent::Done(answer) => return answer,
            EngineEvent::Failed(error) => panic!("{error}"),
            _ => {}
        }
    }
}

#[actix_web::test]
async fn an_answer_is_the_engine_s_own_without_the_blank_before_it() {
    let state = state(Options::default());
    let expected = engine_answers(&state, "what is this?", vec![]).await;
    let answer = completion(&state, &asking("what is this?", &json!({"max_tokens": 24}))).await;
    assert_eq!(content(&answer), expected.text.trim_start());
    assert!(content(&answer).len() > 8, "{answer}");
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    let (read, written) = (expected.receipt.prompt_tokens, expected.receipt.completion_tokens);
    assert_eq!(answer["usage"]["prompt_tokens"], read);
    assert_eq!(answer["usage"]["completion_tokens"], written);
    assert_eq!(answer["usage"]["total_tokens"], read + written);
    assert_eq!(answer["receipt"]["completion_tokens"], written);
    assert!(answer["id"].as_str().unwrap().starts_with("chatcmpl-"));
    let again = completion(&state, &asking("what is this?", &json!({"max_tokens": 24}))).await;
    assert_eq!(content(&again), content(&answer));
    assert_ne!(again["id"], answer["id"]);
}

#[actix_web::test]
async fn earlier_turns_and_instructions_are_read() {
    let state = state(Options::default());
    let turn = |question: &str, answer: &str| Turn {
        images: vec![],
        clip: None,
        audio: None,
        question: question.into(),
        answer: answer.into(),
    };
    let expected = engine_answers(&state, "and this?", vec![turn("Be brief.\nwhat is this?", " red")]).await;
    let messages = json!([
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "what is this?"}]},
        {"role": "assistant", "content": "red"},
        {"role": "user", "content": "and this?"},
    ]);
    let answer = completion(&state, &json!({"model": "tiny", "messages": messages, "max_tokens": 24})).await;
    assert_eq!(content(&answer), expected.text.trim_start());
    assert_eq!(answer["usage"]["prompt_tokens"], expected.receipt.prompt_tokens);
    let alone = engine_answers(&state, "and this?", vec![]).await;
    assert!(alone.receipt.prompt_tokens < expected.receipt.prompt_tokens);
}

#[actix_web::test]
async fn pictures_count_as_tokens() {
    let state = state(Options::default());
    let url = format!("data:image/png;base64,{}", BASE64_STANDARD.encode(png(40, 30)));
    let body = json!({"model": "tiny", "messages": with_image("what is this?", &url), "max_tokens": 4});
    let seen = completion(&state, &body).await;
    let modalities = seen["receipt"]["modalities"].as_array().unwrap();
    let vision = modalities.iter().find(|one| one["modality"] == "vision").unwrap();
    assert_eq!(vision["prompt_tokens"], 4);
    let blind = completion(&state, &asking("what is this?", &json!({"max_tokens": 4}))).await;
    assert!(blind["usage"]["prompt_tokens"].as_u64() < seen["usage"]["prompt_tokens"].as_u64());
}

#[actix_web::test]
async fn a_stop_sequence_ends_the_answer_before_it() {
    let state = state(Options::default());
    let ask = |more: Value| asking("what is this?", &more);
    let full = completion(&state, &ask(json!({"max_tokens": 24}))).await;
    let text = content(&full).to_owned();
    // Every place of the answer, by two characters that may lie in different tokens.
    let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).skip(1).collect();
    for pair in ends.windows(3).step_by(4) {
        let stop = &text[pair[0]..pair[2]];
        let cut = text.find(stop).unwrap();
        let answer =
            completion(&state, &ask(json!({"max_tokens": 24, "stop": [stop, "no such text"]}))).await;
        assert_eq!(content(&answer), &text[..cut], "{stop:?}");
        assert_eq!(answer["choices"][0]["finish_reason"], "stop");
        let counted = |answer: &Value| answer["usage"]["completion_tokens"].as_u64().unwrap();
        assert!(counted(&answer) <= counted(&full));
    }
    let unmet = completion(&state, &ask(json!({"max_tokens": 24, "stop": "no such text"}))).await;
    assert_eq!(content(&unmet), text);
    assert_eq!(unmet["choices"][0]["finish_reason"], "length");
}

#[actix_web::test]
async fn log_probabilities_are_those_of_the_answer_s_tokens() {
    let state = state(Options::default());
    let more = json!({"max_tokens": 12, "logprobs": true, "top_logprobs": 3});
    let answer = completion(&state, &asking("what is this?", &more)).await;
    let tokens = answer["choices"][0]["logprobs"]["content"].as_array().unwrap();
    assert_eq!(answer["usage"]["completion_tokens"], tokens.len());
    let bytes: Vec<u8> = tokens
        .iter()
        .flat_map(|token| token["bytes"].as_array().unwrap())
        .map(|byte| byte.as_u64().unwrap() as u8)
        .collect();
    assert!(
        String::from_utf8_lossy(&bytes)
            .trim_start()
            .starts_with(content(&answer).trim_end_matches('\u{FFFD}'))
    );
    for token in tokens {
        let top: Vec<f64> = token["top_logprobs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["logprob"].as_f64().unwrap())
            .collect();
        assert_eq!(top.len(), 3);
        assert!(top.is_sorted_by(|a, b| a >= b));
        assert_eq!(token["logprob"], token["top_logprobs"][0]["logprob"], "the answer is greedy");
        let sum: f64 = top.iter().map(|logprob| logprob.exp()).sum();
        assert!(sum > 0.0 && sum <= 1.0 + 1e-6, "{sum}");
    }
    let without = completion(&state, &asking("what is this?", &json!({"max_tokens": 2}))).await;
    assert!(without["choices"][0]["logprobs"].is_null());
}

#[actix_web::test]
async fn a_seed_draws_the_same_answer_and_another_one_another() {
    let state = state(Options::default());
    let mut texts = Vec::new();
    for seed in [1, 1, 2, 3] {
        let more = json!({"max_tokens": 24, "temperature": 1.5, "top_p": 0.95, "seed": seed});
        texts.push(content(&completion(&state, &asking("what is this?", &more)).await).to_owned());
    }
    assert_eq!(texts[0], texts[1]);
    assert!(texts[1] != texts[2] || texts[2] != texts[3]);
}

#[actix_web::test]
async fn a_prediction_changes_what_is_counted_and_nothing_else() {
    let state = state(Options::default());
    let plain = completion(&state, &asking("what is this?", &json!({"max_tokens": 24}))).await;
    let text = content(&plain);
    let halves = text.split_at(text.char_indices().nth(text.chars().count() / 2).unwrap().0);
    let changed = format!("{} other words {}", halves.0, halves.1);
    for predicted in [text, halves.0, &changed, "something else altogether", ""] {
        let more = json!({"max_tokens": 24, "prediction": {"type": "content", "content": predicted}});
        let answer = completion(&state, &asking("what is this?", &more)).await;
        assert_eq!(content(&answer), text, "{predicted:?}");
        let details = &answer["usage"]["completion_tokens_details"];
        let [accepted, rejected] = ["accepted_prediction_tokens", "rejected_prediction_tokens"]
            .map(|name| details[name].as_u64().unwrap());
        let rounds = |answer: &Value| answer["receipt"]["rounds"].as_u64().unwrap();
        // A pass that accepts all drafts up to the bound of the answer has no token of its own.
        let least = rounds(&plain) - accepted;
        assert!((least..=least + 1).contains(&rounds(&answer)), "{details}");
        if predicted.is_empty() {
            assert_eq!((accepted, rejected), (0, 0));
        } else {
            assert!(accepted + rejected > 0);
        }
    }
}
