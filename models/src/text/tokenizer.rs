//! A checkpoint's tokenizer.json: byte-level BPE, as GPT-2, SmolLM2 and the pocket pair have it.
//!
//! Hugging Face's own crate would take more of a page than the rest of the engine (0.73 MB gzip in Wasm), so
//! this reads the same file and is held to that crate's output by golden texts. Special tokens have no part in
//! encoding, so no text can turn into one, whatever somebody types.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde_json::Value;

use super::TokenStream;
use super::bpe::BytePairMerges;
use super::byte_level::byte_of;
use super::pre_tokenizer::PreTokenizer;
use crate::error::ModelError;

/// Largest token id accepted; published vocabularies end far below it.
const MAX_TOKEN_ID: u64 = 1 << 22;

/// Text to tokens and back.
#[derive(Clone)]
pub struct TextTokenizer {
    pre_tokenizer: PreTokenizer,
    merges: BytePairMerges,
    /// The bytes of each token by its id; none for special tokens and gaps.
    bytes: Vec<Vec<u8>>,
    /// Special and added tokens by their text.
    special: BTreeMap<String, u32>,
    /// Ordinary tokens by their text in the byte alphabet.
    ordinary: BTreeMap<String, u32>,
}

impl fmt::Debug for TextTokenizer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TextTokenizer")
            .field("vocab_size", &self.vocab_size())
            .finish_non_exhaustive()
    }
}

impl TextTokenizer {
    /// Most characters that are tokenised at once; longer text is refused before any work.
    pub const MAX_CHARS: usize = 20_000;

    /// Reads a tokenizer.json.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] when the file is malformed, no byte-level BPE, or uses a step that is not known
    /// here.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ModelError> {
        let file: Value = serde_json::from_slice(bytes).map_err(|source| unusable(source.to_string()))?;
        require(file["normalizer"].is_null(), "it has a normalizer, which is not supported")?;
        require(is_byte_level(&file["decoder"]), "its decoder is not `ByteLevel`")?;
        let pre_tokenizer = PreTokenizer::from_json(&file["pre_tokenizer"]).map_err(unusable)?;
        let model = &file["model"];
        require(model["type"] == "BPE", "model.type is not `BPE`")?;
        require(model["ignore_merges"] != true, "model.ignore_merges is not supported")?;
        for key in ["dropout", "continuing_subword_prefix", "end_of_word_suffix"] {
            let unused = model[key].is_null() || model[key] == "" || model[key] == 0.0;
            require(unused, &format!("model.{key} is not supported"))?;
        }
        require(model["byte_fallback"] != true, "model.byte_fallback is not supported")?;
        require(model["fuse_unk"] != true, "model.fuse_unk is not supported")?;

