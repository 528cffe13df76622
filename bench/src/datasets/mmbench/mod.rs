//! MMBench (Liu et al. 2023): questions with up to four choices about a picture, each asked with all rotations of its
//! choices; right only if all are right (CircularEval).
//!
//! The file is the TSV that VLMEvalKit reads: `index`, `question`, `hint`, `A` to `D`, `answer`, `category`,
//! `l2-category`, `split`, and `image` in base64. Rotations of a question have its index plus multiples of 1,000,000; where
//! a file has none, they are made here.

mod circular;
mod extract;
mod predictions;
mod score;
mod table;

pub(super) use self::{
    circular::{Asked, INSTRUCTION, rotations},
    predictions::{read, write},
    score::{Accuracy, score},
    table::Table,
};
