//! API keys: what asks for one, what one lets in, and how it ends.

use msao_protocol::{ClientMessage, ErrorCode};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::support::ask;
use crate::world::{KeysFile, bearer, eventually, http, id_of, session, upgrade, upgrade_status};

#[actix_web::test]
async fn all_but_health_and_the_page_asks_for_a_key() {
    let keys = KeysFile::new();
    let key = bearer(&keys.create(&["--scopes", "api,session,tokens,operate"]));
    let server = keys.serve(&[]);
    // The page is not built in this test, which its own answers say.
    for (line, open) in [("GET /healthz", 200), ("GET /", 503), ("GET /style.css", 404)] {
        assert_eq!(http(&server, line, &[], "").await.status, open, "{line}");
    }
    assert_eq!(http(&server, "GET /weights/tiny/config.json", &[], "").await.status, 200);
    for line in [
        "GET /v1/session",
        "POST /v1/session-tokens",
        "GET /v1/no-such-route",
        "POST /v1/nothing",
        "DELETE /v1",
        // As the router reads them, these are the routes above.
        "POST /%761/session-tokens",
        "POST /v1/%73ession-tokens",
        "GET /%76%31/session",
        "POST /v1/session-tokens?key=1",
        "POST /",
        "PUT /healthz",
        "OPTIONS /v1/session-tokens",
        "GET /weights/other/config.json",
        "GET /weights/tiny%2f..%2fother/config.json",
        "POST //v1/session-tokens",
    ] {
        let refused = http(&server, line, &[], "").await;
        assert_eq!(refused.status, 401, "{line}");
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"), "{line}");
        let with_key = http(&server, line, &[("authorization", &key)], "").await;
        assert_ne!(with_key.status, 401, "{line}");
    }
    let refused = http(&server, "GET /v1/nothing", &[], "").await;
    assert_eq!(refused.error_code(), "invalid_api_key");
    let refused = http(&server, "POST /", &[], "").await;
    assert!(refused.body.starts_with("no API key came"), "{}", refused.body);
}

#[actix_web::test]
async fn a_key_opens_sessions_and_a_wrong_one_does_not() {
    let keys = KeysFile::new();
    let (key, other) = (keys.create(&[]), KeysFile::new().create(&[]));
    let server = keys.serve(&[]);
    let mut client = session(&server, &[("authorization", &bearer(&key))]).await;
    client.send(&ClientMessage::Ask(ask(1, "what is this?"))).await;
    client.answer(1).await;
    let refused = upgrade(&server, &[]).await.err().unwrap();
    assert_eq!(refused.status(), 401);
    // One key's id with another key's secret.
    let forged = format!("msao_{}_{}", id_of(&key), other.splitn(3, '_').nth(2).unwrap());
    let cut = &key[..key.len() - 1];
    for wrong in [&other, &forged, cut, "", "msao_", &"x".repeat(4_000)] {
        let status = upgrade_status(&server, &[("authorization", &bearer(wrong))]).await;
        assert_eq!(status, 401, "{wrong}");
    }
    // A key is not taken where it would be logged or stored.
    let url = http(&server, &format!("GET /v1/nothing?key={key}&api_key={key}"), &[], "").await;
    assert_eq!(url.status, 401);
    assert_eq!(
        upgrade_status(&server, &[("sec-websocket-protocol", &format!("msao.v1, msao.token.{key}"))]).await,
        401
    );
}

#[actix_web::test]
async fn a_key_is_for_its_scopes_only() {
    let keys = KeysFile::new();
    let api = bearer(&keys.create(&["--scopes", "api"]));
    let watcher = bearer(&keys.create(&["--scopes", "operate"]));
    let server = keys.serve(&[]);
    for (key, line, allowed) in [
        (&api, "GET /v1/nothing", true),
        (&api, "GET /v1/session", false),
        (&api, "POST /v1/session-tokens", false),
        (&api, "POST /metrics", false),
        (&watcher, "GET /v1/nothing", false),
        (&watcher, "POST /metrics", true),
    ] {
        let reply = http(&server, line, &[("authorization", key)], "").await;
        assert_eq!(reply.status != 403, allowed, "{line}: {}", reply.status);
    }
    let refused = http(&server, "GET /v1/nothing", &[("authorization", &watcher)], "").await;
    assert_eq!(refused.error_code(), "insufficient_scope");
    assert!(refused.body.contains("`api`"), "{}", refused.body);
}

