//! The TSV: texts of all rows at once, pictures one by one when they are asked for.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use csv::{Position, Reader, ReaderBuilder, StringRecord};

use super::super::{
    error::DatasetError,
    files::{self, MOST_IMAGE_BYTES},
};

/// Several times the whole of MMBench.
const MOST_BYTES: u64 = 16 << 30;
const MOST_ROWS: usize = 1_000_000;
/// All fields of a row but its picture.
const MOST_TEXT_BYTES: usize = 64 << 10;
/// A row: a picture in base64, and the texts. An unclosed quote would make one row of the rest of the file.
const MOST_ROW_BYTES: u64 = MOST_IMAGE_BYTES / 3 * 4 + MOST_TEXT_BYTES as u64;
/// A picture field of at most so many characters is the index of the row that has the picture.
const MOST_REFERENCE_CHARS: usize = 64;

/// The choices' letters.
pub(crate) const LETTERS: [char; 4] = ['A', 'B', 'C', 'D'];

/// A row without its picture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Row {
    /// Names the question; rotations add multiples of 1,000,000.
    pub(crate) index: u64,
    /// The question.
    pub(crate) question: String,
    /// What is to be read before it.
    pub(crate) hint: Option<String>,
    /// The choices, two to four.
    pub(crate) choices: Vec<String>,
    /// The right choice; `None` in a test split.
    pub(crate) answer: Option<char>,
    /// Of the ability.
    pub(crate) category: Option<String>,
    /// Of a group of abilities.
    pub(crate) l2_category: Option<String>,
    /// Such as `dev`.
    pub(crate) split: Option<String>,
    /// What a model answered, in a file of predictions.
    pub(crate) prediction: Option<String>,
}

/// A file of questions.
pub(crate) struct Table {
    file: PathBuf,
    reader: Reader<Budgeted>,
    columns: Columns,
    /// All rows, in the file's order.
    pub(crate) rows: Vec<Row>,
    /// Where the row of an index is in the file.
    positions: HashMap<u64, Position>,
}

/// Places of the columns that matter.
struct Columns(HashMap<String, usize>);

impl Columns {
    /// The field of that name; `None` if it is empty, or says as tables of numbers do that it is.
    fn get(&self, record: &StringRecord, name: &str) -> Option<String> {
        let field = record.get(*self.0.get(name)?)?;
        let is_empty = field.trim().is_empty() || field == "nan" || field == "NaN";
        (!is_empty).then(|| field.to_owned())
    }
}

impl Table {
    /// Reads all rows.
    ///
    /// # Errors
    /// If the file has another form, contradicts itself, or exceeds a budget.
    pub(crate) fn open(file: &Path) -> Result<Self, DatasetError> {
        let open = files::open(file, "the file", MOST_BYTES)?;
        let mut reader =
            ReaderBuilder::new().delimiter(b'\t').from_reader(Budgeted { file: open, left: MOST_ROW_BYTES });
        let table = |source| DatasetError::Table { file: file.to_owned(), source };
        let header = reader.headers().map_err(table)?;
        let columns =
            Columns(header.iter().enumerate().map(|(place, name)| (name.to_owned(), place)).collect());
        for name in ["index", "question", "A", "B"] {
            if !columns.0.contains_key(name) {
                let problem =
                    format!("there is no column {name:?}; give the TSV of MMBench or of its predictions");
                return Err(DatasetError::entry(file, "line 1", problem));
            }
        }
        let (mut rows, mut positions, mut record) = (Vec::new(), HashMap::new(), StringRecord::new());
        loop {
            let position = reader.position().clone();
            reader.get_mut().left = MOST_ROW_BYTES;
            if !reader.read_record(&mut record).map_err(table)? {
                break;
            }
            let fail = |problem: String| {
                Err(DatasetError::entry(file, format!("line {}", position.line()), problem))
            };
            let row = match row(&columns, &record) {
                Ok(row) => row,
                Err(problem) => return fail(problem),
            };
            if rows.len() == MOST_ROWS {
                return fail(format!("at most {MOST_ROWS} rows are read; split the file"));
            }
            if positions.insert(row.index, position.clone()).is_some() {
                return fail(format!("index {} comes twice; remove one", row.index));
            }
            rows.push(row);
        }
        Ok(Self { file: file.to_owned(), reader, columns, rows, positions })
    }

