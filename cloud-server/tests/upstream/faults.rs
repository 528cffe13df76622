//! Upstreams that break, refuse, dawdle or talk nonsense: the answer goes on elsewhere or fails with a typed error.

use std::time::Duration;

use msao_protocol::{
    Ask, ClientMessage, Draft, ErrorCode, FinishReason, Receipt, Sampling, ServerMessage, Speculation,
    TokenFate, Turn,
};
use msao_server::engine::{EdgeTokenizer, Kind, OpenAiConfig};
use serde_json::json;

use crate::engines::{config, serve_upstreams, weights};
use crate::scripted::{Reply, Scripted, Step, say};
use crate::support::{Client, TestServer, ask};

async fn serve(upstreams: &[&Scripted], kind: Kind) -> TestServer {
    serve_with(upstreams, |config| OpenAiConfig { kind, ..config }).await
}

async fn serve_with(
    upstreams: &[&Scripted],
    change: impl FnOnce(OpenAiConfig) -> OpenAiConfig,
) -> TestServer {
    let urls: Vec<String> = upstreams.iter().map(|upstream| upstream.url()).collect();
    serve_upstreams(change(config(&urls))).await.0
}

/// Text, end and receipt of an answer.
async fn answer(client: &mut Client, ask: Ask) -> (String, FinishReason, Receipt) {
    let id = ask.request_id;
    client.send(&ClientMessage::Ask(ask)).await;
    let answer = client.answer(id).await;
    (answer.text, answer.finish_reason, answer.receipt)
}

