//! File name to media type, for the kinds of files that a page and a checkpoint consist of.

/// The media type of a file, and whether it is text that compresses.
pub(super) fn of(file_name: &str) -> (&'static str, bool) {
    let extension = file_name.rsplit_once('.').map_or("", |(_stem, extension)| extension);
    match extension {
        "html" => ("text/html; charset=utf-8", true),
        "js" | "mjs" => ("text/javascript; charset=utf-8", true),
        "css" => ("text/css; charset=utf-8", true),
        "txt" | "md" | "ts" => ("text/plain; charset=utf-8", true),
        "json" | "map" => ("application/json", true),
        "jsonl" => ("application/jsonl", true),
        "webmanifest" => ("application/manifest+json", true),
        "svg" => ("image/svg+xml", true),
        "wasm" => ("application/wasm", false),
        "png" => ("image/png", false),
        "jpg" | "jpeg" => ("image/jpeg", false),
        "webp" => ("image/webp", false),
        "ico" => ("image/x-icon", false),
        "wav" => ("audio/wav", false),
        "woff2" => ("font/woff2", false),
        _ => ("application/octet-stream", false),
    }
}
