//! Which tokens end an answer: the one that ends a turn of the prompt's form, and those that the checkpoint names.
//!
//! As in transformers, `generation_config.json` names them where it is there, else `config.json`: one or a list.

use serde_json::Value;

use crate::config::ModelConfig;
use crate::error::ModelError;

const FILE: &str = "generation_config.json";

/// The tokens that end an answer, that of the prompt's form first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndTokens(Vec<u32>);

impl EndTokens {
    /// `of_form` ends a turn of the prompt.
    ///
    /// # Errors
    /// [`ModelError::Config`] for a file that is malformed or names no tokens where it should.
    pub(crate) fn new(
        of_form: u32,
        config: &ModelConfig,
        generation_json: Option<&[u8]>,
    ) -> Result<Self, ModelError> {
        let named = match generation_json {
            Some(json) => named(json)?,
            None => None,
        };
        let named = named.unwrap_or_else(|| config.eos_token_ids.clone());
        let mut ends = vec![of_form];
        for id in named {
            // Nobody writes what is outside of the vocabulary.
            if (id as usize) < config.text_config.vocab_size && !ends.contains(&id) {
                ends.push(id);
            }
        }
        Ok(Self(ends))
    }

    /// Whether a token ends an answer.
    pub fn contains(&self, token: u32) -> bool {
        self.0.contains(&token)
    }

    /// Of a run that is proposed, what can be looked at: nothing follows an end token.
    pub fn up_to_first<'a>(&self, tokens: &'a [u32]) -> &'a [u32] {
        let end = tokens.iter().position(|&token| self.contains(token));
        &tokens[..end.map_or(tokens.len(), |at| at + 1)]
    }

    /// All of them.
    pub fn ids(&self) -> &[u32] {
        &self.0
    }
}

/// What the file names; `None` where it leaves that to config.json.
fn named(json: &[u8]) -> Result<Option<Vec<u32>>, ModelError> {
    let file: Value = serde_json::from_slice(json).map_err(|source| ModelError::json(FILE, &source))?;
    let several = match &file["eos_token_id"] {
        Value::Null => return Ok(None),
        Value::Array(several) => several.clone(),
        one => vec![one.clone()],
    };
    let id = |id: &Value| id.as_u64().and_then(|id| u32::try_from(id).ok());
    several.iter().map(id).collect::<Option<Vec<u32>>>().map(Some).ok_or_else(|| ModelError::Config {
        file: FILE,
        reason: "eos_token_id is neither a token's id nor a list of such".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ModelConfig {
        let text = r#"{"architectures": ["LlamaForCausalLM"], "vocab_size": 100, "hidden_size": 8, "eos_token_id": [3, 4],
            "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "pad_token_id": 0}"#;
        ModelConfig::from_json(text.as_bytes()).unwrap()
    }

    fn ends(json: Option<&str>) -> Result<Vec<u32>, ModelError> {
        EndTokens::new(9, &config(), json.map(str::as_bytes)).map(|ends| ends.ids().to_vec())
    }

    #[test]
    fn the_generation_config_names_them_before_the_config_does() {
        assert_eq!(ends(None).unwrap(), [9, 3, 4]);
        assert_eq!(ends(Some(r#"{"eos_token_id": [2, 9, 7]}"#)).unwrap(), [9, 2, 7]);
        assert_eq!(ends(Some(r#"{"eos_token_id": 2}"#)).unwrap(), [9, 2]);
        assert_eq!(ends(Some(r#"{"do_sample": true}"#)).unwrap(), [9, 3, 4]);
        assert_eq!(ends(Some(r#"{"eos_token_id": [100, 2]}"#)).unwrap(), [9, 2], "outside the vocabulary");
    }

    #[test]
    fn a_file_that_names_none_is_refused() {
        for json in ["{", r#"{"eos_token_id": "</s>"}"#, r#"{"eos_token_id": [-1]}"#] {
            assert!(matches!(ends(Some(json)), Err(ModelError::Config { file: FILE, .. })), "{json}");
        }
    }

    #[test]
    fn nothing_follows_an_end() {
        let ends = EndTokens(vec![9, 2]);
        assert_eq!(ends.up_to_first(&[1, 2, 9, 4]), [1, 2]);
        assert_eq!(ends.up_to_first(&[1, 3]), [1, 3]);
    }
}
