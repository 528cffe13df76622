//! Pictures by address: only from listed hosts, never through redirects, within the budgets.

use std::net::SocketAddr;

use actix_web::{App, HttpResponse, HttpServer, web};
use msao_protocol::Limits;
use serde_json::json;

use crate::support::{Options, completion, png, post, state, with_image};

/// A host of pictures in this process.
fn host() -> SocketAddr {
    let app = || {
        App::new()
            .route("/picture", web::get().to(async || HttpResponse::Ok().body(png(40, 30))))
            .route("/text", web::get().to(async || HttpResponse::Ok().body("no picture")))
            .route("/large", web::get().to(async || HttpResponse::Ok().body(vec![0; 100_000])))
            .route(
                "/away",
                web::get()
                    .to(async || HttpResponse::Found().insert_header(("Location", "/picture")).finish()),
            )
            .route("/missing", web::get().to(async || HttpResponse::NotFound().finish()))
    };
    let server = HttpServer::new(app).workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
    let address = server.addrs()[0];
    actix_web::rt::spawn(server.run());
    address
}

#[actix_web::test]
async fn pictures_come_from_listed_hosts_within_their_budget() {
    let address = host();
    let limits = Limits { image_bytes: 50_000, ..Limits::default() };
    let image_hosts = vec![
        format!("http://{address}").parse().unwrap(),
        // A name that leads to a private address.
        format!("http://localhost:{}", address.port()).parse().unwrap(),
    ];
    let state = state(Options { limits, image_hosts, ..Options::default() });
    let about = |url: String| json!({"model": "tiny", "messages": with_image("what is this?", &url), "max_tokens": 3});
    let seen = completion(&state, &about(format!("http://{address}/picture"))).await;
    assert!(seen["receipt"]["modalities"].as_array().unwrap().iter().any(|one| one["modality"] == "vision"));

    let port = address.port();
    for (url, status, code) in [
        (format!("http://{address}/text"), 422, "not_an_image"),
        (format!("http://{address}/large"), 413, "too_large"),
        (format!("http://{address}/away"), 400, "image_unreachable"),
        (format!("http://{address}/missing"), 400, "image_unreachable"),
        (format!("http://localhost:{port}/picture"), 400, "image_unreachable"),
        (format!("https://{address}/picture"), 400, "invalid_image_url"),
        (format!("http://127.0.0.2:{port}/picture"), 400, "invalid_image_url"),
        (format!("http://me@{address}/picture"), 400, "invalid_image_url"),
        ("http://".to_owned(), 400, "invalid_image_url"),
    ] {
        let reply = post(&state, &about(url.clone())).await;
        assert_eq!((reply.status.as_u16(), reply.error()), (status, code.to_owned()), "{url}");
    }
}
