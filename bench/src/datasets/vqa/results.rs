//! The official results file: `[{"question_id": 1, "answer": "red"}, ..]`.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::super::{error::DatasetError, files, run::Item};

/// A model may ramble; an answer of VQAv2 is a word or three.
const MOST_ANSWER_BYTES: usize = 64 << 10;

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    question_id: u64,
    answer: String,
}

/// Writes the answers to `items` that there are, in their order, whole or not at all.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn write(out: &Path, items: &[Item], answers: &HashMap<u64, String>) -> Result<(), DatasetError> {
    let entries: Vec<Entry> = items
        .iter()
        .filter_map(|item| Some(Entry { question_id: item.id, answer: answers.get(&item.id)?.clone() }))
        .collect();
    let json = serde_json::to_string(&entries);
    let json = json.map_err(|source| DatasetError::Json {
        file: out.to_owned(),
        place: "the results".into(),
        source,
    })?;
    let part = PathBuf::from(format!("{}.part", out.display()));
    fs::write(&part, json).map_err(DatasetError::file(&part))?;
    fs::rename(&part, out).map_err(DatasetError::file(out))
}

/// Answers by question.
///
/// # Errors
/// If the file has another form or answers a question twice.
pub(crate) fn read(file: &Path) -> Result<HashMap<u64, String>, DatasetError> {
    let mut answers = HashMap::new();
    files::for_each_of_array(file, |_, Entry { question_id, answer }| {
        let fail =
            |problem: String| Err(DatasetError::entry(file, format!("question {question_id}"), problem));
        if answer.len() > MOST_ANSWER_BYTES {
            return fail(format!("its answer has more than {MOST_ANSWER_BYTES} bytes; shorten it"));
        }
        match answers.insert(question_id, answer) {
            None => Ok(()),
            Some(_) => fail("it is answered twice; remove one".into()),
        }
    })?;
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::{super::super::scratch::Scratch, *};

    #[test]
    fn results_are_in_the_official_form_and_in_the_order_of_the_questions() {
        let scratch = Scratch::new();
        let items = [9, 3, 5].map(|id| Item { id, question: String::new() });
        let answers = HashMap::from([(3, "red \"x\"".to_owned()), (9, "two".to_owned())]);
        let out = scratch.path("results.json");
        write(&out, &items, &answers).unwrap();
        let json = fs::read_to_string(&out).unwrap();
        assert_eq!(json, r#"[{"question_id":9,"answer":"two"},{"question_id":3,"answer":"red \"x\""}]"#);
        assert_eq!(read(&out).unwrap(), answers);
        let twice = read(&scratch.write("twice.json", json.replace(":3,", ":9,"))).unwrap_err().to_string();
        assert!(twice.contains("question 9") && twice.contains("twice"), "{twice}");
        let other = read(&scratch.write("other.json", r#"[{"question_id":1,"answer":2}]"#)).unwrap_err();
        assert!(matches!(&other, DatasetError::Json { place, .. } if place == "entry 0"), "{other}");
    }
}
