//! The questions file, and where the pictures are.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::super::{error::DatasetError, files, run::Item};

/// More than the largest split has by a factor of ten.
const MOST_QUESTIONS: usize = 5_000_000;
/// VQAv2's longest has a hundred.
const MOST_QUESTION_BYTES: usize = 16 << 10;

/// Tells a model that chats to answer as people did here.
pub(crate) const INSTRUCTION: &str = "Answer the question using a single word or phrase.";

/// The questions of a split.
#[derive(Debug)]
pub(crate) struct Questions {
    /// As they are asked, in the file's order.
    pub(crate) items: Vec<Item>,
    /// The picture of each.
    image_ids: Vec<u64>,
    /// Such as `val2014`.
    subset: String,
}

#[derive(Debug, Deserialize)]
struct Entry {
    question_id: u64,
    image_id: u64,
    question: String,
}

impl Questions {
    /// Reads the first `limit` questions of a file, each with `instruction` on a line behind it.
    ///
    /// # Errors
    /// If the file has another form, an id twice, or exceeds a budget.
    pub(crate) fn read(file: &Path, limit: usize, instruction: &str) -> Result<Self, DatasetError> {
        let (mut items, mut image_ids, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        let take = |place: usize, entry: Entry| {
            let fail = |problem: String| {
                Err(DatasetError::entry(file, format!("question {}", entry.question_id), problem))
            };
            if place >= MOST_QUESTIONS {
                return fail(format!("at most {MOST_QUESTIONS} questions are read; split the file"));
            }
            if entry.question.len() > MOST_QUESTION_BYTES {
                return fail(format!("it has more than {MOST_QUESTION_BYTES} bytes; shorten it"));
            }
            if !seen.insert(entry.question_id) {
                return fail("the id comes twice; remove one".into());
            }
            if items.len() < limit {
                let question = [&entry.question, instruction].join("\n").trim().to_owned();
                items.push(Item { id: entry.question_id, question });
                image_ids.push(entry.image_id);
            }
            Ok(())
        };
        let subset = files::for_each_entry(file, ("questions", "data_subtype"), take)?.unwrap_or_default();
        // It becomes part of a path. Pictures of test-dev are those of test.
        let subset = subset.replace("-dev", "");
        if subset.is_empty() || !subset.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            let problem =
                format!("it is {subset:?}; it has to name the pictures' split, such as \"val2014\"");
            return Err(DatasetError::entry(file, "data_subtype", problem));
        }
        Ok(Self { items, image_ids, subset })
    }

    /// Where the picture of a question is, by the question's place.
    pub(crate) fn image_file(&self, folder: &Path, place: usize) -> PathBuf {
        folder.join(format!("COCO_{}_{:012}.jpg", self.subset, self.image_ids[place]))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::scratch::Scratch, *};

    fn file(scratch: &Scratch, subset: &str, questions: &str) -> PathBuf {
        let json = format!(
            r#"{{"info": {{"version": "2.0"}}, "questions": [{questions}], "license": [1, {{}}],
                "data_subtype": "{subset}", "task_type": "Open-Ended"}}"#
        );
        scratch.write("questions.json", json)
    }

    const TWO: &str = r#"{"image_id": 262148, "question": "Where is he?", "question_id": 262148000},
        {"image_id": 7, "question": "How many?", "question_id": 7001}"#;

    #[test]
    fn questions_are_read_in_order_with_their_pictures() {
        let scratch = Scratch::new();
        let questions = Questions::read(&file(&scratch, "val2014", TWO), usize::MAX, "Be brief.").unwrap();
        let first = Item { id: 262_148_000, question: "Where is he?\nBe brief.".into() };
        assert_eq!((questions.items.len(), &questions.items[0]), (2, &first));
        let image = questions.image_file(Path::new("images"), 1);
        assert_eq!(image, Path::new("images/COCO_val2014_000000000007.jpg"));
        let limited = Questions::read(&file(&scratch, "test-dev2015", TWO), 1, "").unwrap();
        assert_eq!((limited.items.len(), &*limited.items[0].question), (1, "Where is he?"));
        let image = limited.image_file(Path::new("i"), 0);
        assert_eq!(image, Path::new("i/COCO_test2015_000000262148.jpg"));
    }

    #[test]
    fn another_form_is_refused_with_its_place() {
        let scratch = Scratch::new();
        let error = |subset: &str, questions: &str| {
            Questions::read(&file(&scratch, subset, questions), 9, "").unwrap_err()
        };
        let twice = error("val2014", &format!("{TWO}, {TWO}")).to_string();
        assert!(twice.contains("questions.json, question 262148000") && twice.contains("twice"), "{twice}");
        let broken = error("val2014", &format!(r#"{TWO}, {{"image_id": "x"}}"#));
        assert!(matches!(&broken, DatasetError::Json { place, .. } if place == "questions 2"), "{broken}");
        let escaped = error("../../etc", TWO).to_string();
        assert!(escaped.contains("data_subtype"), "{escaped}");
        let none = Questions::read(&scratch.write("none.json", "{}"), 9, "").unwrap_err();
        assert!(matches!(none, DatasetError::Json { .. }), "{none}");
        let trailing = Questions::read(&scratch.write("more.json", r#"{"questions":[]} x"#), 9, "");
        assert!(matches!(trailing.unwrap_err(), DatasetError::Json { .. }));
        let missing = Questions::read(&scratch.path("nowhere.json"), 9, "").unwrap_err();
        assert!(matches!(missing, DatasetError::File { .. }), "{missing}");
    }
}
