//! The parts of the page. Each reads the page's state and calls its methods.

pub(crate) mod about;
pub(crate) mod answer;
pub(crate) mod cards;
pub(crate) mod dashboard;
pub(crate) mod dialog;
pub(crate) mod gallery;
pub(crate) mod happened;
pub(crate) mod header;
pub(crate) mod icon;
pub(crate) mod lock;
pub(crate) mod microphone;
pub(crate) mod network;
pub(crate) mod notices;
pub(crate) mod player;
pub(crate) mod policy;
pub(crate) mod prompt;
pub(crate) mod receipt;
pub(crate) mod settings;
pub(crate) mod shield;
pub(crate) mod shortcuts;
pub(crate) mod stage;
pub(crate) mod storage;
pub(crate) mod token;
pub(crate) mod toolbar;
pub(crate) mod totals;
pub(crate) mod turn;
