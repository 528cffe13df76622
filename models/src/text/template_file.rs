//! Where a checkpoint keeps its chat template: a file of its own, or a field of another.

use serde_json::Value;

use crate::error::ModelError;

/// Templates are some kilobytes, tokenizer_config.json with all its tokens tens of them.
const MAX_FILE_BYTES: usize = 4 << 20;

/// The template of a checkpoint, as transformers looks for it; `None` where there is none. `read` gives the files that are there.
///
/// # Errors
/// Those of `read`, and [`ModelError::Config`] for a file that is no good.
pub(crate) fn template_of(
    read: impl Fn(&'static str) -> Result<Option<Vec<u8>>, ModelError>,
) -> Result<Option<String>, ModelError> {
    let read = |name| match read(name)? {
        Some(file) if file.len() > MAX_FILE_BYTES => {
            Err(unusable(name, format!("it has {} bytes, at most {MAX_FILE_BYTES} are read", file.len())))
        }
        file => Ok(file),
    };
    if let Some(text) = read("chat_template.jinja")? {
        return String::from_utf8(text)
            .map(Some)
            .map_err(|error| unusable("chat_template.jinja", error.to_string()));
    }
    for name in ["chat_template.json", "processor_config.json", "tokenizer_config.json"] {
        let Some(text) = read(name)? else { continue };
        let file: Value = serde_json::from_slice(&text).map_err(|error| ModelError::json(name, &error))?;
        match &file["chat_template"] {
            Value::String(template) => return Ok(Some(template.clone())),
            Value::Array(named) => {
                let default = named.iter().find(|one| one["name"] == "default");
                let template = default.and_then(|one| one["template"].as_str());
                let none = || unusable(name, "none of its chat templates is the default".to_owned());
                return template.map(|template| Some(template.to_owned())).ok_or_else(none);
            }
            _ => {}
        }
    }
    Ok(None)
}

fn unusable(file: &'static str, reason: String) -> ModelError {
    ModelError::Config { file, reason }
}
