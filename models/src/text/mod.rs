//! Between text and tokens: the checkpoint's tokenizer, the prompt it was trained on, and streamed answers.
//!
//! Text that a person typed can never become a special token, by construction: see [`TextTokenizer`].

mod bpe;
mod byte_level;
mod chat;
mod pre_tokenizer;
mod tokenizer;

pub use byte_level::TokenStream;
pub use chat::{PromptTemplate, PromptTokens, TurnTokens};
pub use tokenizer::TextTokenizer;
