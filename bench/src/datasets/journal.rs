//! What has been answered, one line of JSON each, beside the output: a cut run goes on where it was.
//!
//! The first line says of what; a journal of another data set, model or instruction is refused. A last line that was
//! torn by the cut is asked again.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{cost::Cost, error::DatasetError, files, run::Answer};

/// Ten million answers of a paragraph each.
const MOST_BYTES: u64 = 8 << 30;

/// What a run is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subject {
    /// The data set, its file and size.
    pub(crate) dataset: String,
    /// Who answers.
    pub(crate) model: String,
    /// What is said with every question.
    pub(crate) instruction: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    id: u64,
    answer: String,
    /// `None` in journals of versions that did not note it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cost: Option<Cost>,
}

/// Answers so far, and the file that keeps them.
pub(crate) struct Journal {
    file: PathBuf,
    log: File,
    answers: HashMap<u64, Answer>,
}

impl Journal {
    /// Where the journal of the output `out` is.
    pub(crate) fn beside(out: &Path) -> PathBuf {
        let mut name = OsString::from(out);
        name.push(".journal.jsonl");
        name.into()
    }

    /// Opens the journal beside `out`, or begins one.
    ///
    /// # Errors
    /// If it is of another subject, damaged before its last line, or cannot be written.
    pub(crate) fn open(out: &Path, subject: &Subject) -> Result<Self, DatasetError> {
        let file = Self::beside(out);
        let (mut answers, mut whole_bytes) = (HashMap::new(), 0);
        if file.is_file() {
            let mut lines = BufReader::new(files::open(&file, "the journal", MOST_BYTES)?);
            let mut line = Vec::new();
            for number in 1.. {
                line.clear();
                let bytes = lines.read_until(b'\n', &mut line).map_err(DatasetError::file(&file))?;
                if line.last() != Some(&b'\n') {
                    // The end, or a line that was torn.
                    break;
                }
                let broken = |source| DatasetError::Json {
                    file: file.clone(),
                    place: format!("line {number}"),
                    source,
                };
                if number == 1 {
                    check(&file, &serde_json::from_slice(&line).map_err(broken)?, subject)?;
                } else {
                    let Line { id, answer, cost } = serde_json::from_slice(&line).map_err(broken)?;
                    answers.insert(id, Answer { text: answer, cost });
                }
                whole_bytes += bytes as u64;
            }
        }
        let log = OpenOptions::new().create(true).append(true).open(&file);
        let log = log.map_err(DatasetError::file(&file))?;
        log.set_len(whole_bytes).map_err(DatasetError::file(&file))?;
        let mut journal = Self { file, log, answers };
        if whole_bytes == 0 {
            journal.write(subject)?;
        }
        Ok(journal)
    }

    /// Keeps an answer.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn keep(&mut self, id: u64, answer: Answer) -> Result<(), DatasetError> {
        let line = Line { id, answer: answer.text, cost: answer.cost };
        self.write(&line)?;
        self.answers.insert(id, Answer { text: line.answer, cost: line.cost });
        Ok(())
    }

    /// Answers by question.
    pub(crate) fn answers(&self) -> &HashMap<u64, Answer> {
        &self.answers
    }

    fn write(&mut self, line: &impl Serialize) -> Result<(), DatasetError> {
        let file = || self.file.clone();
        let json = serde_json::to_string(line);
        let mut json =
            json.map_err(|source| DatasetError::Json { file: file(), place: "a new line".into(), source })?;
        json.push('\n');
        // One write a line, so that a cut tears the last one at most.
        self.log.write_all(json.as_bytes()).map_err(DatasetError::file(&self.file))
    }
}

fn check(file: &Path, kept: &Subject, asked: &Subject) -> Result<(), DatasetError> {
    let parts = [
        ("the data set", &kept.dataset, &asked.dataset),
        ("the model", &kept.model, &asked.model),
        ("the instruction", &kept.instruction, &asked.instruction),
    ];
    match parts.into_iter().find(|(_, kept, asked)| kept != asked) {
        None => Ok(()),
        Some((what, kept, asked)) => Err(DatasetError::OtherRun {
            file: file.to_owned(),
            what,
            kept: kept.clone(),
            asked: asked.clone(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{super::scratch::Scratch, *};

    fn subject(model: &str) -> Subject {
        Subject { dataset: "vqa of 9 bytes".into(), model: model.into(), instruction: String::new() }
    }

    fn text(text: &str) -> Answer {
        Answer { text: text.into(), cost: None }
    }

    #[test]
    fn a_torn_last_line_is_forgotten_and_written_again() {
        let scratch = Scratch::new();
        let out = scratch.path("results.json");
        let cost = Cost { total_ms: 12.5, up_bytes: Some(7), ..Cost::default() };
        let two = Answer { text: "two".into(), cost: Some(cost) };
        let mut journal = Journal::open(&out, &subject("pocket")).unwrap();
        journal.keep(7, text("red\n\"x\"")).unwrap();
        journal.keep(8, two.clone()).unwrap();
        let file = Journal::beside(&out);
        let whole = fs::read(&file).unwrap();
        for torn in 1..8 {
            fs::write(&file, &whole[..whole.len() - torn]).unwrap();
            let mut journal = Journal::open(&out, &subject("pocket")).unwrap();
            assert_eq!(*journal.answers(), HashMap::from([(7, text("red\n\"x\""))]));
            journal.keep(8, two.clone()).unwrap();
            assert_eq!(fs::read(&file).unwrap(), whole);
        }
        let kept = Journal::open(&out, &subject("pocket")).unwrap();
        assert_eq!((kept.answers().len(), &kept.answers()[&8]), (2, &two), "with what it took");
    }

    #[test]
    fn a_journal_of_another_run_or_a_damaged_one_is_refused() {
        let scratch = Scratch::new();
        let out = scratch.path("results.json");
        Journal::open(&out, &subject("pocket")).unwrap().keep(7, text("red")).unwrap();
        let error = Journal::open(&out, &subject("other")).err().unwrap();
        let text = error.to_string();
        assert!(text.contains("pocket") && text.contains("other") && text.contains("--out"), "{text}");
        let other = Subject { dataset: "another".into(), ..subject("pocket") };
        assert!(matches!(
            Journal::open(&out, &other),
            Err(DatasetError::OtherRun { what: "the data set", .. })
        ));
        let file = Journal::beside(&out);
        let whole = fs::read_to_string(&file).unwrap();
        fs::write(&file, whole.replace("\"id\":7", "\"id\":x") + "{}\n").unwrap();
        let error = Journal::open(&out, &subject("pocket")).err().unwrap().to_string();
        assert!(error.contains("line 2"), "{error}");
    }
}