#[actix_web::test]
async fn a_revoked_key_ends_without_a_restart() {
    let keys = KeysFile::new();
    let (key, staying) = (keys.create(&[]), keys.create(&[]));
    let server = keys.serve(&[]);
    let mut client = session(&server, &[("authorization", &bearer(&key))]).await;
    keys.command(&["revoke", id_of(&key)]).unwrap();
    // The session that is open ends as well.
    let report = client.error().await;
    assert_eq!((report.request_id, report.code), (None, ErrorCode::Unauthorized));
    assert!(report.message.contains("revoked"), "{report:?}");
    assert_eq!(client.close_code().await, Some(CloseCode::Policy));
    let refused = http(&server, "GET /v1/nothing", &[("authorization", &bearer(&key))], "").await;
    assert_eq!((refused.status, refused.error_code().as_str()), (401, "invalid_api_key"));
    assert!(refused.body.contains("revoked"), "{}", refused.body);
    assert_eq!(upgrade_status(&server, &[("authorization", &bearer(&staying))]).await, 101);
}

#[actix_web::test]
async fn keys_expire_and_new_ones_are_known_at_once() {
    let keys = KeysFile::new();
    let first = bearer(&keys.create(&["--expires-days", "1"]));
    let server = keys.serve(&[]);
    assert_eq!(http(&server, "GET /v1/nothing", &[("authorization", &first)], "").await.status, 404);
    keys.change(|file| file["keys"][0]["expires_unix_s"] = 1.into());
    eventually("the key expires", || async {
        let reply = http(&server, "GET /v1/nothing", &[("authorization", &first)], "").await;
        reply.status == 401 && reply.body.contains("expired")
    })
    .await;
    let second = bearer(&keys.create(&[]));
    eventually("the new key is known", || async {
        http(&server, "GET /v1/nothing", &[("authorization", &second)], "").await.status == 404
    })
    .await;
    // A file that makes no sense changes nothing.
    std::fs::write(keys.path(), "{\"keys\": [").unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    assert_eq!(http(&server, "GET /v1/nothing", &[("authorization", &second)], "").await.status, 404);
    assert_eq!(http(&server, "GET /v1/nothing", &[("authorization", &first)], "").await.status, 401);
}

#[test]
fn the_command_lists_keys_without_their_secrets() {
    let keys = KeysFile::new();
    let key = keys.create(&["--scopes", "api", "--sessions", "3"]);
    let other = keys.create(&["--expires-days", "30"]);
    keys.command(&["revoke", id_of(&other)]).unwrap();
    let list = keys.command(&["list"]).unwrap();
    assert_eq!(list.lines().count(), 3, "{list}");
    let line = |id: &str| list.lines().find(|line| line.starts_with(id)).unwrap().to_owned();
    assert!(line(id_of(&key)).contains("lasts") && line(id_of(&key)).ends_with(" 3"), "{list}");
    assert!(line(id_of(&other)).contains("revoked"), "{list}");
    let stored = std::fs::read_to_string(keys.path()).unwrap();
    for secret in [&key, &other].map(|key| key.splitn(3, '_').nth(2).unwrap()) {
        assert!(!list.contains(secret) && !stored.contains(secret));
    }
    assert!(keys.command(&["revoke", "0"]).unwrap_err().contains("keys list"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(keys.path()).unwrap().permissions().mode() & 0o077, 0);
    }
}

#[test]
fn keys_made_at_the_same_time_are_all_kept() {
    let keys = KeysFile::new();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| keys.create(&[]));
        }
    });
    assert_eq!(keys.command(&["list"]).unwrap().lines().count(), 9);
}
