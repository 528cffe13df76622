//! The built page, from the folder that the page's build wrote.

use std::io;
use std::path::{Path, PathBuf};

use actix_web::http::header::{self, HeaderValue};
use actix_web::web;
use actix_web::{HttpRequest, HttpResponse};

use super::file::{ServedFile, respond};
use super::isolation::isolate_page;
use super::mime;
use super::package;
use super::policy::{content_security_policy, inline_scripts};
use crate::app::AppState;

/// For a name that changes with the content.
const FOREVER: &str = "public, max-age=31536000, immutable";
/// For a name that stays: a copy is kept, and asked about each time.
const ASK_EACH_TIME: &str = "no-cache";

/// Compressed siblings that the build writes, best first.
const SIBLINGS: [(&str, &str); 2] = [("br", "br"), ("gz", "gzip")];

const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>MSAO: no page yet</title>\
<h1>The page is not built yet</h1><p>The server runs, but its page is missing. Build it with \
<code>cargo xtask page</code>, then reload.</p></html>";

/// Serves a file of the page.
pub(super) async fn serve(
    request: HttpRequest,
    path: web::Path<String>,
    state: web::Data<AppState>,
) -> HttpResponse {
    let root = &state.assets.page;
    let Some(relative) = safe_path(&path) else { return not_found() };
    let found = web::block({
        let (root, request_path) = (root.clone(), relative.clone());
        let accepted = accepted_encodings(&request);
        move || locate(&root, &request_path, accepted)
    });
    let is_index = relative == Path::new("index.html");
    match found.await {
        Ok(Ok(located)) => match respond(&request, located.file).await {
            Ok(Some(mut response)) => {
                if let Some(policy) = located.policy.and_then(|policy| HeaderValue::from_str(&policy).ok()) {
                    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
                    isolate_page(response.headers_mut());
                }
                package::label(&mut response, &relative, &state.origins);
                response
            }
            Ok(None) => not_found(),
            Err(error) => failed(&relative, &error),
        },
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound && is_index => {
            tracing::warn!(page = %root.display(), "no index.html: build the page with `cargo xtask page`");
            HttpResponse::ServiceUnavailable().content_type("text/html; charset=utf-8").body(NOT_BUILT)
        }
        Ok(Err(error)) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            not_found()
        }
        Ok(Err(error)) => failed(&relative, &error),
        Err(_cancelled) => HttpResponse::ServiceUnavailable().finish(),
    }
}

fn not_found() -> HttpResponse {
    HttpResponse::NotFound().content_type("text/plain; charset=utf-8").body("there is no such file")
}

fn failed(path: &Path, error: &io::Error) -> HttpResponse {
    tracing::error!(path = %path.display(), %error, "a file of the page cannot be read");
    HttpResponse::InternalServerError()
        .content_type("text/plain; charset=utf-8")
        .body("the file cannot be read")
}

struct Located {
    file: ServedFile,
    /// The page's own policy, where it differs from the general one.
    policy: Option<String>,
}

/// Finds a file or its best compressed sibling.
fn locate(root: &Path, relative: &Path, accepted: [bool; 2]) -> io::Result<Located> {
    let path = root.join(relative).canonicalize()?;
    // A link inside the folder must not lead out of it.
    if !path.starts_with(root.canonicalize()?) {
        return Err(io::ErrorKind::NotFound.into());
    }
    let name = relative.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let (content_type, compressible) = mime::of(name);
    let cache_control = if has_hash(name) { FOREVER } else { ASK_EACH_TIME };
    let policy = if name == "index.html" {
        Some(content_security_policy(&inline_scripts(&std::fs::read_to_string(&path)?)))
    } else {
        None
    };
    let sibling = SIBLINGS.iter().zip(accepted).find_map(|((extension, encoding), accepted)| {
        let sibling = PathBuf::from(format!("{}.{extension}", path.display()));
        (accepted && sibling.is_file()).then_some((sibling, *encoding))
    });
    let (path, encoding) = sibling.map_or((path, None), |(path, encoding)| (path, Some(encoding)));
    Ok(Located { file: ServedFile { path, content_type, encoding, compressible, cache_control }, policy })
}

/// The file that a request path means; `None` for anything but plain names below the folder.
fn safe_path(path: &str) -> Option<PathBuf> {
    if path.is_empty() {
        return Some("index.html".into());
    }
    let plain = |name: &&str| !name.is_empty() && !name.starts_with('.') && !name.contains(['\\', ':', '\0']);
    let names: Vec<&str> = path.split('/').collect();
    names.iter().all(plain).then(|| names.iter().collect())
}

/// Which of [`SIBLINGS`] the client takes. Parts are always of the plain file.
fn accepted_encodings(request: &HttpRequest) -> [bool; 2] {
    let header = request.headers().get(header::ACCEPT_ENCODING).and_then(|header| header.to_str().ok());
    let accepted = header.filter(|_| !request.headers().contains_key(header::RANGE)).unwrap_or_default();
    SIBLINGS.map(|(_extension, encoding)| {
        accepted.split(',').any(|offer| {
            let (name, weight) = offer.split_once(';').unwrap_or((offer, "q=1"));
            let refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0_f32));
            name.trim().eq_ignore_ascii_case(encoding) && !refused
        })
    })
}

/// Whether a name carries a hash of the content as Trunk writes it: `name-0123456789abcdef_bg.wasm`.
fn has_hash(name: &str) -> bool {
    name.split('-').skip(1).any(|part| {
        let digits = part.bytes().take_while(u8::is_ascii_hexdigit).count();
        digits >= 15 && part[digits..].starts_with(['.', '_'])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_below_the_folder_are_paths() {
        assert_eq!(safe_path(""), Some("index.html".into()));
        assert_eq!(safe_path("engine/simd/msao.js"), Some("engine/simd/msao.js".into()));
        for path in [
            "..",
            "../Cargo.toml",
            "a/../../b",
            "/etc/passwd",
            "a//b",
            ".git/config",
            "a\\..\\b",
            "c:/x",
            "a/",
        ] {
            assert_eq!(safe_path(path), None, "{path}");
        }
    }

    #[test]
    fn only_names_with_a_hash_are_immutable() {
        for name in [
            "msao-web-0123456789abcdef.js",
            "msao-web-0123456789abcdef_bg.wasm",
            "style-fedcba9876543210.css",
        ] {
            assert!(has_hash(name), "{name}");
        }
        for name in ["index.html", "msao_runtime_bg.wasm", "a-bee.css", "photo-2026.png"] {
            assert!(!has_hash(name), "{name}");
        }
    }
}
