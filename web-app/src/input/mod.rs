//! What people give, judged as plain bytes and numbers: kinds, lengths, levels, refusals. Knows no browser.

pub mod admit;
pub mod pcm;
pub mod push_to_talk;
pub mod refusal;
pub mod sniff;