    /// The picture of the row of that index; `None` where it has none.
    ///
    /// # Errors
    /// If it is no base64, or the file changed under us.
    pub(crate) fn image(&mut self, index: u64) -> Result<Option<Vec<u8>>, DatasetError> {
        let Some(mut field) = self.image_field(index)? else { return Ok(None) };
        if field.len() <= MOST_REFERENCE_CHARS {
            let other = field.trim().parse().ok().filter(|other| self.positions.contains_key(other));
            let Some(other) = other else {
                let problem =
                    format!("its picture is {field:?}, neither base64 nor another index; repair it");
                return Err(self.entry(index, problem));
            };
            match self.image_field(other)? {
                Some(image) if image.len() > MOST_REFERENCE_CHARS => field = image,
                _ => return Ok(None),
            }
        }
        STANDARD.decode(field.trim()).map(Some).map_err(|error| {
            let problem = format!("its picture is no base64: {error}; repair it");
            self.entry(index, problem)
        })
    }

    /// What is wrong with the row of that index.
    pub(super) fn entry(&self, index: u64, problem: String) -> DatasetError {
        DatasetError::entry(&self.file, format!("index {index}"), problem)
    }

    fn image_field(&mut self, index: u64) -> Result<Option<String>, DatasetError> {
        let table = |source| DatasetError::Table { file: self.file.clone(), source };
        let Some(position) = self.positions.get(&index) else { return Ok(None) };
        let mut record = StringRecord::new();
        self.reader.get_mut().left = MOST_ROW_BYTES;
        self.reader.seek(position.clone()).map_err(table)?;
        self.reader.read_record(&mut record).map_err(table)?;
        Ok(self.columns.get(&record, "image"))
    }
}

fn row(columns: &Columns, record: &StringRecord) -> Result<Row, String> {
    let get = |name: &str| columns.get(record, name);
    let image_bytes = columns.0.get("image").and_then(|place| record.get(*place)).map_or(0, str::len);
    if record.as_slice().len() - image_bytes > MOST_TEXT_BYTES {
        return Err(format!("its texts have more than {MOST_TEXT_BYTES} bytes; shorten them"));
    }
    let index = get("index").ok_or("it has no index; number the rows")?;
    // Tables of numbers write 241 as 241.0 where another row has no number.
    let whole = index.strip_suffix(".0").unwrap_or(&index);
    let index = whole.parse().map_err(|_| format!("its index {index:?} is no number; number the rows"))?;
    let choices: Vec<String> = LETTERS.iter().map_while(|letter| get(&letter.to_string())).collect();
    if choices.len() < 2 {
        return Err("it has fewer than two choices; fill A and B".into());
    }
    let answer = match get("answer") {
        None => None,
        Some(text) => {
            let right = LETTERS[..choices.len()].iter().find(|letter| text.trim() == letter.to_string());
            Some(*right.ok_or_else(|| format!("its answer {text:?} is none of its choices' letters"))?)
        }
    };
    let (hint, category, l2_category) = (get("hint"), get("category"), get("l2-category"));
    let question = get("question").ok_or("it has no question; fill it")?;
    let (split, prediction) = (get("split"), get("prediction"));
    Ok(Row { index, question, hint, choices, answer, category, l2_category, split, prediction })
}

/// A file that gives only so many bytes until more are granted.
struct Budgeted {
    file: File,
    left: u64,
}

impl Read for Budgeted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !buffer.is_empty() {
            let problem =
                format!("a row has more than {MOST_ROW_BYTES} bytes; look for a quote that is not closed");
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.file.read(&mut buffer[..most])?;
        self.left -= count as u64;
        Ok(count)
    }
}

