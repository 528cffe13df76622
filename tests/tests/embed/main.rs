//! MSAO in pages of other sites: what the package does for them, under the policy that its README prints.
//!
//! The pages are of `127.0.0.1`, the server of `localhost`: two sites for a browser. They send the content security
//! policy of `wasm-runtime/README.md` to the letter.

mod chat;
mod element;
mod embedding;
mod examples;
mod isolation;
mod lifetime;
mod threads;
mod tokens;
