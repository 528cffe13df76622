//! The file of predictions that VLMEvalKit's evaluator reads: the data set's columns without the picture, and
//! `prediction`.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use csv::WriterBuilder;

use super::{
    super::error::DatasetError,
    circular::{Asked, ROTATION},
    table::{LETTERS, Row, Table},
};

const TEXTS: [&str; 3] = ["index", "question", "hint"];
const GROUPS: [&str; 5] = ["answer", "category", "l2-category", "split", "prediction"];

/// Writes the questions whose rotations are all answered, whole or not at all. Returns how many are left out.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn write(
    out: &Path,
    asked: &[Asked],
    answers: &HashMap<u64, String>,
) -> Result<usize, DatasetError> {
    let missing = asked.iter().map(|one| one.row.index).filter(|index| !answers.contains_key(index));
    let left_out: HashSet<u64> = missing.map(|index| index % ROTATION).collect();
    let part = PathBuf::from(format!("{}.part", out.display()));
    let table = |source| DatasetError::Table { file: part.clone(), source };
    let mut writer = WriterBuilder::new().delimiter(b'\t').from_path(&part).map_err(table)?;
    let letters = LETTERS.map(String::from);
    let header = TEXTS.into_iter().chain(letters.iter().map(String::as_str)).chain(GROUPS);
    writer.write_record(header).map_err(table)?;
    for Asked { row, .. } in asked.iter().filter(|one| !left_out.contains(&(one.row.index % ROTATION))) {
        let Some(prediction) = answers.get(&row.index) else { continue };
        let (index, answer) = (row.index.to_string(), row.answer.map(String::from));
        let optional = |text: &'_ Option<String>| text.clone().unwrap_or_default();
        let texts = [index, row.question.clone(), optional(&row.hint)];
        let choices = (0..LETTERS.len()).map(|place| row.choices.get(place).cloned().unwrap_or_default());
        let groups = [
            optional(&answer),
            optional(&row.category),
            optional(&row.l2_category),
            optional(&row.split),
            prediction.clone(),
        ];
        writer.write_record(texts.into_iter().chain(choices).chain(groups)).map_err(table)?;
    }
    writer.flush().map_err(DatasetError::file(&part))?;
    drop(writer);
    std::fs::rename(&part, out).map_err(DatasetError::file(out))?;
    Ok(left_out.len())
}

/// The rows of a file of predictions.
///
/// # Errors
/// If the file has another form.
pub(crate) fn read(file: &Path) -> Result<Vec<Row>, DatasetError> {
    Ok(Table::open(file)?.rows)
}
