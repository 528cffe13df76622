//! Rotations of a question's choices, and the words in which they are asked.

use std::collections::{BTreeMap, HashSet};

use super::{
    super::{error::DatasetError, run::Item},
    table::{LETTERS, Row, Table},
};

/// What tells the rotations of a question apart.
pub(super) const ROTATION: u64 = 1_000_000;

/// Tells a model how to answer.
pub(crate) const INSTRUCTION: &str = "Please select the correct answer from the options above.";

/// A row that is asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// What is asked.
    pub(crate) row: Row,
    /// Index of the row of the file with its picture: its own, unless the rotation was made here.
    pub(crate) image_index: u64,
}

impl Asked {
    /// The question as it is asked.
    pub(crate) fn item(&self) -> Item {
        let Row { index, question, hint, choices, .. } = &self.row;
        let mut text = hint.as_ref().map(|hint| format!("Hint: {hint}\n")).unwrap_or_default();
        text += &format!("Question: {question}\nOptions:\n");
        for (letter, choice) in LETTERS.iter().zip(choices) {
            text += &format!("{letter}. {choice}\n");
        }
        Item { id: *index, question: text + INSTRUCTION }
    }
}

/// All rotations of the first `limit` questions: the file's own where it has some, else made here.
///
/// # Errors
/// If the file has rotations of a question that is not there.
pub(crate) fn rotations(table: &Table, limit: usize) -> Result<Vec<Asked>, DatasetError> {
    let mut given: BTreeMap<u64, Vec<&Row>> = BTreeMap::new();
    let questions: Vec<&Row> = table.rows.iter().filter(|row| row.index < ROTATION).collect();
    let known: HashSet<u64> = questions.iter().map(|row| row.index).collect();
    for row in table.rows.iter().filter(|row| row.index >= ROTATION) {
        if !known.contains(&(row.index % ROTATION)) {
            let problem = format!("a rotation of question {}, which is not there", row.index % ROTATION);
            return Err(table.entry(row.index, problem + "; add its row"));
        }
        given.entry(row.index % ROTATION).or_default().push(row);
    }
    let mut asked = Vec::new();
    for row in questions.into_iter().take(limit) {
        asked.push(Asked { row: row.clone(), image_index: row.index });
        match given.get(&row.index) {
            Some(rows) => {
                let given = rows.iter().copied().cloned();
                asked.extend(given.map(|row| Asked { image_index: row.index, row }));
            }
            None => {
                let turns = 1..rotating(&row.choices);
                asked.extend(turns.map(|by| Asked { row: rotated(row, by), image_index: row.index }));
            }
        }
    }
    Ok(asked)
}

/// How many of the choices can change places: not a last one that speaks of the others.
fn rotating(choices: &[String]) -> usize {
    let mut count = choices.len();
    while count > 2 && speaks_of_others(&choices[count - 1], count) {
        count -= 1;
    }
    count
}

/// Whether a choice is like "all of the above" or names all others, as "A, B and C" does.
fn speaks_of_others(choice: &str, count: usize) -> bool {
    let is_between = |one: char| one.is_whitespace() || one == ',';
    let words: Vec<&str> = choice.split(is_between).collect();
    let is_word = |word: &str| words.iter().any(|one| one.eq_ignore_ascii_case(word));
    let names_all = LETTERS[..count - 1].iter().all(|letter| words.contains(&letter.to_string().as_str()));
    names_all || is_word("all") || is_word("none")
}

/// The row with the choice at place i at place i + `by`.
fn rotated(row: &Row, by: usize) -> Row {
    let count = rotating(&row.choices);
    let mut choices = row.choices.clone();
    choices[..count].rotate_right(by);
    let answer = row.answer.map(|answer| {
        let place = LETTERS.iter().position(|letter| *letter == answer).unwrap_or_default();
        if place < count { LETTERS[(place + by) % count] } else { answer }
    });
    Row { index: row.index + by as u64 * ROTATION, choices, answer, ..row.clone() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::super::scratch::Scratch, *};

    fn row(choices: &[&str], answer: char) -> Row {
        let choices = choices.iter().map(|choice| (*choice).to_owned()).collect();
        Row { index: 5, question: "Which?".into(), choices, answer: Some(answer), ..Row::default() }
    }

    fn table(rows: &str) -> Table {
        Table::open(&Scratch::new().write("t.tsv", format!("index\tquestion\tA\tB\tC\tanswer\n{rows}")))
            .unwrap()
    }

    fn letters(asked: &[Asked]) -> Vec<(u64, String, char)> {
        asked.iter().map(|one| (one.row.index, one.row.choices.concat(), one.row.answer.unwrap())).collect()
    }

    #[test]
    fn rotations_are_made_where_a_file_has_none() {
        let made = rotations(&table("5\tq\tx\ty\tz\tB\n6\tq\tx\ty\t\tA\n"), usize::MAX).unwrap();
        let expected = [
            (5, "xyz", 'B'),
            (1_000_005, "zxy", 'C'),
            (2_000_005, "yzx", 'A'),
            (6, "xy", 'A'),
            (1_000_006, "yx", 'B'),
        ];
        assert_eq!(letters(&made), expected.map(|(index, choices, right)| (index, choices.into(), right)));
        assert_eq!(made[2].image_index, 5);
        let item = made[1].item();
        assert_eq!(item.id, 1_000_005);
        let words = format!("Question: q\nOptions:\nA. z\nB. x\nC. y\n{INSTRUCTION}");
        assert_eq!(item.question, words);
    }

    #[test]
    fn a_files_own_rotations_are_taken_as_they_are() {
        let file = table("5\tq\tx\ty\tz\tB\n6\tq\tx\ty\t\tA\n3000005\tq\ty\tz\tx\tA\n");
        let given = rotations(&file, 1).unwrap();
        assert_eq!(letters(&given), [(5, "xyz".to_owned(), 'B'), (3_000_005, "yzx".to_owned(), 'A')]);
        let error = rotations(&table("1000009\tq\tx\ty\tz\tB\n"), 1).unwrap_err().to_string();
        assert!(error.contains("question 9"), "{error}");
    }

    #[test]
    fn choices_that_speak_of_the_others_stay_last() {
        for (choices, count) in [
            (&["x", "y", "z", "All of the above"][..], 3),
            (&["x", "y", "A, B"], 2),
            (&["x", "none of them"], 2),
            (&["x", "y", "overall"], 3),
        ] {
            let texts: Vec<String> = choices.iter().map(|choice| (*choice).to_owned()).collect();
            assert_eq!(rotating(&texts), count, "{choices:?}");
        }
        let last = rotated(&row(&["x", "y", "z", "all"], 'D'), 1);
        assert_eq!((last.choices.concat(), last.answer), ("zxyall".into(), Some('D')));
    }

    proptest! {
        /// However it is turned, the right answer's text is the same, and each text has been everywhere.
        #[test]
        fn the_right_text_stays_right(count in 2_usize..5, right in 0_usize..4) {
            let right = right % count;
            let row = row(&["w", "x", "y", "z"][..count], LETTERS[right]);
            let mut seen = HashSet::new();
            for by in 0..count {
                let turned = rotated(&row, by);
                let place = LETTERS.iter().position(|letter| Some(*letter) == turned.answer).unwrap();
                prop_assert_eq!(&turned.choices[place], &row.choices[right]);
                prop_assert!(seen.insert(place));
            }
        }
    }
}