/// An upstream that says something and breaks; the first of two is asked first.
fn breaks(words: &[&'static str]) -> Reply {
    Reply::Stream(words.iter().map(|word| Step::Say(word)).chain([Step::Cut]).collect())
}

#[actix_web::test]
async fn an_answer_goes_on_where_another_upstream_says_the_same() {
    // The last word was not shown when the first one broke, so the other one may say it otherwise.
    let first = Scripted::start(vec![breaks(&[" a r", "ed 🙂", " squ"])]).await;
    let second = Scripted::start(vec![say(&[" a", " red 🙂 sta", "r"])]).await;
    let server = serve(&[&first, &second], Kind::OpenAi).await;
    let mut client = server.session().await;
    let (text, finish, receipt) = answer(&mut client, ask(1, "what?")).await;
    assert_eq!((text.as_str(), finish), (" a red 🙂 star", FinishReason::Stop));
    assert_eq!(receipt.prompt_tokens, 7);
    assert_eq!((first.asked().len(), second.asked().len()), (1, 1));
    assert_eq!(second.asked()[0]["messages"].as_array().unwrap().len(), 1, "it is asked anew");
}

#[actix_web::test]
async fn an_answer_fails_rather_than_contradict_what_was_shown() {
    let first = Scripted::start(vec![breaks(&[" a red", " star", " and"])]).await;
    for other in [say(&[" the red star"]), say(&[" a"]), breaks(&[" a red star"])] {
        let second = Scripted::start(vec![other]).await;
        let server = serve(&[&first, &second], Kind::OpenAi).await;
        let mut client = server.session().await;
        client.send(&ClientMessage::Ask(ask(1, "what?"))).await;
        let mut shown = String::new();
        let report = loop {
            match client.next().await {
                ServerMessage::Settled { tokens, .. } => {
                    shown.extend(tokens.into_iter().map(|one| one.token.text));
                }
                ServerMessage::Error(report) => break report,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((report.code, report.request_id), (ErrorCode::Unavailable, Some(1)), "{report:?}");
        assert!(" a red star".starts_with(&shown) && !shown.is_empty(), "{shown:?}");
    }
}

#[actix_web::test]
async fn an_engine_that_can_goes_on_from_what_stands() {
    for (kind, is_told) in [(Kind::Vllm, true), (Kind::LlamaCpp, false)] {
        let first = Scripted::start(vec![breaks(&[" a red", " sq"])]).await;
        let second = Scripted::start(vec![say(&[" star", "fish"])]).await;
        let server = serve(&[&first, &second], kind).await;
        let mut client = server.session().await;
        let asked = Ask { max_new_tokens: 9, ..ask(1, "what?") };
        assert_eq!(answer(&mut client, asked).await.0, " a red starfish");
        let asked = &second.asked()[0];
        assert_eq!(asked["messages"][1], json!({"role": "assistant", "content": " a red"}));
        assert_eq!(asked.get("continue_final_message").is_some(), is_told);
        assert!(asked["max_tokens"].as_u64().unwrap() < 9, "what stands counts");
    }
}

#[actix_web::test]
async fn before_anything_was_shown_a_question_begins_anew_and_once_an_upstream() {
    let first = Scripted::start(vec![Reply::Whole(500, "{}".into())]).await;
    let second = Scripted::start(vec![say(&[" yes"])]).await;
    let server = serve(&[&first, &second], Kind::OpenAi).await;
    let mut client = server.session().await;
    let sampling = Some(Sampling { temperature: 1.0, top_p: 0.5, seed: 3 });
    assert_eq!(answer(&mut client, Ask { sampling, ..ask(1, "what?") }).await.0, " yes");
    assert_eq!((first.asked().len(), second.asked().len()), (1, 1));
    assert_eq!(second.asked()[0]["top_p"], json!(0.5));
}

#[actix_web::test]
async fn refusals_tell_why_and_cost_no_upstream() {
    let no_audio = json!({"error": {"message": "at most 0 image(s) may be provided"}}).to_string();
    let replies = vec![Reply::Whole(400, no_audio), Reply::Whole(429, "{}".into()), say(&[" yes"])];
    let upstream = Scripted::start(replies).await;
    let server = serve(&[&upstream], Kind::OpenAi).await;
    let mut client = server.session().await;
    client
        .refused_with(ask(1, "what?"), ErrorCode::Unsupported, &["400", "at most 0 image(s)", "ask without"])
        .await;
    client.refused_with(ask(2, "what?"), ErrorCode::Busy, &["ask again"]).await;
    assert_eq!(answer(&mut client, ask(3, "what?")).await.0, " yes");
    let audio = crate::support::with_audio(ask(4, "what?"), crate::support::wav(1, 16_000, 90));
    client.refused_with(audio, ErrorCode::Unsupported, &["recording"]).await;
    assert_eq!(upstream.asked().len(), 3, "a recording is not even sent on");
}

#[actix_web::test]
async fn nonsense_ends_in_a_typed_error() {
    let long_line = [b"data: ".to_vec(), vec![b'x'; 2 << 20]].concat();
    let nonsense: [Reply; 5] = [
        Reply::Whole(200, "<html>".into()),
        Reply::Stream(vec![Step::Raw(b"data: {\"choices\": [\n\n".to_vec())]),
        Reply::Stream(vec![Step::Raw(long_line)]),
        Reply::Stream(vec![Step::Raw(b"data: {\"error\": {\"message\": \"out of memory\"}}\n\n".to_vec())]),
        Reply::Whole(302, String::new()),
    ];
    for reply in nonsense {
        let upstream = Scripted::start(vec![reply.clone()]).await;
        let server = serve(&[&upstream], Kind::OpenAi).await;
        let mut client = server.session().await;
        client.refused_with(ask(1, "what?"), ErrorCode::Unavailable, &["upstream"]).await;
        assert_eq!(upstream.asked().len(), 1, "{reply:?}");
    }
}

#[actix_web::test]
async fn one_that_fails_again_and_again_is_out_and_one_that_is_silent_at_once() {
    let failing = Scripted::start(vec![Reply::Whole(500, "{}".into())]).await;
    let server = serve(&[&failing], Kind::OpenAi).await;
    let mut client = server.session().await;
    for id in 1..=3 {
        client.refused_with(ask(id, "what?"), ErrorCode::Unavailable, &["500"]).await;
    }
    assert_eq!(failing.asked().len(), 3);

    let silent = Scripted::start(vec![Reply::Stream(vec![Step::Say(" a red "), Step::Hang])]).await;
    let idle = Duration::from_millis(300);
    let server = serve_with(&[&silent], |config| OpenAiConfig { idle, ..config }).await;
    let mut client = server.session().await;
    client.send(&ClientMessage::Ask(ask(1, "what?"))).await;
    let mut report = None;
    while report.is_none() {
        match client.next().await {
            ServerMessage::Error(error) => report = Some(error),
            ServerMessage::Settled { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(report.unwrap().code, ErrorCode::Unavailable);
    silent.hung_up().await;
}

#[actix_web::test]
async fn who_cancels_or_leaves_frees_the_upstream() {
    let hanging = vec![Reply::Stream(vec![Step::Say(" a red star"), Step::Hang])];
    let upstream = Scripted::start(hanging).await;
    let server = serve(&[&upstream], Kind::OpenAi).await;
    let mut client = server.session().await;
    client.send(&ClientMessage::Ask(ask(1, "what?"))).await;
    assert!(matches!(client.next().await, ServerMessage::Settled { .. }));
    client.send(&ClientMessage::Cancel { request_id: 1 }).await;
    upstream.hung_up().await;
    match client.next().await {
        ServerMessage::Done { text, finish_reason, .. } => {
            assert_eq!((text.as_str(), finish_reason), (" a red", FinishReason::Cancelled));
        }
        other => panic!("{other:?}"),
    }
    client.send(&ClientMessage::Ask(ask(2, "what?"))).await;
    assert!(matches!(client.next().await, ServerMessage::Settled { .. }));
    drop(client);
    upstream.hung_up().await;
    server.settle().await;
}

#[actix_web::test]
async fn earlier_turns_go_along_and_nothing_is_kept() {
    let upstream = Scripted::start(vec![say(&[" yes"])]).await;
    let server = serve(&[&upstream], Kind::OpenAi).await;
    let mut client = server.session().await;
    let (question, answered) = ("what?".to_owned(), " a star".to_owned());
    let turn = Turn { images: vec![], clip: None, audio: None, question, answer: answered };
    let asked = Ask { history: vec![turn], ..ask(1, "really?") };
    let (text, _, receipt) = answer(&mut client, asked).await;
    assert_eq!((text.as_str(), receipt.prompt_tokens), (" yes", 7));
    let counted = server.state.engine.statistics();
    assert_eq!((counted.running, counted.prompt_tokens, counted.completion_tokens), (0, 7, 1));
    let roles = upstream.asked()[0]["messages"].as_array().unwrap().clone();
    assert_eq!(roles[1], json!({"role": "assistant", "content": " a star"}));
    assert_eq!(roles[2], json!({"role": "user", "content": "really?"}));
    let continued = Ask { continues: Some(1), ..ask(2, "and now?") };
    client.refused_with(continued, ErrorCode::Forgotten, &["send the history"]).await;
    assert_eq!(upstream.asked().len(), 1);
}

#[actix_web::test]
async fn vllm_scores_drafts_in_one_request() {
    let tokenizer = EdgeTokenizer::from_dir(&weights("pocket-edge")).unwrap();
    let text = msao_models::text::TextTokenizer::from_json(
        &std::fs::read(weights("pocket-edge").join("tokenizer.json")).unwrap(),
    )
    .unwrap();
    let [a, red, star] = text.encode(" a red star").unwrap()[..] else { panic!("three tokens") };
    let blue = text.encode(" blue").unwrap()[0];
    // As vLLM tells it: the token of the prompt, and the most likely one where it is another.
    let likely = |id: u32| json!({id.to_string(): {"logprob": -0.01, "rank": 1, "decoded_token": "x"}});
    let mut beaten = likely(blue);
    beaten[red.to_string()] = json!({"logprob": -4.5, "rank": 7, "decoded_token": " red"});
    let scored = |prompt: Vec<serde_json::Value>, content: &str, finish: &str| {
        let document = json!({
            "id": "chatcmpl-1", "object": "chat.completion", "model": "m",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10},
            "prompt_logprobs": prompt,
        });
        Reply::Whole(200, document.to_string())
    };
    let rounds = vec![
        scored(vec![json!(null), likely(3), likely(a), beaten.clone(), likely(star)], " and", "length"),
        scored(vec![json!(null), likely(3), likely(a), likely(blue), likely(star)], "", "stop"),
    ];
    let upstream = Scripted::start(rounds).await;
    let change = |config| OpenAiConfig { kind: Kind::Vllm, shares_tokenizer: true, tokenizer, ..config };
    let server = serve_with(&[&upstream], change).await;
    let mut client = server.session().await;
    let speculation = Speculation::Distributed { patience_ms: 60_000 };
    client.send(&ClientMessage::Ask(Ask { speculation, ..ask(1, "what?") })).await;
    let draft = |revision, start, tokens: &[u32]| Draft {
        request_id: 1,
        revision,
        start,
        tokens: tokens.to_vec(),
        distributions: vec![],
        is_last: false,
    };
    client.send(&ClientMessage::Draft(draft(0, 0, &[a, red, star]))).await;
    let (mut shown, mut drafted) = (Vec::new(), false);
    let receipt = loop {
        match client.next().await {
            ServerMessage::Settled { tokens, revision, .. } => {
                shown.extend(tokens.into_iter().map(|one| (one.token.text, one.origin.fate)));
                if !std::mem::replace(&mut drafted, true) {
                    assert_eq!(revision, 1);
                    client.send(&ClientMessage::Draft(draft(1, 2, &[star]))).await;
                }
            }
            ServerMessage::Done { receipt, .. } => break receipt,
            other => panic!("{other:?}"),
        }
    };
    let expected =
        [(" a", TokenFate::Accepted), (" blue", TokenFate::Corrected), (" star", TokenFate::Accepted)];
    assert_eq!(shown, expected.map(|(text, fate)| (text.to_owned(), fate)));
    assert_eq!((receipt.rounds, receipt.accepted_drafts, receipt.prompt_tokens), (2, 2, 9));
    let asked = upstream.asked();
    assert_eq!(asked[0]["messages"][1]["content"], " a red star");
    assert_eq!(asked[1]["messages"][1]["content"], " a blue star");
    assert!(
        asked
            .iter()
            .all(|one| one["prompt_logprobs"] == 1 && one["max_tokens"] == 1 && one["stream"] == false)
    );
}

#[actix_web::test]
async fn sglang_scores_drafts_behind_the_tokens_of_its_prompt() {
    let tokenizer = EdgeTokenizer::from_dir(&weights("pocket-edge")).unwrap();
    let file = std::fs::read(weights("pocket-edge").join("tokenizer.json")).unwrap();
    let text = msao_models::text::TextTokenizer::from_json(&file).unwrap();
    let [a, red, star] = text.encode(" a red star").unwrap()[..] else { panic!("three tokens") };
    let end = text.token_id("<end_of_utterance>").unwrap();
    let prompt =
        json!({"choices": [{"index": 0, "message": {"content": " a"}, "prompt_token_ids": [1, 40, 41]}]});
    // As `/generate` tells it: no score for the place before the drafts, then each draft and the most likely token.
    let scored = json!({"text": "", "meta_info": {
        "prompt_tokens": 6, "completion_tokens": 1, "finish_reason": {"type": "stop", "matched": end},
        "input_token_logprobs": [[null, 41, null], [-0.1, a, null], [-0.2, red, null], [-0.1, star, null]],
        "input_top_logprobs": [null, [[-0.1, a, null]], [[-0.2, red, null]], [[-0.1, star, null]]],
        "output_token_logprobs": [[-0.1, end, null]],
    }});
    let replies = [prompt, scored].map(|reply| Reply::Whole(200, reply.to_string()));
    let upstream = Scripted::start(replies.into()).await;
    let change = |config| OpenAiConfig { kind: Kind::Sglang, shares_tokenizer: true, tokenizer, ..config };
    let server = serve_with(&[&upstream], change).await;
    let mut client = server.session().await;
    let speculation = Speculation::Distributed { patience_ms: 60_000 };
    client.send(&ClientMessage::Ask(Ask { speculation, ..ask(1, "what?") })).await;
    let (tokens, distributions) = (vec![a, red, star, end], vec![]);
    let draft = Draft { request_id: 1, revision: 0, start: 0, tokens, distributions, is_last: true };
    client.send(&ClientMessage::Draft(draft)).await;
    let answer = client.answer(1).await;
    assert_eq!((answer.text.as_str(), answer.finish_reason), (" a red star", FinishReason::Stop));
    let receipt = answer.receipt;
    assert_eq!((receipt.rounds, receipt.accepted_drafts, receipt.prompt_tokens), (1, 4, 6));
    let asked = upstream.asked();
    assert_eq!(asked[0]["return_prompt_token_ids"], true);
    assert_eq!(asked[1]["input_ids"], json!([1, 40, 41, a, red, star]));
    assert_eq!(asked[1]["logprob_start_len"], 2);
}