        let mut table = TokenTable::default();
        let vocab =
            model["vocab"].as_object().ok_or_else(|| unusable("model.vocab is missing".to_owned()))?;
        for (text, id) in vocab {
            table.insert(text, id, TokenKind::Ordinary)?;
        }
        let unknown = match model["unk_token"].as_str().filter(|token| !token.is_empty()) {
            None => None,
            Some(token) => {
                let found = table.ordinary.get(token).copied();
                Some(found.ok_or_else(|| {
                    unusable(format!("model.unk_token `{token}` is not within model.vocab"))
                })?)
            }
        };
        let merges = read_merges(&model["merges"], &table, unknown)?;
        let added = file["added_tokens"].as_array().map(Vec::as_slice).unwrap_or_default();
        for token in added {
            let text = token["content"]
                .as_str()
                .ok_or_else(|| unusable("an added token has no content".to_owned()))?;
            let kind = if token["special"] == false { TokenKind::Added } else { TokenKind::Special };
            table.insert(text, &token["id"], kind)?;
        }
        let TokenTable { bytes, special, ordinary } = table;
        Ok(Self { pre_tokenizer, merges, bytes, special, ordinary })
    }

    /// Encodes text, none of which becomes a special token.
    ///
    /// # Errors
    /// [`ModelError::QuestionTooLong`] beyond [`Self::MAX_CHARS`].
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        let (chars, limit) = (text.chars().count(), Self::MAX_CHARS);
        if chars > limit {
            return Err(ModelError::QuestionTooLong { chars, limit });
        }
        let mut tokens = Vec::with_capacity(text.len() / 2);
        for word in self.pre_tokenizer.split(text) {
            self.merges.encode_word(word.as_bytes(), &mut tokens);
        }
        Ok(tokens)
    }

    /// The text of tokens without the special ones; bytes that are no UTF-8 read as U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        let bytes: Vec<u8> = ids.iter().flat_map(|&id| self.token_bytes(id)).copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Starts to turn the tokens of one answer into text, one by one.
    pub fn stream(&self) -> TokenStream {
        TokenStream::default()
    }

    /// The bytes of one token; empty for special tokens and ids that are not in use.
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        self.bytes.get(id as usize).map(Vec::as_slice).unwrap_or_default()
    }

    /// The id of a special token, or of an ordinary one in the byte alphabet's spelling.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.special.get(token).or_else(|| self.ordinary.get(token)).copied()
    }

    /// Special and added tokens with their ids.
    pub(crate) fn special_tokens(&self) -> impl Iterator<Item = (&str, u32)> {
        self.special.iter().map(|(name, id)| (name.as_str(), *id))
    }

    /// What the ids of its own vocabulary mean, added tokens behind it left aside: how many they are, and a digest that
    /// differs where any of them does. Two tokenizers that agree in both can draft for each other.
    pub fn fingerprint(&self) -> (u32, String) {
        let mut by_id: Vec<(u32, &str)> =
            self.ordinary.iter().map(|(text, id)| (*id, text.as_str())).collect();
        by_id.sort_unstable();
        let tokens = by_id.last().map_or(0, |(id, _)| id + 1);
        // FNV-1a: nobody gains from a collision but wrong drafts, which are corrected.
        let mut digest: u64 = 0xCBF2_9CE4_8422_2325;
        for (id, text) in by_id {
            let length = text.len() as u32;
            let bytes = id.to_le_bytes().into_iter().chain(length.to_le_bytes()).chain(text.bytes());
            bytes.for_each(|byte| digest = (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
        }
        (tokens, format!("{digest:016x}"))
    }

    /// One more than the largest id in use; an embedding table has at least so many rows.
    pub fn vocab_size(&self) -> usize {
        self.bytes.len()
    }
}

impl TokenStream {
    /// Takes the next token and returns the text that it completes; special tokens have none.
    pub fn push(&mut self, tokenizer: &TextTokenizer, id: u32) -> String {
        self.push_bytes(tokenizer.token_bytes(id))
    }
}

enum TokenKind {
    Ordinary,
    Special,
    Added,
}

#[derive(Default)]
struct TokenTable {
    bytes: Vec<Vec<u8>>,
    special: BTreeMap<String, u32>,
    ordinary: BTreeMap<String, u32>,
}

impl TokenTable {
    fn insert(&mut self, text: &str, id: &Value, kind: TokenKind) -> Result<(), ModelError> {
        let id = id.as_u64().filter(|id| *id <= MAX_TOKEN_ID).ok_or_else(|| {
            unusable(format!("token `{text}` has the id {id}; it must be 0 to {MAX_TOKEN_ID}"))
        })?;
        if self.bytes.len() <= id as usize {
            self.bytes.resize(id as usize + 1, Vec::new());
        }
        let bytes = match kind {
            // A vocabulary may hold tokens beside the alphabet, which no merge makes.
            TokenKind::Ordinary => {
                text.chars().map(byte_of).collect::<Option<_>>().unwrap_or_else(|| text.into())
            }
            TokenKind::Special => Vec::new(),
            TokenKind::Added => text.into(),
        };
        self.bytes[id as usize] = bytes;
        let names = if matches!(kind, TokenKind::Ordinary) { &mut self.ordinary } else { &mut self.special };
        names.insert(text.to_owned(), id as u32);
        Ok(())
    }
}

/// Merges are pairs of tokens in the order of their rank, spelled `["a", "b"]` or, in older files, `"a b"`.
///
/// Bytes without a token become the `unknown` one, where there is one.
fn read_merges(
    section: &Value,
    table: &TokenTable,
    unknown: Option<u32>,
) -> Result<BytePairMerges, ModelError> {
    let list = section.as_array().ok_or_else(|| unusable("model.merges is missing".to_owned()))?;
    let mut merges = HashMap::with_capacity(list.len());
    for (entry, rank) in list.iter().zip(0..) {
        let pair = match entry {
            Value::String(pair) => pair.split_once(' '),
            _ => entry[0].as_str().zip(entry[1].as_str()),
        };
        let tokens = pair.and_then(|(left, right)| {
            let id = |text: &str| table.ordinary.get(text).copied();
            Some(((id(left)?, id(right)?), id(&format!("{left}{right}"))?))
        });
        let (pair, merged) =
            tokens.ok_or_else(|| unusable(format!("merge {entry} is not within model.vocab")))?;
        merges.insert(pair, (rank, merged));
    }
    let mut single = [unknown; 256];
    for (text, id) in &table.ordinary {
        let mut characters = text.chars();
        if let (Some(byte), None) = (characters.next().and_then(byte_of), characters.next()) {
            single[usize::from(byte)] = Some(*id);
        }
    }
    Ok(BytePairMerges::new(single, merges))
}

/// Whether a decoder is `ByteLevel` or a sequence with it.
fn is_byte_level(decoder: &Value) -> bool {
    let parts = decoder["decoders"].as_array().map(Vec::as_slice).unwrap_or_default();
    decoder["type"] == "ByteLevel" || parts.iter().any(is_byte_level)
}

fn unusable(reason: String) -> ModelError {
    ModelError::Tokenizer { reason }
}

fn require(holds: bool, reason: &str) -> Result<(), ModelError> {
    if holds { Ok(()) } else { Err(unusable(reason.to_owned())) }
}
