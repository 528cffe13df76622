//! What the requests of one key share over HTTP, and those of two keys do not.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::{join, join_all};
use serde_json::{Value, json};

use crate::support::{Options, TestServer};
use crate::world::{KeysFile, bearer, http};

const ASK: &str = "POST /v1/chat/completions";

fn message(role: &str, content: &str) -> Value {
    json!({"role": role, "content": content})
}

/// The answer to a conversation: its text, the prompt's tokens, and those of them that had been read before.
async fn ask(server: &TestServer, key: Option<&str>, messages: &Value) -> (String, u64, u64) {
    let body = json!({"model": "tiny", "messages": messages, "max_tokens": 12}).to_string();
    let headers: Vec<(&str, &str)> = key.map(|key| ("authorization", key)).into_iter().collect();
    let reply = http(server, ASK, &headers, &body).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let json = reply.json();
    let usage = &json["usage"];
    let text = json["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    let cached = usage["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
    (text, usage["prompt_tokens"].as_u64().unwrap(), cached)
}

fn second_turn(first: &str, answer: &str) -> Value {
    json!([message("user", first), message("assistant", answer), message("user", "and what is that?")])
}

#[actix_web::test]
async fn a_conversation_goes_on_where_its_key_left_it_and_other_keys_never_do() {
    let keys = KeysFile::new();
    let (own, other) = (bearer(&keys.create(&[])), bearer(&keys.create(&[])));
    let server = keys.serve(&[]);
    let question = "what is this, and how many of them are there?";
    let first = json!([message("user", question)]);
    let (answer, read, cached) = ask(&server, Some(&own), &first).await;
    assert_eq!(cached, 0);
    let turns = second_turn(question, &answer);
    let (stranger_s, _, cached) = ask(&server, Some(&other), &turns).await;
    assert_eq!(cached, 0, "how soon it begins would tell what the first key had asked");
    let (text, prompt_tokens, cached) = ask(&server, Some(&own), &turns).await;
    assert!(cached + 1 >= read && cached < prompt_tokens, "{cached} of {prompt_tokens}, {read} before");
    assert_eq!(text, stranger_s, "what was read before changes nothing");
    let statistics = server.state.engine.statistics().kv;
    assert_eq!((statistics.hits, statistics.reused_tokens), (1, cached));
}

#[actix_web::test]
async fn without_keys_nobody_goes_on_from_anything() {
    let server = TestServer::start(Options::default());
    let question = "what is this?";
    let (answer, ..) = ask(&server, None, &json!([message("user", question)])).await;
    let (.., cached) = ask(&server, None, &second_turn(question, &answer)).await;
    assert_eq!(cached, 0);
    assert_eq!(server.state.engine.statistics().kv.retained_bytes, 0, "so nothing is kept either");
}

/// Requests that the busy key has in the queue at any time.
const BUSY: usize = 16;
const ATTEMPTS: usize = 5;

#[actix_web::test]
async fn a_key_with_many_requests_does_not_keep_another_one_waiting() {
    let keys = KeysFile::new();
    let of_many = ["--requests-in-flight", "100", "--requests-per-minute", "1000000"];
    let (busy, calm) = (bearer(&keys.create(&of_many)), bearer(&keys.create(&[])));
    let options = Options { access: keys.access(&[]), places: 4 * BUSY, max_batch: 1, ..Options::default() };
    let server = TestServer::start(options);
    let (ended, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let messages = json!([message("user", "what is this?")]);
    let crowd = join_all((0..BUSY).map(|_| async {
        while !is_over.load(Ordering::Relaxed) {
            ask(&server, Some(&busy), &messages).await;
            ended.fetch_add(1, Ordering::Relaxed);
        }
    }));
    let one = async {
        let mut fewest = usize::MAX;
        for _ in 0..ATTEMPTS {
            while server.state.engine.occupancy() < BUSY - 1 {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            let before = ended.load(Ordering::Relaxed);
            ask(&server, Some(&calm), &messages).await;
            fewest = fewest.min(ended.load(Ordering::Relaxed) - before);
        }
        is_over.store(true, Ordering::Relaxed);
        fewest
    };
    let (fewest, _) = join(one, crowd).await;
    // First come, first served would let all of the queue go first.
    assert!(fewest <= BUSY / 2, "{fewest} requests of the other key went first");
}
