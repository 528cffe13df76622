//! Page, weights and health over HTTP.

use std::fs;
use std::path::PathBuf;

use actix_web::http::header::{self, HeaderMap};
use actix_web::http::{Method, StatusCode};
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::web::Bytes;
use msao_server::create_app;

use crate::checkpoint::checkpoint;
use crate::support::{Options, state};

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Reply {
    fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(&name).map_or("", |value| value.to_str().unwrap())
    }
}

/// Method, path and headers.
type Request<'a> = (Method, &'a str, &'a [(&'a str, &'a str)]);

async fn request(page: PathBuf, requests: &[Request<'_>]) -> Vec<Reply> {
    let app = init_service(create_app(state(Options { page, ..Options::default() }))).await;
    let mut replies = Vec::new();
    for (method, uri, headers) in requests {
        let mut request = TestRequest::with_uri(uri).method(method.clone());
        for header in *headers {
            request = request.insert_header(*header);
        }
        let response = call_service(&app, request.to_request()).await;
        let (status, headers) = (response.status(), response.headers().clone());
        replies.push(Reply { status, headers, body: read_body(response).await });
    }
    replies
}

async fn get(page: PathBuf, requests: &[(&str, &[(&str, &str)])]) -> Vec<Reply> {
    let requests: Vec<_> = requests.iter().map(|(uri, headers)| (Method::GET, *uri, *headers)).collect();
    request(page, &requests).await
}

/// A folder that is gone with the test.
struct Page(PathBuf);

impl Page {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("msao-server-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("engine")).unwrap();
        let write = |file: &str, content: &[u8]| fs::write(path.join(file), content).unwrap();
        write("index.html", b"<html><script type=\"module\">start()</script></html>");
        write("app-0123456789abcdef.js", b"export const x = 1;");
        write("app-0123456789abcdef.js.br", b"brotli");
        write("app-0123456789abcdef.js.gz", b"gzip");
        write("engine/worker.js", "// worker\n".repeat(100).as_bytes());
        write("engine/core_bg.wasm", b"\0asm");
        write(".secret", b"secret");
        #[cfg(unix)]
        std::os::unix::fs::symlink(env!("CARGO_MANIFEST_DIR"), path.join("outside")).unwrap();
        Self(path)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[actix_web::test]
async fn health_tells_the_model() {
    let replies = get("none".into(), &[("/healthz", &[])]).await;
    assert_eq!(replies[0].status, StatusCode::OK);
    let health: serde_json::Value = serde_json::from_slice(&replies[0].body).unwrap();
    assert_eq!(health["status"], "ok");
    assert_eq!(health["model"]["name"], "tiny");
    assert!(health["model"]["parameters"].as_u64().unwrap() > 1_000);
    assert!(health["uptime_s"].is_u64());
}

#[actix_web::test]
async fn a_missing_page_says_how_to_build_it() {
    let replies = get("none".into(), &[("/", &[]), ("/style.css", &[])]).await;
    assert_eq!(replies[0].status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(String::from_utf8_lossy(&replies[0].body).contains("cargo xtask page"));
    assert_eq!(replies[1].status, StatusCode::NOT_FOUND);
}

#[actix_web::test]
async fn the_page_comes_with_types_caching_and_policy() {
    let page = Page::new("types");
    let replies = get(
        page.0.clone(),
        &[
            ("/", &[]),
            ("/app-0123456789abcdef.js", &[]),
            ("/engine/worker.js", &[]),
            ("/engine/core_bg.wasm", &[]),
        ],
    )
    .await;
    assert!(replies.iter().all(|reply| reply.status == StatusCode::OK));
    let types: Vec<_> = replies.iter().map(|reply| reply.header(header::CONTENT_TYPE)).collect();
    let script = "text/javascript; charset=utf-8";
    assert_eq!(types, ["text/html; charset=utf-8", script, script, "application/wasm"]);
    let caching: Vec<_> = replies.iter().map(|reply| reply.header(header::CACHE_CONTROL)).collect();
    assert_eq!(caching, ["no-cache", "public, max-age=31536000, immutable", "no-cache", "no-cache"]);
    let policy = replies[0].header(header::CONTENT_SECURITY_POLICY);
    assert!(policy.contains("script-src 'self' 'wasm-unsafe-eval' 'sha256-"), "{policy}");
    let policy = replies[2].header(header::CONTENT_SECURITY_POLICY);
    assert!(policy.contains("script-src 'self' 'wasm-unsafe-eval';"), "{policy}");
    for reply in &replies {
        assert_eq!(reply.header(header::X_CONTENT_TYPE_OPTIONS), "nosniff");
        assert_eq!(reply.header(header::REFERRER_POLICY), "no-referrer");
    }
}

#[actix_web::test]
async fn what_was_compressed_beforehand_is_preferred() {
    let page = Page::new("compressed");
    let script = "/app-0123456789abcdef.js";
    let replies = get(
        page.0.clone(),
        &[
            (script, &[("accept-encoding", "gzip, deflate, br")]),
            (script, &[("accept-encoding", "gzip, br;q=0")]),
            (script, &[("accept-encoding", "br"), ("range", "bytes=0-5")]),
            ("/engine/worker.js", &[("accept-encoding", "gzip")]),
            (script, &[]),
        ],
    )
    .await;
    let encodings: Vec<_> = replies.iter().map(|reply| reply.header(header::CONTENT_ENCODING)).collect();
    assert_eq!(encodings, ["br", "gzip", "identity", "gzip", ""]);
    assert_eq!(&replies[0].body[..], b"brotli");
    assert_eq!(&replies[1].body[..], b"gzip");
    assert_eq!(&replies[2].body[..], b"export");
    assert!(replies[3].body.len() < 200, "small text is compressed on the way");
    assert!(replies[3].header(header::ETAG).starts_with("W/"));
    let etags: Vec<_> = [0, 1, 4].map(|index: usize| replies[index].header(header::ETAG)).into();
    assert!(etags[0] != etags[1] && etags[1] != etags[2], "{etags:?}");
}

#[actix_web::test]
async fn nothing_outside_the_folders_is_served() {
    let page = Page::new("traversal");
    for path in [
        "/../Cargo.toml",
        "/%2e%2e/Cargo.toml",
        "/..%2fCargo.toml",
        "/engine/../../Cargo.toml",
        "/outside/Cargo.toml",
        "/.secret",
        "//etc/passwd",
        "/engine/",
        "/engine",
        "/index.html/x",
        "/weights/tiny/../../Cargo.toml",
        "/weights/tiny/..%2f..%2fCargo.toml",
        "/weights/../Cargo.toml",
        "/weights/other/config.json",
        "/weights/tiny/README.md",
        "/weights/tiny/",
    ] {
        let replies = get(page.0.clone(), &[(path, &[])]).await;
        assert_eq!(replies[0].status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[actix_web::test]
async fn weights_are_whole_conditional_and_resumable() {
    const FILE: &str = "/weights/tiny/model.safetensors";
    let expected = fs::read(checkpoint().join("model.safetensors")).unwrap();
    let length = expected.len();
    let first = get("none".into(), &[(FILE, &[("accept-encoding", "gzip, br")])]).await.remove(0);
    assert_eq!(first.status, StatusCode::OK);
    assert!(first.body == expected);
    assert_eq!(first.header(header::CONTENT_TYPE), "application/octet-stream");
    assert_eq!(first.header(header::ACCEPT_RANGES), "bytes");
    let etag = first.header(header::ETAG);

    let last = (length - 10).to_string();
    let replies = get(
        "none".into(),
        &[
            (FILE, &[("if-none-match", etag)]),
            (FILE, &[("if-none-match", "\"other\"")]),
            (FILE, &[("range", "bytes=4-9")]),
            (FILE, &[("range", &format!("bytes={last}-")), ("if-range", etag)]),
            (FILE, &[("range", "bytes=4-9"), ("if-range", "\"another version\"")]),
            (FILE, &[("range", &format!("bytes={length}-"))]),
        ],
    )
    .await;
    let statuses: Vec<_> = replies.iter().map(|reply| reply.status.as_u16()).collect();
    assert_eq!(statuses, [304, 200, 206, 206, 200, 416]);
    assert!(replies[0].body.is_empty());
    assert_eq!(replies[2].body, expected[4..10]);
    assert_eq!(replies[2].header(header::CONTENT_RANGE), format!("bytes 4-9/{length}"));
    assert_eq!(replies[3].body, expected[length - 10..]);
    assert_eq!(replies[4].body.len(), length);
    assert_eq!(replies[5].header(header::CONTENT_RANGE), format!("bytes */{length}"));
}

#[actix_web::test]
async fn only_reading_is_possible() {
    let page = Page::new("methods");
    let requests = [
        (Method::HEAD, "/", &[][..]),
        (Method::POST, "/", &[]),
        (Method::DELETE, "/weights/tiny/config.json", &[]),
        (Method::GET, "/v1/session", &[]),
    ];
    let replies = request(page.0.clone(), &requests).await;
    assert_eq!(replies[0].status, StatusCode::OK);
    assert!(replies[1].status.is_client_error());
    assert!(replies[2].status.is_client_error());
    assert_eq!(replies[3].status, StatusCode::BAD_REQUEST, "no upgrade was asked for");
}

#[actix_web::test]
async fn each_request_has_a_name() {
    let named = [("x-request-id", "from-the-proxy:7")];
    let forged = [("x-request-id", "a b")];
    let replies =
        get("nowhere".into(), &[("/healthz", &named), ("/healthz", &forged), ("/nothing", &[])]).await;
    let names: Vec<&str> =
        replies.iter().map(|reply| reply.header(header::HeaderName::from_static("x-request-id"))).collect();
    assert_eq!(names[0], "from-the-proxy:7");
    assert!(names[1..].iter().all(|name| name.len() == 16 && *name != "a b"), "{names:?}");
    assert_ne!(names[1], names[2]);
}
