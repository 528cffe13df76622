//! Session tokens: what a page gets instead of a key.

use serde_json::{Value, json};

use crate::support::TestServer;
use crate::world::{FRIEND, KeysFile, Reply, bearer, eventually, http, id_of, upgrade, upgrade_status};

async fn issue(server: &TestServer, key: &str, wish: &Value) -> Reply {
    let key = bearer(key);
    http(server, "POST /v1/session-tokens", &[("authorization", &key)], &wish.to_string()).await
}

/// The subprotocols that a page offers.
async fn protocols(server: &TestServer, key: &str, wish: &Value) -> String {
    let reply = issue(server, key, wish).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let protocols = reply.json()["protocols"].clone();
    protocols.as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect::<Vec<_>>().join(", ")
}

async fn status(server: &TestServer, origin: Option<&str>, protocols: &str) -> u16 {
    let mut headers = vec![("sec-websocket-protocol", protocols)];
    headers.extend(origin.map(|origin| ("origin", origin)));
    upgrade_status(server, &headers).await
}

#[actix_web::test]
async fn a_token_opens_sessions_for_pages_of_its_origin() {
    let keys = KeysFile::new();
    let key = keys.create(&[]);
    let server = keys.serve(&[]);
    let offered = protocols(&server, &key, &json!({ "origin": FRIEND })).await;
    assert!(!offered.contains(key.splitn(3, '_').nth(2).unwrap()), "the key is in the token");
    let headers = [("sec-websocket-protocol", offered.as_str()), ("origin", FRIEND)];
    let (_client, response) =
        upgrade(&server, &headers).await.unwrap_or_else(|refused| panic!("{refused:?}"));
    // The token itself is not repeated.
    assert_eq!(response.headers()["sec-websocket-protocol"], "msao.v1");

    let own = format!("http://{}", server.address);
    for (origin, expected) in
        [(Some(FRIEND), 101), (Some(own.as_str()), 403), (Some("https://evil.test"), 403), (None, 403)]
    {
        assert_eq!(status(&server, origin, &offered).await, expected, "{origin:?}");
    }
    // The page of the server itself may have one, too.
    let offered = protocols(&server, &key, &json!({ "origin": own })).await;
    assert_eq!(status(&server, Some(&own), &offered).await, 101);
    // It is for sessions and nothing else.
    let token = offered.split("msao.token.").nth(1).unwrap();
    let reply = http(&server, "GET /v1/nothing", &[("authorization", &bearer(token))], "").await;
    assert_eq!(reply.status, 401);
}

#[actix_web::test]
async fn tokens_end_with_their_time_and_with_their_key() {
    let keys = KeysFile::new();
    let key = keys.create(&[]);
    let server = keys.serve(&[]);
    let brief = protocols(&server, &key, &json!({ "origin": FRIEND, "expires_in_s": 1 })).await;
    let long = protocols(&server, &key, &json!({ "origin": FRIEND, "expires_in_s": 3_600 })).await;
    eventually("the token expires", || async { status(&server, Some(FRIEND), &brief).await == 401 }).await;
    assert_eq!(status(&server, Some(FRIEND), &long).await, 101);
    keys.command(&["revoke", id_of(&key)]).unwrap();
    eventually("the token ends with its key", || async { status(&server, Some(FRIEND), &long).await == 401 })
        .await;
}

#[actix_web::test]
async fn servers_with_one_secret_take_each_other_s_tokens() {
    let keys = KeysFile::new();
    let key = keys.create(&[]);
    let secret = keys.file("secret", &[b'7'; 32]);
    let other_secret = keys.file("other", &[b'8'; 32]);
    let one = keys.serve(&["--token-secret-file", &secret]);
    let two = keys.serve(&["--token-secret-file", &secret]);
    let three = keys.serve(&["--token-secret-file", &other_secret]);
    let four = keys.serve(&[]);
    let offered = protocols(&one, &key, &json!({ "origin": FRIEND })).await;
    for (server, expected) in [(&one, 101), (&two, 101), (&three, 401), (&four, 401)] {
        assert_eq!(status(server, Some(FRIEND), &offered).await, expected);
    }
    for forged in ["msao.v1, msao.token.", "msao.v1, msao.token.e30.AAAA", "msao.v1", "msao.token.a.b.c"] {
        assert_eq!(status(&one, Some(FRIEND), forged).await, 401, "{forged}");
    }
}

#[actix_web::test]
async fn wishes_that_cannot_be_met_say_why() {
    let keys = KeysFile::new();
    let (key, sessions_only) = (keys.create(&[]), keys.create(&["--scopes", "session"]));
    let server = keys.serve(&[]);
    for (wish, status, word) in [
        (json!({ "origin": "https://evil.test" }), 403, "--allow-origin"),
        (json!({ "origin": "x".repeat(1_000) }), 403, "--allow-origin"),
        (json!({}), 400, "origin"),
        (json!({ "origin": FRIEND, "expires_in_s": 0 }), 400, "3600"),
        (json!({ "origin": FRIEND, "expires_in_s": 3_601 }), 400, "3600"),
        (json!({ "origin": FRIEND, "scopes": ["api"] }), 400, "scopes"),
        (json!([]), 400, "origin"),
        (json!({ "origin": "x".repeat(5_000) }), 400, "4096"),
    ] {
        let reply = issue(&server, &key, &wish).await;
        assert_eq!(reply.status, status, "{wish}");
        assert!(reply.body.contains(word), "no `{word}` in {}", reply.body);
        reply.error_code();
    }
    assert_eq!(
        issue(&server, &sessions_only, &json!({ "origin": FRIEND })).await.error_code(),
        "insufficient_scope"
    );
    // Where no keys are asked for there is nothing to trade.
    let open = TestServer::start(crate::support::Options::default());
    let reply = http(&open, "POST /v1/session-tokens", &[], &json!({ "origin": FRIEND }).to_string()).await;
    assert_eq!(reply.status, 400);
}
