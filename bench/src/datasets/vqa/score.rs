//! The official accuracy: an answer is worth min(1, people who gave it / 3), averaged over the ten sets that leave one
//! person out.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{
    super::{
        error::DatasetError,
        files,
        tally::{self, Groups, Table, Tally},
    },
    normalize,
};

/// Ten in VQAv2.
const MOST_PEOPLE: usize = 100;

/// Accuracies in per cent; as JSON in the form of the official evaluator.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Accuracy {
    /// Of all questions that are answered.
    pub(crate) overall: Tally,
    /// By the first words of the question.
    pub(crate) per_question_type: Groups,
    /// `yes/no`, `number`, `other`.
    pub(crate) per_answer_type: Groups,
    /// Questions of the annotations without an answer. The official evaluator takes only results without any.
    pub(crate) unanswered: usize,
}

impl fmt::Display for Accuracy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = [("question type", &self.per_question_type), ("answer type", &self.per_answer_type)];
        Table { overall: self.overall, groups: &groups }.fmt(formatter)?;
        if self.unanswered > 0 {
            let unanswered = self.unanswered;
            writeln!(formatter, "{unanswered} questions have no answer; the official evaluator wants all")?;
        }
        Ok(())
    }
}

#[derive(Debug, Deserialize)]
struct Annotation {
    question_id: u64,
    question_type: String,
    answer_type: String,
    answers: Vec<PersonsAnswer>,
}

#[derive(Debug, Deserialize)]
struct PersonsAnswer {
    answer: String,
}

/// Scores answers by the annotations in `file`.
///
/// # Errors
/// If the file has another form, or misses a question that is answered.
pub(crate) fn score(file: &Path, answers: &HashMap<u64, String>) -> Result<Accuracy, DatasetError> {
    let (mut accuracy, mut seen) = (Accuracy::default(), HashSet::new());
    files::for_each_entry(file, ("annotations", "data_subtype"), |_, annotation: Annotation| {
        let fail = |problem: String| {
            Err(DatasetError::entry(file, format!("question {}", annotation.question_id), problem))
        };
        if !seen.insert(annotation.question_id) {
            return fail("it comes twice; remove one".into());
        }
        if annotation.answers.is_empty() || annotation.answers.len() > MOST_PEOPLE {
            return fail(format!("it has answers of 1 to {MOST_PEOPLE} people in a whole data set"));
        }
        let Some(answer) = answers.get(&annotation.question_id) else {
            accuracy.unanswered += 1;
            return Ok(());
        };
        let people: Vec<&str> = annotation.answers.iter().map(|person| person.answer.as_str()).collect();
        let worth = worth(answer, &people);
        accuracy.overall.add(worth);
        tally::add(&mut accuracy.per_question_type, &annotation.question_type, worth);
        tally::add(&mut accuracy.per_answer_type, &annotation.answer_type, worth);
        Ok(())
    })?;
    if let Some(unknown) = answers.keys().find(|id| !seen.contains(id)) {
        let problem = "it is answered but not there; give the annotations of the same split";
        return Err(DatasetError::entry(file, format!("question {unknown}"), problem));
    }
    Ok(accuracy)
}

