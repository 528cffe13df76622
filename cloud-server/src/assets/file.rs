//! One file as an HTTP response: validators, conditional requests, ranges, streaming.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use actix_web::body::{self, SizedStream};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream;

use super::range::RangeRequest;

/// Bytes read from disk at a time.
const CHUNK_BYTES: u64 = 64 * 1024;
/// Text up to this size is compressed while it is sent; beyond, only files compressed beforehand are, since
/// compressing megabytes for each visitor would take the cores from the model.
const COMPRESS_UP_TO_BYTES: u64 = 256 * 1024;

/// A file to serve, and how.
#[derive(Debug, Clone)]
pub(super) struct ServedFile {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Its media type.
    pub(super) content_type: &'static str,
    /// How it is compressed on disk, as `Content-Encoding` says it.
    pub(super) encoding: Option<&'static str>,
    /// Whether it may be compressed while it is sent.
    pub(super) compressible: bool,
    /// Its `Cache-Control`.
    pub(super) cache_control: &'static str,
}

/// Answers a request for a file; `None` if there is none.
pub(super) async fn respond(request: &HttpRequest, served: ServedFile) -> io::Result<Option<HttpResponse>> {
    let path = served.path.clone();
    let opened = web::block(move || open(path)).await.map_err(io::Error::other)?;
    let (file, metadata) = match opened {
        Ok(opened) => opened,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let length = metadata.len();
    let compress = served.compressible
        && served.encoding.is_none()
        && length <= COMPRESS_UP_TO_BYTES
        && text_header(request, header::RANGE).is_none();
    // What compression changes on the way is no longer the same bytes, which a weak validator admits.
    let etag = etag(&metadata, served.encoding, compress);

    let mut response = HttpResponse::build(StatusCode::OK);
    response
        .insert_header((header::ETAG, etag.as_str()))
        .insert_header((header::CACHE_CONTROL, served.cache_control))
        .insert_header((header::VARY, "Accept-Encoding"));
    if text_header(request, header::IF_NONE_MATCH).is_some_and(|tags| matches(tags, &etag)) {
        return Ok(Some(response.status(StatusCode::NOT_MODIFIED).body(body::None::new())));
    }
    response
        .insert_header((header::CONTENT_TYPE, served.content_type))
        .insert_header((header::ACCEPT_RANGES, "bytes"));
    if !compress {
        // `identity` keeps the compressing middleware away, and with it Content-Length in place.
        response.insert_header((header::CONTENT_ENCODING, served.encoding.unwrap_or("identity")));
    }
    let range = match text_header(request, header::RANGE) {
        // A part of another version than the client has begun with would spoil its copy.
        Some(range) if text_header(request, header::IF_RANGE).is_none_or(|expected| expected == etag) => {
            RangeRequest::parse(range, length)
        }
        _ => RangeRequest::Whole,
    };
    let part = match range {
        RangeRequest::Whole => 0..length,
        RangeRequest::Unsatisfiable => {
            response.insert_header((header::CONTENT_RANGE, format!("bytes */{length}")));
            return Ok(Some(response.status(StatusCode::RANGE_NOT_SATISFIABLE).finish()));
        }
        RangeRequest::Part(part) => {
            let content_range = format!("bytes {}-{}/{length}", part.start, part.end - 1);
            response
                .status(StatusCode::PARTIAL_CONTENT)
                .insert_header((header::CONTENT_RANGE, content_range));
            part
        }
    };
    Ok(Some(response.body(SizedStream::new(part.end - part.start, read(file, part)))))
}

fn open(path: PathBuf) -> io::Result<(File, Metadata)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() { Ok((file, metadata)) } else { Err(io::ErrorKind::NotFound.into()) }
}

fn text_header(request: &HttpRequest, name: HeaderName) -> Option<&str> {
    request.headers().get(name).map(HeaderValue::to_str)?.ok()
}

/// Size, time and encoding tell versions of a file apart.
fn etag(metadata: &Metadata, encoding: Option<&str>, weak: bool) -> String {
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let nanos = modified.unwrap_or_default().as_nanos();
    let (weak, encoding) = (if weak { "W/" } else { "" }, encoding.unwrap_or("id"));
    format!("{weak}\"{:x}-{nanos:x}-{encoding}\"", metadata.len())
}

/// Whether an `If-None-Match` list holds a tag, compared weakly as the RFC asks.
fn matches(tags: &str, etag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    tags.trim() == "*" || tags.split(',').any(|tag| opaque(tag) == opaque(etag))
}

/// Reads a part of a file on the blocking pool, a chunk at a time.
fn read(file: File, part: Range<u64>) -> impl futures_util::Stream<Item = io::Result<Bytes>> {
    stream::try_unfold((file, part), |(file, part)| async move {
        if part.is_empty() {
            return Ok(None);
        }
        let count = CHUNK_BYTES.min(part.end - part.start);
        let (file, chunk) =
            web::block(move || read_chunk(file, part.start, count)).await.map_err(io::Error::other)??;
        Ok(Some((chunk, (file, part.start + count..part.end))))
    })
}

fn read_chunk(mut file: File, start: u64, count: u64) -> io::Result<(File, Bytes)> {
    file.seek(SeekFrom::Start(start))?;
    let mut chunk = vec![0; count as usize];
    file.read_exact(&mut chunk)?;
    Ok((file, chunk.into()))
}
