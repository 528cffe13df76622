//! What `msao-server config` prints: the configuration in force, as a file that could be given with `--config`.

use std::fmt::Write as _;

use toml::Value;

use super::layers::{Setting, Source};

/// Settings as TOML, each with where it came from; what is secret or not set is a comment.
pub fn to_toml(settings: &[Setting]) -> String {
    let mut text = String::new();
    for setting in settings {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}", line(setting));
    }
    text
}

fn line(Setting { name, values, is_list, is_secret, source }: &Setting) -> String {
    let source = match source {
        Source::Flag => "flag".to_owned(),
        Source::Environment => "environment".to_owned(),
        Source::File(path) => path.display().to_string(),
        Source::Default => "default".to_owned(),
    };
    match values.as_slice() {
        [] => format!("# {name} is not set"),
        _ if *is_secret => format!("# {name} is set and not shown  # {source}"),
        values if *is_list => {
            let values: Vec<String> = values.iter().map(|value| literal(value)).collect();
            format!("{name} = [{}]  # {source}", values.join(", "))
        }
        [value, ..] => format!("{name} = {}  # {source}", literal(value)),
    }
}

/// A value in TOML. What reads like a number or a truth value is one, since either is handed on as it is written.
fn literal(value: &str) -> String {
    let is_integer = value.parse::<i64>().is_ok_and(|number| number.to_string() == value);
    if is_integer || matches!(value, "true" | "false") {
        return value.to_owned();
    }
    Value::String(without_credentials(value)).to_string()
}

/// An address without the name and password that it may carry before its host.
fn without_credentials(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value.to_owned() };
    let end = rest.find('/').unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => value.to_owned(),
    }
}