impl Seek for Budgeted {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::scratch::Scratch, *};

    const HEADER: &str = "index\tquestion\thint\tA\tB\tC\tD\tanswer\tcategory\tl2-category\tsplit\timage\n";

    fn table(scratch: &Scratch, rows: &str) -> Result<Table, DatasetError> {
        Table::open(&scratch.write("mmbench.tsv", format!("{HEADER}{rows}")))
    }

    #[test]
    fn rows_are_read_with_their_pictures() {
        let scratch = Scratch::new();
        let bytes: Vec<u8> = (0..200).collect();
        let image = STANDARD.encode(&bytes);
        let rows = format!(
            "241\t\"What is\n\"\"it\"\"?\"\tLook.\tcat\tdog\tnan\t\tB\tocr\tfine\tdev\t{image}\n\
             1000241\tWhat?\t\tdog\tcat\t\t\tA\tocr\tfine\tdev\t241\n\
             7\tHow many?\tnan\t1\t2\t3\t4\t\t\t\t\t\n"
        );
        let mut table = table(&scratch, &rows).unwrap();
        let first = Row {
            index: 241,
            question: "What is\n\"it\"?".into(),
            hint: Some("Look.".into()),
            choices: vec!["cat".into(), "dog".into()],
            answer: Some('B'),
            category: Some("ocr".into()),
            l2_category: Some("fine".into()),
            split: Some("dev".into()),
            prediction: None,
        };
        assert_eq!(table.rows[0], first);
        assert_eq!((table.rows.len(), table.rows[2].choices.len(), table.rows[2].answer), (3, 4, None));
        assert_eq!(table.image(1_000_241).unwrap().unwrap(), bytes);
        assert_eq!(table.image(7).unwrap(), None);
        assert_eq!(table.image(241).unwrap().unwrap(), bytes);
    }

    #[test]
    fn another_form_is_refused_with_its_line() {
        let scratch = Scratch::new();
        let error = |rows: &str| table(&scratch, rows).err().unwrap().to_string();
        let good = "1\tq\t\ta\tb\t\t\tA\t\t\t\t\n";
        for (row, hint) in [
            ("x\tq\t\ta\tb\t\t\tA\t\t\t\t\n", "no number"),
            ("1\tq\t\ta\tb\t\t\tA\t\t\t\t\n", "twice"),
            ("2\tq\t\ta\t\t\t\tA\t\t\t\t\n", "two choices"),
            ("2\tq\t\ta\tb\t\t\tC\t\t\t\t\n", "none of its choices"),
            ("2\t\t\ta\tb\t\t\tA\t\t\t\t\n", "no question"),
        ] {
            let error = error(&format!("{good}{row}"));
            assert!(error.contains("line 3") && error.contains(hint), "{error}");
        }
        assert!(error("1\tq\n").contains("TSV"));
        let long = error(&format!("1\t{}\t\ta\tb\t\t\tA\t\t\t\t\n", "q".repeat(MOST_TEXT_BYTES + 1)));
        assert!(long.contains("bytes"), "{long}");
        let missing = Table::open(&scratch.write("other.tsv", "index\tquestion\tA\n1\tq\ta\n"));
        assert!(missing.err().unwrap().to_string().contains("\"B\""));

        let pictures =
            format!("{good}2\tq\t\ta\tb\t\t\tA\t\t\t\t99\n3\tq\t\ta\tb\t\t\tA\t\t\t\t{}\n", "!".repeat(80));
        let mut table = table(&scratch, &pictures).unwrap();
        assert!(table.image(2).unwrap_err().to_string().contains("index 2"));
        assert!(table.image(3).unwrap_err().to_string().contains("base64"));
    }

    #[test]
    fn a_quote_that_is_not_closed_does_not_swallow_the_file() {
        let scratch = Scratch::new();
        let file = scratch.write("open.tsv", format!("{HEADER}1\t\"q\t"));
        // Holes take no space on the disk.
        File::options().write(true).open(&file).unwrap().set_len(MOST_ROW_BYTES * 3).unwrap();
        let error = Table::open(&file).err().unwrap();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("quote"), "{source}");
    }
}
