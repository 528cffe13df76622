//! Reading within budgets, and JSON arrays entry by entry: the annotations of VQAv2 are hundreds of megabytes.

use std::{
    cell::RefCell,
    fmt,
    fs::{self, File},
    io::{BufReader, Read},
    marker::PhantomData,
    path::Path,
};

use serde::{
    Deserializer,
    de::{self, DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::error::DatasetError;

/// Ten times the largest file of VQAv2.
const MOST_JSON_BYTES: u64 = 4 << 30;

/// Bytes of one picture; COCO's have some hundreds of thousands.
pub(super) const MOST_IMAGE_BYTES: u64 = 32 << 20;

/// Opens a file that has at most so many bytes.
pub(super) fn open(file: &Path, what: &str, most: u64) -> Result<File, DatasetError> {
    let open = File::open(file).map_err(DatasetError::file(file))?;
    let found = open.metadata().map_err(DatasetError::file(file))?.len();
    if found > most {
        return Err(DatasetError::TooLarge { file: file.to_owned(), what: what.into(), found, most });
    }
    Ok(open)
}

/// A picture's bytes; `None` if there is no such file.
pub(super) fn image(file: &Path) -> Result<Option<Vec<u8>>, DatasetError> {
    if !fs::exists(file).map_err(DatasetError::file(file))? {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let open = open(file, "the picture", MOST_IMAGE_BYTES)?;
    // The file may grow while it is read.
    open.take(MOST_IMAGE_BYTES).read_to_end(&mut bytes).map_err(DatasetError::file(file))?;
    Ok(Some(bytes))
}

/// Name and size of a file, for people and to tell it from another one.
pub(super) fn identity(file: &Path) -> Result<String, DatasetError> {
    let bytes = fs::metadata(file).map_err(DatasetError::file(file))?.len();
    let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
    Ok(format!("{name} of {bytes} bytes"))
}

/// Hands each entry of the array `array` of a JSON object to `each`, with its place. Returns the object's string
/// `text`, if it has one.
///
/// # Errors
/// The first of `each`, or of an entry that is no `T`.
pub(super) fn for_each_entry<T: DeserializeOwned>(
    file: &Path,
    (array, text): (&str, &str),
    each: impl FnMut(usize, T) -> Result<(), DatasetError>,
) -> Result<Option<String>, DatasetError> {
    let progress = RefCell::default();
    let entries = Some(Entries { each, progress: &progress, entry: PhantomData });
    let mut json = parser(file)?;
    let whole = json.deserialize_map(Object { array, text, entries });
    let read = whole.and_then(|text| json.end().map(|()| text));
    read.map_err(|source| progress.into_inner().error(file, array, source))
}

/// As [`for_each_entry`] for a file that is nothing but an array.
pub(super) fn for_each_of_array<T: DeserializeOwned>(
    file: &Path,
    each: impl FnMut(usize, T) -> Result<(), DatasetError>,
) -> Result<(), DatasetError> {
    let progress = RefCell::default();
    let mut json = parser(file)?;
    let whole = Entries { each, progress: &progress, entry: PhantomData }.deserialize(&mut json);
    let read = whole.and_then(|()| json.end());
    read.map_err(|source| progress.into_inner().error(file, "entry", source))
}

type Parser = serde_json::Deserializer<serde_json::de::IoRead<BufReader<File>>>;

fn parser(file: &Path) -> Result<Parser, DatasetError> {
    let open = open(file, "the file", MOST_JSON_BYTES)?;
    Ok(serde_json::Deserializer::from_reader(BufReader::new(open)))
}

/// How far a pass has come, and why it gave up if JSON is not the reason.
#[derive(Default)]
struct Progress {
    entries: usize,
    failure: Option<DatasetError>,
}

impl Progress {
    fn error(self, file: &Path, array: &str, source: serde_json::Error) -> DatasetError {
        let place = format!("{array} {}", self.entries);
        self.failure.unwrap_or(DatasetError::Json { file: file.to_owned(), place, source })
    }
}

/// Goes through an array and keeps nothing of it.
struct Entries<'a, T, F> {
    each: F,
    progress: &'a RefCell<Progress>,
    entry: PhantomData<T>,
}

impl<'de, T: DeserializeOwned, F: FnMut(usize, T) -> Result<(), DatasetError>> DeserializeSeed<'de>
    for Entries<'_, T, F>
{
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: DeserializeOwned, F: FnMut(usize, T) -> Result<(), DatasetError>> Visitor<'de>
    for Entries<'_, T, F>
{
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut entries: A) -> Result<(), A::Error> {
        while let Some(entry) = entries.next_element()? {
            let place = self.progress.borrow().entries;
            if let Err(failure) = (self.each)(place, entry) {
                self.progress.borrow_mut().failure = Some(failure);
                return Err(de::Error::custom("given up"));
            }
            self.progress.borrow_mut().entries += 1;
        }
        Ok(())
    }
}

/// Goes through the one array of an object, keeps one text of it, and skips the rest.
struct Object<'a, T, F> {
    array: &'a str,
    text: &'a str,
    entries: Option<Entries<'a, T, F>>,
}

impl<'de, T: DeserializeOwned, F: FnMut(usize, T) -> Result<(), DatasetError>> Visitor<'de>
    for Object<'_, T, F>
{
    type Value = Option<String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "an object with an array {:?}", self.array)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Option<String>, A::Error> {
        let mut text = None;
        while let Some(key) = members.next_key::<String>()? {
            if key == self.array {
                let again = || de::Error::custom(format!("{key:?} comes twice"));
                members.next_value_seed(self.entries.take().ok_or_else(again)?)?;
            } else if key == self.text {
                text = Some(members.next_value()?);
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        if self.entries.is_some() {
            return Err(de::Error::custom(format!("there is no {:?}", self.array)));
        }
        Ok(text)
    }
}
