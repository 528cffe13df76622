//! What is wrong with a data set, a results file, or a run of one.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// A data set that cannot be read, asked or scored.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum DatasetError {
    /// A file cannot be opened, read or written.
    #[error("cannot use {}; check the path and its permissions", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file or something in it is larger than any data set needs.
    #[error("{}: {what} has {found} bytes, at most {most} are read; split the file or make it smaller", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// The part.
        what: String,
        /// Its size.
        found: u64,
        /// The budget.
        most: u64,
    },
    /// JSON of another form.
    #[error("{}, {place}: not as expected; give the file as the data set's makers publish it", file.display())]
    Json {
        /// The file.
        file: PathBuf,
        /// Which entry.
        place: String,
        /// What the parser says, with line and column.
        source: serde_json::Error,
    },
    /// A table of another form.
    #[error("{}: not a table as expected; give the TSV as the data set's makers publish it", file.display())]
    Table {
        /// The file.
        file: PathBuf,
        /// What the parser says, with the line.
        source: csv::Error,
    },
    /// An entry that contradicts itself or another one.
    #[error("{}, {place}: {problem}", file.display())]
    Entry {
        /// The file.
        file: PathBuf,
        /// Which entry or line.
        place: String,
        /// What is wrong with it, and the remedy.
        problem: String,
    },
    /// A journal of another run.
    #[error("{} is of {what} {kept:?}, this run of {asked:?}; choose another --out, or delete it to begin anew", file.display())]
    OtherRun {
        /// The journal.
        file: PathBuf,
        /// What differs.
        what: &'static str,
        /// The journal's.
        kept: String,
        /// This run's.
        asked: String,
    },
    /// Whoever answers has gone, or answers nothing at all.
    #[error("no more answers after {answered} of {asked}: {reason}; the same command goes on from here")]
    NoAnswers {
        /// Questions answered in this run.
        answered: usize,
        /// Questions it began with.
        asked: usize,
        /// What the answerer said last.
        reason: String,
    },
}

impl DatasetError {
    /// For `map_err` behind an operation on `file`.
    pub(super) fn file(file: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::File { file: file.to_owned(), source }
    }

    /// An entry with a problem.
    pub(super) fn entry(file: &Path, place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Entry { file: file.to_owned(), place: place.into(), problem: problem.into() }
    }
}
