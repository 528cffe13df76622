//! Where a checkpoint keeps its chat template: a file of its own, or a field of another.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde_json::Value;

use crate::error::ModelError;

/// Templates are some kilobytes, tokenizer_config.json with all its tokens tens of them.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// The template of a checkpoint's folder, as transformers looks for it; `None` where there is none.
///
/// # Errors
/// [`ModelError::File`] for a file that cannot be read, [`ModelError::Config`] for one that is no good.
pub(crate) fn read_template(folder: &Path) -> Result<Option<String>, ModelError> {
    if let Some(text) = read(folder, "chat_template.jinja")? {
        return String::from_utf8(text)
            .map(Some)
            .map_err(|error| unusable("chat_template.jinja", error.to_string()));
    }
    for name in ["chat_template.json", "processor_config.json", "tokenizer_config.json"] {
        let Some(text) = read(folder, name)? else { continue };
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

fn read(folder: &Path, name: &'static str) -> Result<Option<Vec<u8>>, ModelError> {
    let path = folder.join(name);
    let failed = |source| ModelError::File { path: path.display().to_string(), source };
    match fs::metadata(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
        Ok(file) if file.len() > MAX_FILE_BYTES => {
            Err(unusable(name, format!("it has {} bytes, at most {MAX_FILE_BYTES} are read", file.len())))
        }
        Ok(_) => fs::read(&path).map(Some).map_err(failed),
    }
}

fn unusable(file: &'static str, reason: String) -> ModelError {
    ModelError::Config { file, reason }
}
