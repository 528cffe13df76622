//! Who may listen where, and which names and pages are let in.

use std::net::SocketAddr;

use msao_server::Access;
use msao_server::access::AccessError;
use msao_server::listen;

use crate::support::{Options, TestServer, state};
use crate::world::{FRIEND, KeysFile, bearer, http, options, upgrade_status};

const EVERYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

#[actix_web::test]
async fn without_keys_only_this_machine_is_listened_to() {
    let refused = listen(state(Options::default()), EVERYWHERE).err().unwrap().to_string();
    for word in ["0.0.0.0", "keys create", "--keys-file", "--insecure-no-auth"] {
        assert!(refused.contains(word), "no `{word}` in {refused}");
    }
    let keys = KeysFile::new();
    keys.create(&[]);
    let open = Access::configured(&options(&["--insecure-no-auth"]), vec![]).unwrap();
    for access in [keys.access(&[]), open] {
        assert!(listen(state(Options { access, ..Options::default() }), EVERYWHERE).is_ok());
    }
    let file = keys.path().display().to_string();
    let both = Access::configured(&options(&["--keys-file", &file, "--insecure-no-auth"]), vec![]);
    assert!(matches!(both, Err(AccessError::Contradiction)));
    let missing =
        Access::configured(&options(&["--keys-file", "no/such/file"]), vec![]).err().unwrap().to_string();
    assert!(missing.contains("no/such/file") && missing.contains("keys create"), "{missing}");
}

#[actix_web::test]
async fn a_foreign_name_for_this_machine_is_refused() {
    let server = TestServer::start(Options::default());
    let port = server.address.port();
    for (host, allowed) in [
        (format!("127.0.0.1:{port}"), true),
        (format!("localhost:{port}"), true),
        ("friend.test".to_owned(), true),
        (format!("evil.test:{port}"), false),
        ("127.0.0.1.evil.test".to_owned(), false),
    ] {
        // A page that has its name resolve here is the server's own in its browser's eyes.
        let origin = format!("http://{host}");
        let headers = [("host", host.as_str()), ("origin", origin.as_str())];
        let reply = http(&server, "GET /v1/session", &headers, "").await;
        assert_eq!(reply.status != 403, allowed, "{host}: {}", reply.status);
    }
    let open = Access::configured(&options(&["--insecure-no-auth"]), vec![]).unwrap();
    let server = TestServer::start(Options { access: open, ..Options::default() });
    let reply = http(&server, "GET /v1/session", &[("host", "example.test")], "").await;
    assert_ne!(reply.status, 403);
}

#[actix_web::test]
async fn pages_of_other_origins_are_kept_out_unless_allowed() {
    let keys = KeysFile::new();
    let key = bearer(&keys.create(&[]));
    let server = keys.serve(&[]);
    let ask = |origin: &'static str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization,content-type"),
        ];
        let server = &server;
        async move { http(server, "OPTIONS /v1/nothing", &headers, "").await }
    };
    let allowed = ask(FRIEND).await;
    assert_eq!(allowed.status, 200);
    assert_eq!(allowed.header("access-control-allow-origin"), Some(FRIEND));
    assert!(allowed.header("access-control-allow-credentials").is_none());
    let refused = ask("https://evil.test").await;
    assert!(refused.header("access-control-allow-origin").is_none());
    assert_ne!(refused.status, 200);

    // With a key, too: a page that is not allowed cannot use one that it got hold of.
    for (origin, status) in [(FRIEND, 404), ("https://evil.test", 403), ("null", 403)] {
        let headers = [("authorization", key.as_str()), ("origin", origin)];
        let reply = http(&server, "POST /v1/nothing", &headers, "{}").await;
        assert_eq!(reply.status, status, "{origin}");
        let visible = reply.header("access-control-allow-origin").is_some();
        assert_eq!(visible, origin == FRIEND, "{origin}");
        let session = upgrade_status(&server, &headers).await;
        assert_eq!(session == 101, origin == FRIEND, "{origin}");
    }
}
