//! The API's description, `openapi.json`, and a page to read it: plain HTML with no script, made of the same document.
//!
//! The document is kept by hand, and held to what the server does by tests: to its routes, and to requests and answers as
//! they are.

use std::fmt::Write as _;
use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use serde_json::Value;

const DOCUMENT: &str = include_str!("openapi.json");
static PAGE: LazyLock<String> = LazyLock::new(render);

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;\
color:#1b1f24;background:#fff}code{font:.9em ui-monospace,monospace}h2,h3{margin-top:2rem}\
dl{margin:.3rem 0 .3rem 1.2rem}dt{font-weight:600}dd{margin:0 0 .4rem 1.2rem}.kind{color:#57606a;font-weight:400}\
a{color:#0a58ca}@media(prefers-color-scheme:dark){body{background:#14171a;color:#e6e8eb}.kind{color:#9aa4af}\
a{color:#7ab7ff}}";

/// `GET /openapi.json`
pub(super) async fn document() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((CACHE_CONTROL, "no-cache"))
        .body(DOCUMENT)
}

/// `GET /docs`
pub(super) async fn page() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((CACHE_CONTROL, "no-cache"))
        .body(PAGE.as_str())
}

fn render() -> String {
    let document: Value = serde_json::from_str(DOCUMENT).unwrap_or_default();
    let mut page = String::new();
    let (title, about) = (text(&document["info"]["title"]), text(&document["info"]["description"]));
    let _ = write!(
        page,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head><body>\
         <h1>{title}</h1><p>{about}</p><p><a href=\"/openapi.json\">openapi.json</a></p><h2>Addresses</h2>"
    );
    for (path, methods) in entries(&document["paths"]) {
        for (method, operation) in entries(methods) {
            write_operation(&mut page, path, method, operation);
        }
    }
    page.push_str("<h2>Shapes</h2>");
    for (name, schema) in entries(&document["components"]["schemas"]) {
        let name = escape(name);
        let _ = write!(page, "<h3 id=\"{name}\">{name}</h3><p>{}</p>", text(&schema["description"]));
        write_fields(&mut page, schema);
    }
    page.push_str("</body></html>");
    page
}

fn write_operation(page: &mut String, path: &str, method: &str, operation: &Value) {
    let (method, path, summary) = (method.to_uppercase(), escape(path), text(&operation["summary"]));
    let _ = write!(page, "<h3><code>{method} {path}</code></h3><p>{summary}</p><dl>");
    for (_, content) in entries(&operation["requestBody"]["content"]) {
        let _ = write!(page, "<dt>Body</dt><dd>{}</dd>", kind_of(&content["schema"]));
    }
    for (status, response) in entries(&operation["responses"]) {
        let description = text(&response["description"]);
        let _ = write!(page, "<dt>{}</dt><dd>{description}", escape(status));
        for (media_type, content) in entries(&response["content"]) {
            let kind = kind_of(&content["schema"]);
            let _ = write!(page, " <span class=\"kind\">{}: {kind}</span>", escape(media_type));
        }
        page.push_str("</dd>");
    }
    page.push_str("</dl>");
}

fn write_fields(page: &mut String, schema: &Value) {
    let required = |name: &str| {
        schema["required"].as_array().is_some_and(|names| names.iter().any(|required| required == name))
    };
    page.push_str("<dl>");
    for (name, field) in entries(&schema["properties"]) {
        let optional = if required(name) { "" } else { ", optional" };
        let (kind, about) = (kind_of(field), text(&field["description"]));
        let name = escape(name);
        let _ = write!(
            page,
            "<dt><code>{name}</code> <span class=\"kind\">{kind}{optional}</span></dt><dd>{about}"
        );
        let nested = if field["items"].is_object() { &field["items"] } else { field };
        if nested["properties"].is_object() {
            write_fields(page, nested);
        }
        page.push_str("</dd>");
    }
    page.push_str("</dl>");
}

/// A schema in a few words.
fn kind_of(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        let name = escape(name);
        return format!("<a href=\"#{name}\">{name}</a>");
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        return choices.iter().map(kind_of).collect::<Vec<_>>().join(" or ");
    }
    if let Some(values) = schema["enum"].as_array() {
        return values
            .iter()
            .map(|value| format!("<code>{}</code>", text(value)))
            .collect::<Vec<_>>()
            .join(" or ");
    }
    match schema["type"].as_str() {
        Some("array") => format!("list of {}", kind_of(&schema["items"])),
        Some(kind) => escape(kind),
        None => String::new(),
    }
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn text(value: &Value) -> String {
    escape(value.as_str().unwrap_or_default())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Paths as [`crate::api::routes`] registers them.
    fn routed() -> BTreeSet<&'static str> {
        let source = include_str!("mod.rs");
        let registered =
            ["::resource(\"", ".route(\""].into_iter().flat_map(|call| source.split(call).skip(1));
        registered.filter_map(|rest| rest.split('"').next()).filter(|path| !path.contains('*')).collect()
    }

    #[test]
    fn the_document_has_every_route_and_no_other() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        let documented: BTreeSet<&str> = entries(&document["paths"]).map(|(path, _)| path.as_str()).collect();
        let mut routed = routed();
        assert!(routed.len() >= 8, "{routed:?}");
        routed.insert("/v1/session");
        assert_eq!(documented, routed);
    }

    #[test]
    fn every_reference_leads_somewhere_and_the_page_shows_all_by_itself() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let names: Vec<&str> =
            entries(&document["components"]["schemas"]).map(|(name, _)| name.as_str()).collect();
        for reference in DOCUMENT.split("#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(names.contains(&name), "{name}");
        }
        let page = render();
        for name in names {
            assert!(page.contains(&format!("<h3 id=\"{name}\">")), "{name}");
        }
        for path in routed() {
            assert!(page.contains(path), "{path}");
        }
        for outside in ["<script", "src=", "http://", "https://"] {
            let found = page.find(outside).map(|at| &page[at..(at + 60).min(page.len())]);
            assert_eq!(found, None);
        }
    }
}
