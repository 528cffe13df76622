//! No key and no token comes into the log, whatever is done with it.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use crate::world::{FRIEND, KeysFile, bearer, http, id_of, session, upgrade_status};

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap_or_else(PoisonError::into_inner).extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

#[actix_web::test]
async fn secrets_are_not_logged() {
    tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(Log).with_ansi(false).init();
    let keys = KeysFile::new();
    let key = keys.create(&[]);
    let server = keys.serve(&["--trusted-proxy", "127.0.0.0/8"]);
    let secret = key.splitn(3, '_').nth(2).unwrap().to_owned();
    let wish = json!({ "origin": FRIEND }).to_string();
    let reply = http(&server, "POST /v1/session-tokens", &[("authorization", &bearer(&key))], &wish).await;
    let token = reply.json()["token"].as_str().unwrap().to_owned();

    session(&server, &[("authorization", &bearer(&key))]).await;
    let offered = format!("msao.v1, msao.token.{token}");
    for origin in [FRIEND, "https://evil.test", "null"] {
        upgrade_status(&server, &[("sec-websocket-protocol", &offered), ("origin", origin)]).await;
    }
    // A key in the address is a mistake that people make; one with a letter too many as well.
    http(&server, &format!("GET /v1/nothing?api_key={key}"), &[("x-forwarded-for", "203.0.113.9")], "").await;
    http(&server, "GET /v1/nothing", &[("authorization", &bearer(&format!("{key}x")))], "").await;
    http(&server, "POST /metrics", &[("authorization", &bearer(&key))], "").await;
    keys.command(&["revoke", id_of(&key)]).unwrap();
    crate::world::eventually("the key is revoked", || async {
        http(&server, "GET /v1/nothing", &[("authorization", &bearer(&key))], "").await.status == 401
    })
    .await;

    let log = String::from_utf8_lossy(&LOG.lock().unwrap()).into_owned();
    assert!(log.contains("refused a request") && log.contains("203.0.113.9"), "{log}");
    let signature = token.split_once('.').unwrap().1;
    for hidden in [secret.as_str(), signature] {
        assert!(!log.contains(hidden), "a secret was logged");
    }
}
