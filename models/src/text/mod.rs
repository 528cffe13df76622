//! Between text and tokens: the checkpoint's tokenizer, the prompt it was trained on, and streamed answers.
//!
//! Text that a person typed can never become a special token, by construction: see [`TextTokenizer`].

mod bpe;
mod byte_level;
mod chat;
mod image_tokens;
#[cfg(feature = "chat-template")]
mod jinja;
#[cfg(not(feature = "chat-template"))]
#[path = "no_jinja.rs"]
mod jinja;
mod pre_tokenizer;
mod prompt_builder;
mod published;
mod template_file;
mod tokenizer;
mod video_words;

pub use byte_level::TokenStream;
pub use chat::{InputSpan, PromptTemplate, PromptTokens, TurnTokens};
pub use image_tokens::ImageTokens;
pub(crate) use template_file::template_of;
pub use tokenizer::TextTokenizer;
