//! CircularEval: a question is right if the answers to all of its rotations are.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use super::{
    super::tally::{self, Groups, Table, Tally},
    circular::ROTATION,
    extract,
    table::Row,
};

/// Accuracies in per cent, of questions, not of rows.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Accuracy {
    /// Of all questions.
    pub(crate) overall: Tally,
    /// By ability.
    pub(crate) category: Groups,
    /// By group of abilities.
    pub(crate) l2_category: Groups,
    /// Rows whose answer names no choice; they count as wrong.
    pub(crate) rows_without_choice: usize,
    /// Questions without a right answer in the file, as in a test split; they are not counted.
    pub(crate) unscored: usize,
}

impl fmt::Display for Accuracy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = [("category", &self.category), ("l2-category", &self.l2_category)];
        Table { overall: self.overall, groups: &groups }.fmt(formatter)?;
        let (rows, unscored) = (self.rows_without_choice, self.unscored);
        writeln!(
            formatter,
            "{rows} answers name no choice; {unscored} questions have no right answer to score by"
        )
    }
}

/// Scores rows with predictions, rotations included.
pub(crate) fn score(rows: &[Row]) -> Accuracy {
    let mut accuracy = Accuracy::default();
    let mut questions: BTreeMap<u64, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        questions.entry(row.index % ROTATION).or_default().push(row);
    }
    for rows in questions.values() {
        if rows.iter().any(|row| row.answer.is_none()) {
            accuracy.unscored += 1;
            continue;
        }
        let mut is_right = true;
        for row in rows {
            let named = extract::letter(row.prediction.as_deref().unwrap_or_default(), &row.choices);
            accuracy.rows_without_choice += usize::from(named.is_none());
            is_right &= named == row.answer;
        }
        let worth = f64::from(u8::from(is_right));
        accuracy.overall.add(worth);
        // The question's own row, not that of a rotation.
        let Some(main) = rows.iter().min_by_key(|row| row.index) else { continue };
        let groups =
            [(&mut accuracy.category, &main.category), (&mut accuracy.l2_category, &main.l2_category)];
        for (groups, name) in groups {
            if let Some(name) = name {
                tally::add(groups, name, worth);
            }
        }
    }
    accuracy
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde::Deserialize;

    use super::{
        super::{super::scratch::Scratch, Asked, read, write},
        *,
    };

    /// What lmms-eval gave (`testdata/reference/mmbench_score.py`).
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Golden {
        extracted: Vec<(Vec<String>, String, Option<char>)>,
        rows: Vec<GoldenRow>,
        overall: f64,
        category: HashMap<String, f64>,
        l2_category: HashMap<String, f64>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct GoldenRow {
        index: u64,
        question: String,
        #[serde(flatten)]
        fields: HashMap<String, Option<String>>,
        answer: char,
        prediction: String,
    }

    fn golden() -> Golden {
        serde_json::from_str(include_str!("../../../testdata/mmbench_golden.json")).unwrap()
    }

    #[test]
    fn choices_are_extracted_as_by_the_published_evaluator() {
        let golden = golden();
        assert!(golden.extracted.len() >= 300);
        for (choices, answer, expected) in golden.extracted {
            assert_eq!(extract::letter(&answer, &choices), expected, "{answer:?} of {choices:?}");
        }
    }

    /// By way of the file of predictions, as a user would.
    #[test]
    fn scores_are_those_of_the_published_evaluator() {
        let (golden, scratch) = (golden(), Scratch::new());
        let (mut asked, mut answers) = (Vec::new(), HashMap::new());
        for row in &golden.rows {
            let get = |name: &str| row.fields.get(name).cloned().flatten();
            let choices = ["A", "B", "C", "D"].iter().map_while(|letter| get(letter)).collect();
            let (category, l2_category) = (get("category"), get("l2-category"));
            let (index, question) = (row.index, row.question.clone());
            let row_of = Row { index, question, choices, category, l2_category, ..Row::default() };
            asked.push(Asked { row: Row { answer: Some(row.answer), ..row_of }, image_index: index });
            answers.insert(index, row.prediction.clone());
        }
        let out = scratch.path("predictions.tsv");
        assert_eq!(write(&out, &asked, &answers).unwrap(), 0);
        let accuracy = score(&read(&out).unwrap());
        let is_near = |ours: Tally, theirs: f64| (ours.percent().unwrap() - 100.0 * theirs).abs() < 1e-9;
        assert!(is_near(accuracy.overall, golden.overall), "{accuracy:?}");
        let groups = [(&accuracy.category, &golden.category), (&accuracy.l2_category, &golden.l2_category)];
        for (ours, theirs) in groups {
            assert_eq!(ours.len(), theirs.len());
            assert!(ours.iter().all(|(name, tally)| is_near(*tally, theirs[name])), "{ours:?} {theirs:?}");
        }

        // A rotation without an answer takes its question out; the evaluator would call it wrong.
        answers.remove(&1_000_007);
        assert_eq!(write(&out, &asked, &answers).unwrap(), 1);
        let rows = read(&out).unwrap();
        assert!(rows.iter().all(|row| row.index % ROTATION != 7));
        assert_eq!(score(&rows).overall.count(), accuracy.overall.count() - 1);
    }

    #[test]
    fn one_wrong_rotation_makes_a_question_wrong() {
        let row = |index: u64, answer: char, prediction: &str| Row {
            index,
            choices: vec!["x".into(), "y".into()],
            answer: Some(answer),
            prediction: Some(prediction.into()),
            ..Row::default()
        };
        let mut rows = vec![row(1, 'A', "A"), row(1_000_001, 'B', "B.")];
        assert_eq!(score(&rows).overall.percent(), Some(100.0));
        rows[1].prediction = Some("A".into());
        assert_eq!(score(&rows).overall.percent(), Some(0.0));
        rows[1].prediction = None;
        let accuracy = score(&rows);
        assert_eq!((accuracy.overall.percent(), accuracy.rows_without_choice), (Some(0.0), 1));
        rows[1].answer = None;
        assert_eq!((score(&rows).unscored, score(&rows).overall.count()), (1, 0));
    }
}