/// What an answer is worth, in [0, 1].
fn worth(answer: &str, people: &[&str]) -> f64 {
    let answer = normalize::answer(answer);
    // As the official evaluator: answers of people who agree are left as they are.
    let are_alike = people.iter().all(|one| one == &people[0]);
    let is_match =
        |one: &&str| if are_alike { **one == answer } else { normalize::punctuation(one) == answer };
    let matches: Vec<bool> = people.iter().map(is_match).collect();
    let all = matches.iter().filter(|is_match| **is_match).count();
    let without = |is_match: &bool| ((all - usize::from(*is_match)) as f64 / 3.0).min(1.0);
    matches.iter().map(without).sum::<f64>() / people.len() as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::{super::super::scratch::Scratch, *};

    /// What the official evaluator gave (`testdata/reference/vqa_score.py`).
    #[derive(Deserialize)]
    struct Golden {
        normalised: Vec<(String, String)>,
        questions: Vec<(u64, String, String, String, Vec<String>, f64)>,
        accuracy: GoldenAccuracy,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct GoldenAccuracy {
        overall: f64,
        per_question_type: HashMap<String, f64>,
        per_answer_type: HashMap<String, f64>,
    }

    fn golden() -> Golden {
        serde_json::from_str(include_str!("../../../testdata/vqa_golden.json")).unwrap()
    }

    #[test]
    fn answers_are_normalised_as_by_the_official_evaluator() {
        let golden = golden();
        assert!(golden.normalised.len() > 300);
        for (raw, normal) in golden.normalised {
            assert_eq!(normalize::answer(&raw), normal, "{raw:?}");
        }
    }

    /// The golden questions as files in the published form; scores of each question and of all.
    #[test]
    fn scores_are_those_of_the_official_evaluator() {
        let (golden, scratch) = (golden(), Scratch::new());
        let mut annotations = Vec::new();
        let mut answers = HashMap::new();
        for (id, question_type, answer_type, answer, people, percent) in &golden.questions {
            let borrowed: Vec<&str> = people.iter().map(String::as_str).collect();
            let worth = 100.0 * worth(answer, &borrowed);
            assert!((worth - percent).abs() < 1e-9, "{answer:?} of {people:?}: {worth}, not {percent}");
            let people = people.iter().enumerate().map(|(place, answer)| {
                json!({"answer": answer, "answer_id": place + 1, "answer_confidence": "yes"})
            });
            annotations.push(json!({
                "question_id": id, "image_id": id, "question_type": question_type, "answer_type": answer_type,
                "multiple_choice_answer": "", "answers": people.collect::<Vec<_>>(),
            }));
            answers.insert(*id, answer.clone());
        }
        let file = json!({"info": {}, "license": {}, "data_subtype": "val2014", "annotations": annotations});
        let file = scratch.write("annotations.json", file.to_string());
        let accuracy = score(&file, &answers).unwrap();
        let is_near = |ours: Tally, theirs: f64| (ours.percent().unwrap() - theirs).abs() < 1e-9;
        assert!(is_near(accuracy.overall, golden.accuracy.overall), "{accuracy:?}");
        assert_eq!((accuracy.unanswered, accuracy.overall.count()), (0, golden.questions.len()));
        let groups = [
            (&accuracy.per_question_type, &golden.accuracy.per_question_type),
            (&accuracy.per_answer_type, &golden.accuracy.per_answer_type),
        ];
        for (ours, theirs) in groups {
            assert_eq!(ours.len(), theirs.len());
            assert!(ours.iter().all(|(name, tally)| is_near(*tally, theirs[name])), "{ours:?} {theirs:?}");
        }

        let removed = answers.remove(&1).unwrap();
        assert_eq!(score(&file, &answers).unwrap().unanswered, 1);
        answers.insert(1_000_000, removed);
        let error = score(&file, &answers).unwrap_err().to_string();
        assert!(error.contains("question 1000000") && error.contains("split"), "{error}");
    }

    #[test]
    fn the_official_form_of_accuracies_has_two_decimals() {
        let mut accuracy = Accuracy::default();
        for worth in [1.0, 1.0, 0.0] {
            accuracy.overall.add(worth);
            tally::add(&mut accuracy.per_answer_type, "other", worth);
        }
        let json = serde_json::to_value(&accuracy).unwrap();
        assert_eq!(json["overall"], 66.67);
        assert_eq!(json["perAnswerType"]["other"], 66.67);
        assert!(json["perQuestionType"].is_object());
    }

    proptest! {
        /// The order of people plays no part, one more who agrees never lowers the worth, and four make it whole.
        #[test]
        fn agreement_is_what_counts(people in prop::collection::vec("red|blue|the cat|2", 9)) {
            let mut people: Vec<&str> = people.iter().map(String::as_str).collect();
            people.push("green");
            let before = worth("Red.", &people);
            let count = people.iter().filter(|one| **one == "red").count();
            if count >= 4 {
                prop_assert_eq!(before, 1.0);
            }
            prop_assert_eq!(before == 0.0, count == 0);
            people.reverse();
            prop_assert!((worth("red", &people) - before).abs() < 1e-12);
            people[0] = "red";
            prop_assert!(worth("red", &people) >= before);
        }
    }
}
