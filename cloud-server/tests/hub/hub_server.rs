//! A hub on this machine: what the public one says and does, as its own clients document it, and what goes wrong with it.
//!
//! Small files are answered by the hub itself behind a relative redirect, large ones by another host behind an absolute one.
//! Faults are told in advance: the next request that fits meets them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, IF_RANGE, RANGE};
use actix_web::web::{Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub(crate) const ID: &str = "someone/tiny-llama";
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// What stands in addresses of the other host, and nowhere else.
pub(crate) const SIGNATURE: &str = "signed-by-the-hub";

/// What goes wrong with one request.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Another status, with headers.
    Status(u16, Vec<(&'static str, String)>),
    /// The connection is cut after so many bytes.
    Cut(usize),
    /// Other bytes of the same length.
    OtherBytes,
    /// So many bytes, as if that were all.
    Length(usize),
    /// The range is not looked at.
    WholeFile,
    /// The range begins elsewhere.
    OtherRange,
    /// The hub's word about the content's hash.
    LinkedEtag(String),
    /// A redirect to this address.
    Redirect(String),
    /// Instead of JSON.
    Body(Vec<u8>),
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Whether it came to the hub itself and not to the host of large files.
    pub(crate) is_hub: bool,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    pub(crate) range: Option<String>,
    pub(crate) if_range: Option<String>,
    /// Bytes that were answered with.
    pub(crate) sent: usize,
}

#[derive(Debug, Default)]
struct World {
    files: BTreeMap<String, Vec<u8>>,
    /// What the listing says further.
    info: Value,
    /// Files that the listing tells no size and hash of.
    is_terse: bool,
    /// Only who has it may see the repository.
    token: Option<String>,
    is_gated: bool,
    /// How many requests that fit are let through first, the end of the path, what goes wrong.
    faults: Vec<(usize, &'static str, Fault)>,
    seen: Vec<Seen>,
    other_host: String,
}

/// A running hub.
pub(crate) struct HubServer {
    world: Arc<Mutex<World>>,
    pub(crate) address: String,
    handles: Vec<actix_web::dev::ServerHandle>,
}

#[derive(Clone)]
struct Shared {
    world: Arc<Mutex<World>>,
    is_hub: bool,
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn git_blob(bytes: &[u8]) -> String {
    use sha1::Digest as _;
    let mut hash = sha1::Sha1::new_with_prefix(format!("blob {}\0", bytes.len()));
    hash.update(bytes);
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_large(name: &str) -> bool {
    name.ends_with(".safetensors")
}

impl HubServer {
    pub(crate) async fn start(files: BTreeMap<String, Vec<u8>>) -> Self {
        let info = json!({"gated": false, "cardData": {"license": "apache-2.0"}});
        let world = Arc::new(Mutex::new(World { files, info, ..World::default() }));
        let mut handles = Vec::new();
        let mut listen = |is_hub: bool| {
            let shared = Shared { world: Arc::clone(&world), is_hub };
            let app = move || App::new().app_data(Data::new(shared.clone())).default_service(web::to(answer));
            let server = HttpServer::new(app).workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
            let address = format!("http://{}", server.addrs()[0]);
            let server = server.run();
            handles.push(server.handle());
            actix_web::rt::spawn(server);
            address
        };
        let other_host = listen(false);
        let address = listen(true);
        world.lock().unwrap().other_host = other_host;
        Self { world, address, handles }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// The next request whose path ends so meets this.
    pub(crate) fn fault(&self, path: &'static str, fault: Fault) {
        self.fault_behind(0, path, fault);
    }

    /// As [`Self::fault`], behind so many requests that fit.
    pub(crate) fn fault_behind(&self, others: usize, path: &'static str, fault: Fault) {
        self.world().faults.push((others, path, fault));
    }

    pub(crate) fn set_file(&self, name: &str, bytes: Vec<u8>) {
        self.world().files.insert(name.to_owned(), bytes);
    }

    pub(crate) fn remove_file(&self, name: &str) {
        self.world().files.remove(name);
    }

    pub(crate) fn set_info(&self, key: &str, value: Value) {
        self.world().info[key] = value;
    }

    pub(crate) fn tell_no_hashes(&self) {
        self.world().is_terse = true;
    }

    pub(crate) fn ask_for(&self, token: &str) {
        self.world().token = Some(token.to_owned());
    }

    pub(crate) fn gate(&self) {
        self.world().is_gated = true;
        self.set_info("gated", json!("manual"));
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.world().seen.clone()
    }

    pub(crate) fn forget_seen(&self) {
        self.world().seen.clear();
    }

    /// Bytes of weights that were sent.
    pub(crate) fn weights_sent(&self) -> usize {
        self.seen().iter().filter(|seen| !seen.is_hub).map(|seen| seen.sent).sum()
    }

    pub(crate) async fn stop(&self) {
        for handle in &self.handles {
            handle.stop(false).await;
        }
    }
}

async fn answer(request: HttpRequest, shared: Data<Shared>) -> HttpResponse {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let path = request.path().to_owned();
    let (fault, index) = {
        let mut world = shared.world();
        let position = world.faults.iter().position(|(_, suffix, fault)| {
            // What is wrong with contents is wrong where they are sent from.
            let is_of_content = !matches!(
                fault,
                Fault::Status(..) | Fault::LinkedEtag(_) | Fault::Redirect(_) | Fault::Body(_)
            );
            let is_here = shared.is_hub != (is_of_content && is_large(suffix));
            let is_due = !is_of_content || !request.path().contains("/resolve/") || is_large(suffix);
            is_here && is_due && path.ends_with(suffix)
        });
        let fault = position.and_then(|position| match &mut world.faults[position].0 {
            0 => Some(world.faults.remove(position).2),
            others => {
                *others -= 1;
                None
            }
        });
        world.seen.push(Seen {
            is_hub: shared.is_hub,
            method: request.method().to_string(),
            path: path.clone(),
            authorization: header(AUTHORIZATION),
            range: header(RANGE),
            if_range: header(IF_RANGE),
            sent: 0,
        });
        (fault, world.seen.len() - 1)
    };
    let (response, sent) = respond(&request, &shared, &path, fault);
    shared.world().seen[index].sent = sent;
    response
}

fn refused(status: u16, code: &str) -> (HttpResponse, usize) {
    let status = StatusCode::from_u16(status).unwrap();
    (HttpResponse::build(status).insert_header(("X-Error-Code", code)).finish(), 0)
}

fn respond(
    request: &HttpRequest,
    shared: &Shared,
    path: &str,
    fault: Option<Fault>,
) -> (HttpResponse, usize) {
    let world = shared.world();
    match &fault {
        Some(Fault::Status(status, headers)) => {
            let mut response = HttpResponse::build(StatusCode::from_u16(*status).unwrap());
            headers.iter().for_each(|(name, value)| {
                response.insert_header((*name, value.as_str()));
            });
            return (response.finish(), 0);
        }
        Some(Fault::Redirect(to)) => {
            return (HttpResponse::Found().insert_header(("Location", to.as_str())).finish(), 0);
        }
        Some(Fault::Body(bytes)) => return (HttpResponse::Ok().body(bytes.clone()), 0),
        _ => {}
    }
    if !shared.is_hub {
        let name = path.trim_start_matches("/large/");
        assert!(request.query_string().contains(SIGNATURE));
        let Some(bytes) = world.files.get(name) else { return refused(404, "") };
        // Another host has other tags than the hub.
        return content(request, bytes, &format!("\"tag-of-{}\"", bytes.len()), fault);
    }
    let sent_token = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let is_allowed = world.token.as_ref().is_none_or(|token| sent_token == Some(&format!("Bearer {token}")));
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match parts.as_slice() {
        ["api", "models", owner, name, "revision", revision] => {
            if format!("{owner}/{name}") != ID || (!is_allowed && !world.is_gated) {
                return refused(if sent_token.is_some() { 404 } else { 401 }, "RepoNotFound");
            }
            let known = ["main", "refs%2Fpr%2F1", "refs/pr/1", COMMIT];
            if !known.contains(revision) {
                return refused(404, "RevisionNotFound");
            }
            (HttpResponse::Ok().json(listing(&world)), 0)
        }
        [_, _, "resolve", commit, name] => {
            if *commit != COMMIT {
                return refused(404, "RevisionNotFound");
            }
            if !is_allowed {
                return refused(if sent_token.is_some() { 403 } else { 401 }, "GatedRepo");
            }
            let Some(bytes) = world.files.get(*name) else { return refused(404, "EntryNotFound") };
            if !is_large(name) {
                let to = format!("/cached/{name}");
                let mut response = HttpResponse::TemporaryRedirect();
                response.insert_header(("Location", to)).insert_header(("X-Repo-Commit", COMMIT));
                return (response.finish(), 0);
            }
            let etag = match &fault {
                Some(Fault::LinkedEtag(etag)) => etag.clone(),
                _ => sha256(bytes),
            };
            let to = format!("{}/large/{name}?{SIGNATURE}", world.other_host);
            let mut response = HttpResponse::Found();
            response
                .insert_header(("Location", to))
                .insert_header(("X-Repo-Commit", COMMIT))
                .insert_header(("X-Linked-Etag", format!("\"{etag}\"")))
                .insert_header(("X-Linked-Size", bytes.len().to_string()));
            (response.finish(), 0)
        }
        ["cached", name] => {
            let bytes = &world.files[*name];
            content(request, bytes, &format!("\"{}\"", git_blob(bytes)), fault)
        }
        _ => refused(404, "RepoNotFound"),
    }
}

fn listing(world: &World) -> Value {
    let sibling = |(name, bytes): (&String, &Vec<u8>)| {
        if world.is_terse {
            return json!({"rfilename": name});
        }
        let mut file = json!({"rfilename": name, "size": bytes.len(), "blobId": git_blob(bytes)});
        if is_large(name) {
            // The blob of a large file is its pointer, whose hash is not the content's.
            file["blobId"] = json!(git_blob(b"pointer"));
            file["lfs"] = json!({"sha256": sha256(bytes), "size": bytes.len(), "pointerSize": 134});
        }
        file
    };
    let siblings: Vec<Value> = world.files.iter().map(sibling).collect();
    let mut info = json!({"id": ID, "sha": COMMIT, "private": false, "siblings": siblings});
    for (key, value) in world.info.as_object().unwrap() {
        info[key] = value.clone();
    }
    info
}

/// A content, or the range of it that is asked for; with what was to go wrong.
fn content(request: &HttpRequest, bytes: &[u8], etag: &str, fault: Option<Fault>) -> (HttpResponse, usize) {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let is_stale = text(IF_RANGE).is_some_and(|validator| validator != etag);
    let ignores_range = matches!(fault, Some(Fault::WholeFile)) || is_stale;
    let range = text(RANGE).filter(|_| !ignores_range).map(|range| {
        let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let last = last.parse().unwrap_or(bytes.len() - 1).min(bytes.len() - 1);
        (first.parse::<usize>().unwrap(), last)
    });
    let (mut body, mut response) = match range {
        Some((first, _)) if first >= bytes.len() => {
            let all = format!("bytes */{}", bytes.len());
            let mut response = HttpResponse::RangeNotSatisfiable();
            return (response.insert_header(("Content-Range", all)).finish(), 0);
        }
        Some((first, last)) => {
            let told = if matches!(fault, Some(Fault::OtherRange)) { 0 } else { first };
            let mut response = HttpResponse::PartialContent();
            response.insert_header(("Content-Range", format!("bytes {told}-{last}/{}", bytes.len())));
            (bytes[first..=last].to_vec(), response)
        }
        None => (bytes.to_vec(), HttpResponse::Ok()),
    };
    response.insert_header(("ETag", etag));
    match fault {
        Some(Fault::Cut(after)) => {
            let (length, after) = (body.len() as u64, after.min(body.len()));
            let piece = Bytes::from(body[..after].to_vec());
            // What was written leaves while the rest is waited for.
            let cut = futures_util::stream::once(async {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                Err(std::io::Error::other("cut"))
            });
            let pieces = futures_util::stream::iter([Ok(piece)]).chain(cut);
            return (response.no_chunking(length).streaming(Box::pin(pieces)), after);
        }
        Some(Fault::OtherBytes) => body.iter_mut().for_each(|byte| *byte ^= 1),
        Some(Fault::Length(length)) => body.resize(length, 0),
        _ => {}
    }
    let sent = body.len();
    (response.body(body), sent)
}
