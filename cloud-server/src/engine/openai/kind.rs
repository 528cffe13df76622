//! The kinds of upstream engines, and what each can do beyond OpenAI's own protocol.

use super::wire::ModelList;

/// What an upstream is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "lower")]
pub enum Kind {
    /// Found out by what it says of its models
    #[default]
    Auto,
    /// Nothing beyond OpenAI's protocol
    OpenAi,
    /// vLLM
    Vllm,
    /// SGLang
    Sglang,
    /// llama.cpp's server
    LlamaCpp,
}

impl Kind {
    /// What an engine says it is: each of these calls itself the owner of its models.
    pub(super) fn detect(models: &ModelList) -> Self {
        match models.data.first().and_then(|model| model.owned_by.as_deref()) {
            Some("vllm") => Self::Vllm,
            Some("sglang") => Self::Sglang,
            Some("llamacpp") => Self::LlamaCpp,
            _ => Self::OpenAi,
        }
    }

    /// Whether it goes on from an assistant's unfinished message.
    pub(super) fn continues(self) -> bool {
        matches!(self, Self::Vllm | Self::Sglang | Self::LlamaCpp)
    }

    /// Whether a field tells it to.
    pub(super) fn is_told_to_continue(self) -> bool {
        matches!(self, Self::Vllm | Self::Sglang)
    }
}
