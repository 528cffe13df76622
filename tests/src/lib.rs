//! Harness of the end-to-end tests: a real Chromium, a real server, a camera and a microphone made of files.
//!
//! The scenarios are in `tests/`; `bench` measures with the same parts. Nothing here knows what an answer should
//! be: right answers come with the evaluation files (`models/eval`).
//!
//! | module | what it is |
//! |---|---|
//! | [`devtools`] | the Chrome DevTools Protocol over one WebSocket |
//! | [`chromium`] | a Chromium process of our own, with fake devices where asked |
//! | [`tab`] | a page in it: clicks, texts, files, console, screenshots |
//! | [`app`] | the MSAO page in that tab, as a visitor uses it |
//! | [`axe`] | what axe-core finds wrong with it |
//! | [`snapshot`] | whether it looks as it did |
//! | [`scenario`] | one browser test from launch to verdict |
//! | [`camera`] | films a card: tilted, noisy, unevenly lit |
//! | [`microphone`] | a recording as a sound card would give it |
//! | [`server`] | the real server on a free port |
//! | [`wiretap`] | what the browser really sends to it |
//! | [`drip`] | a slow line to it, which is cut in mid-download |
//! | [`cloud`] | a native client of the wire protocol |
//! | [`leash`] | child processes that never outlive the test |
//! | [`site`] | serves a few fixed pages, for tests of the harness itself |
//! | [`evaluation`] | the shipped samples and cards, with their right answers |
//! | [`kept`] | cuts out what is not background, as an edge does |
//! | [`native`] | a shipped model on this machine's CPU, without network |
//! | [`faulty`] | files and questions that nobody should have to accept |
//! | [`places`] | where things lie in the repository |
//!
//! Errors are `anyhow`: only the person who reads a failed test's output handles them.

pub mod app;
pub mod axe;
pub mod camera;
pub mod chromium;
pub mod cloud;
pub mod devtools;
pub mod drip;
pub mod evaluation;
pub mod faulty;
pub mod film;
pub mod kept;
pub mod leash;
pub mod microphone;
pub mod native;
pub mod places;
pub mod scenario;
pub mod server;
pub mod site;
pub mod snapshot;
pub mod tab;
pub mod wiretap;
