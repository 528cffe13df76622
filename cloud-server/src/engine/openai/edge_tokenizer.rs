//! The tokenizer that tokens on the wire are of: the edge model's, whatever the upstream has.
//!
//! An upstream tells text. What the wire carries are tokens of the model that the page drafts with, so that it can
//! compare them with its own; here they are made from the upstream's text.

use std::path::{Path, PathBuf};

use msao_models::ModelError;
use msao_models::text::TextTokenizer;
use msao_protocol::Vocabulary;
use serde_json::Value;

/// The token that ends an answer of every checkpoint an edge can run.
const END_TOKEN: &str = "<end_of_utterance>";
const FILE: &str = "tokenizer.json";

/// Why a tokenizer is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}; name the folder that holds it")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// It is none that can be used here.
    #[error("{path} cannot be used: {source}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ModelError,
    },
    /// Not all text can be spelled with it.
    #[error("{path} has no token for the byte {byte:#04x}: text of an upstream needs all 256")]
    MissingByte {
        /// The file.
        path: PathBuf,
        /// The first byte without a token.
        byte: u8,
    },
}

/// The edge's tokenizer.
#[derive(Debug, Clone)]
pub struct EdgeTokenizer {
    tokens: TextTokenizer,
    end: Option<u32>,
    file: Value,
}

impl EdgeTokenizer {
    /// Reads `tokenizer.json` of a checkpoint's folder.
    ///
    /// # Errors
    /// When it cannot be read, or cannot spell every text.
    pub fn from_dir(folder: &Path) -> Result<Self, TokenizerError> {
        let path = folder.join(FILE);
        let bytes = read(&path)?;
        let unusable = |source| TokenizerError::Unusable { path: path.clone(), source };
        let tokens = TextTokenizer::from_json(&bytes).map_err(unusable)?;
        let mut spelled = [false; 256];
        for id in 0..tokens.vocab_size() {
            if let [byte] = tokens.token_bytes(id as u32) {
                spelled[usize::from(*byte)] = true;
            }
        }
        if let Some(byte) = (0..=u8::MAX).find(|byte| !spelled[usize::from(*byte)]) {
            return Err(TokenizerError::MissingByte { path, byte });
        }
        let file = parse(&bytes, &path)?;
        Ok(Self { end: tokens.token_id(END_TOKEN), tokens, file })
    }

    /// Whether the tokenizer in a folder makes the same tokens of every text.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn is_same_as(&self, folder: &Path) -> Result<bool, TokenizerError> {
        let path = folder.join(FILE);
        let other = parse(&read(&path)?, &path)?;
        let parts = [
            "/model/vocab",
            "/model/merges",
            "/added_tokens",
            "/pre_tokenizer",
            "/normalizer",
            "/model/type",
        ];
        Ok(parts.iter().all(|part| self.file.pointer(part) == other.pointer(part)))
    }

    /// What its ids mean.
    pub(super) fn vocabulary(&self) -> Vocabulary {
        let (tokens, fingerprint) = self.tokens.fingerprint();
        Vocabulary { tokens, fingerprint }
    }

    /// Tokens there are.
    pub(super) fn vocab_size(&self) -> u32 {
        self.tokens.vocab_size() as u32
    }

    /// The plain tokenizer.
    pub(super) fn tokens(&self) -> &TextTokenizer {
        &self.tokens
    }

    /// The token that ends an answer, if there is one.
    pub(super) fn end(&self) -> Option<u32> {
        self.end
    }

    /// The tokens of a text of any length.
    pub(super) fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        let mut rest = text;
        // Bounded pieces, so that none is refused.
        while !rest.is_empty() {
            let cut = rest.char_indices().nth(TextTokenizer::MAX_CHARS).map_or(rest.len(), |(at, _)| at);
            let (piece, after) = rest.split_at(cut);
            ids.extend(self.tokens.encode(piece).unwrap_or_default());
            rest = after;
        }
        ids
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TokenizerError> {
    std::fs::read(path).map_err(|source| TokenizerError::Read { path: path.to_owned(), source })
}

fn parse(bytes: &[u8], path: &Path) -> Result<Value, TokenizerError> {
    serde_json::from_slice(bytes).map_err(|error| {
        let source = ModelError::Tokenizer { reason: error.to_string() };
        TokenizerError::Unusable { path: path.to_owned(), source }
    })
}
