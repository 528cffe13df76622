//! A server in this process, requests to it, and replies that are held to its own description.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::header::HeaderMap;
use actix_web::http::{Method, StatusCode};
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::web::{Bytes, Data};
use msao_models::{CheckpointFiles, DeviceKind};
use msao_protocol::Limits;
use msao_server::engine::{Checkpoints, EmbeddedConfig, EmbeddedEngine, Engine};
use msao_server::{AppState, Assets, EdgeModels, ImageHost, Origins, Timeouts, create_app, listen};
use serde_json::{Value, json};

use crate::checkpoint::checkpoint;
use crate::schema::assert_conforms;

/// Longest wait for anything; only a failing test waits that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Options {
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
    pub(crate) places: usize,
    pub(crate) image_hosts: Vec<ImageHost>,
}

impl Default for Options {
    fn default() -> Self {
        let (limits, timeouts) = (Limits::default(), Timeouts::default());
        Self { limits, timeouts, places: 8, image_hosts: vec![] }
    }
}

pub(crate) fn engine(options: &Options) -> EmbeddedEngine {
    let (name, device, attach_wait) = ("tiny".into(), DeviceKind::Cpu, PATIENCE);
    let config = EmbeddedConfig {
        name,
        device,
        limits: options.limits,
        places: options.places,
        max_wait: Duration::MAX,
        max_batch: 4,
        attach_wait,
        kv_budget_bytes: 64 << 20,
        memory_wait: PATIENCE,
        prunes_tiles: false,
    };
    let target = CheckpointFiles::from_dir(checkpoint()).unwrap();
    EmbeddedEngine::start(&Checkpoints { target, draft: None }, &config).unwrap()
}

pub(crate) fn state_of(engine: Arc<dyn Engine>, options: Options) -> Data<AppState> {
    let Options { limits, timeouts, image_hosts, .. } = options;
    let page = PathBuf::from("no such page");
    let assets = Assets { page, edge_models: EdgeModels::default() };
    let state = AppState::new(engine, limits, timeouts, Origins::default(), assets, 8);
    Data::new(state.with_image_hosts(image_hosts))
}

pub(crate) fn state(options: Options) -> Data<AppState> {
    state_of(Arc::new(engine(&options)), options)
}

pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The chunks of a stream that ended well.
    pub(crate) fn chunks(&self) -> Vec<Value> {
        assert_eq!(self.header("content-type"), "text/event-stream; charset=utf-8");
        let (events, rest) = self.text().rsplit_once("data: [DONE]\n\n").expect("the stream is whole");
        assert_eq!(rest, "");
        let events = events.split("\n\n").filter(|event| !event.is_empty() && !event.starts_with(':'));
        let chunk = |event: &str| {
            let chunk = serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap();
            assert_conforms(&chunk, "Chunk");
            chunk
        };
        events.map(chunk).collect()
    }

    /// The code of an error in OpenAI's form.
    pub(crate) fn error(&self) -> String {
        let json = self.json();
        assert_conforms(&json, "Error");
        json["error"]["code"].as_str().unwrap().to_owned()
    }
}

pub(crate) async fn send(state: &Data<AppState>, request: TestRequest) -> Reply {
    let app = init_service(create_app(state.clone())).await;
    let response = call_service(&app, request.to_request()).await;
    let (status, headers) = (response.status(), response.headers().clone());
    Reply { status, headers, body: read_body(response).await }
}

pub(crate) async fn get(state: &Data<AppState>, path: &str) -> Reply {
    send(state, TestRequest::with_uri(path).method(Method::GET)).await
}

/// Posts a chat completion as it stands.
pub(crate) async fn post(state: &Data<AppState>, body: &Value) -> Reply {
    send(state, TestRequest::post().uri("/v1/chat/completions").set_payload(body.to_string())).await
}

/// A request about `question`, with more fields.
pub(crate) fn asking(question: &str, more: &Value) -> Value {
    let mut body = json!({"model": "tiny", "messages": [{"role": "user", "content": question}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    assert_conforms(&body, "ChatRequest");
    body
}

/// An answer, held to the description.
pub(crate) async fn completion(state: &Data<AppState>, body: &Value) -> Value {
    let reply = post(state, body).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    let json = reply.json();
    assert_conforms(&json, "Completion");
    json
}

pub(crate) fn content(completion: &Value) -> &str {
    completion["choices"][0]["message"]["content"].as_str().unwrap()
}

/// Content with parts: text, then a picture.
pub(crate) fn with_image(question: &str, url: &str) -> Value {
    json!([{"role": "user", "content": [
        {"type": "text", "text": question}, {"type": "image_url", "image_url": {"url": url}},
    ]}])
}

/// A server on a port of its own.
pub(crate) fn start(state: &Data<AppState>) -> std::net::SocketAddr {
    let (server, address) = listen(state.clone(), ([127, 0, 0, 1], 0).into()).unwrap();
    actix_web::rt::spawn(server);
    address
}

pub(crate) async fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn png(width: u32, height: u32) -> Vec<u8> {
    let image = image::RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, (x * y) as u8]));
    let mut bytes = Vec::new();
    image.write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Png).unwrap();
    bytes
}
