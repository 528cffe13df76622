//! VQAv2 (Goyal et al. 2017): questions, pictures of COCO, answers of ten people to each question.
//!
//! Files as published: `v2_OpenEnded_mscoco_val2014_questions.json`, `v2_mscoco_val2014_annotations.json`, and a folder of
//! `COCO_val2014_000000xxxxxx.jpg`. Test splits have no annotations; their results file goes to the evaluation server.

mod contractions;
mod normalize;
mod questions;
mod results;
mod score;

pub(super) use self::{
    questions::{INSTRUCTION, Questions},
    results::{read, write},
    score::{Accuracy, score},
};
