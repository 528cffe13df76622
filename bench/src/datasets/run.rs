//! Asks one question after the other and keeps every answer, so that a cut run goes on where it was.

use std::{
    collections::HashMap,
    path::Path,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use super::{
    error::DatasetError,
    journal::{Journal, Subject},
};

/// So many refusals one after the other mean that something is wrong with the run, not with the questions.
const MOST_REFUSED_IN_A_ROW: usize = 20;

const LOG_EVERY: Duration = Duration::from_secs(60);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// This question has none; the next one may.
    #[error("{0}")]
    Refused(String),
    /// Whoever answers has gone.
    #[error("{0:#}")]
    Lost(anyhow::Error),
}

/// Who answers.
pub(crate) trait Answerer {
    /// Its name, and whatever else changes its answers.
    fn model(&self) -> String;

    /// The answer to a question about a picture, an encoded file.
    ///
    /// # Errors
    /// If there is none.
    fn answer(&mut self, question: &str, image: &[u8]) -> Result<String, NoAnswer>;
}

/// A question, as it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// Names it.
    pub(crate) id: u64,
    /// The words, instruction included.
    pub(crate) question: String,
}

/// What came of a run.
#[derive(Debug, Default)]
pub(crate) struct Answered {
    /// Answers by question, earlier runs' included.
    pub(crate) answers: HashMap<u64, String>,
    /// Questions whose picture is missing.
    pub(crate) without_image: Vec<u64>,
    /// Questions that were refused, and why.
    pub(crate) refused: Vec<(u64, String)>,
}

/// Asks all of `items` that have no answer in the journal beside `out`. `image` gives the picture of an item by its
/// place, `None` where it is missing.
///
/// # Errors
/// If the journal is another run's, a file cannot be used, or whoever answers goes.
pub(crate) fn ask(
    items: &[Item],
    mut image: impl FnMut(usize) -> Result<Option<Vec<u8>>, DatasetError>,
    answerer: &mut dyn Answerer,
    out: &Path,
    (dataset, instruction): (&str, &str),
) -> Result<Answered, DatasetError> {
    let subject =
        Subject { dataset: dataset.to_owned(), model: answerer.model(), instruction: instruction.to_owned() };
    let mut journal = Journal::open(out, &subject)?;
    let open: Vec<usize> =
        (0..items.len()).filter(|place| !journal.answers().contains_key(&items[*place].id)).collect();
    eprintln!("{} questions, {} to do; {}", items.len(), open.len(), subject.model);
    let (mut answered, mut progress, mut in_a_row) = (Answered::default(), Progress::of(open.len()), 0);
    for (count, place) in open.iter().enumerate() {
        let Item { id, question } = &items[*place];
        progress.show(count);
        let Some(bytes) = image(*place)? else {
            answered.without_image.push(*id);
            continue;
        };
        let lost = |reason: String| {
            let missed = answered.without_image.len() + answered.refused.len();
            DatasetError::NoAnswers { answered: count - missed, asked: open.len(), reason }
        };
        match answerer.answer(question, &bytes) {
            Ok(answer) => {
                journal.keep(*id, answer)?;
                in_a_row = 0;
            }
            Err(NoAnswer::Lost(error)) => return Err(lost(format!("{error:#}"))),
            Err(NoAnswer::Refused(reason)) => {
                in_a_row += 1;
                if in_a_row == MOST_REFUSED_IN_A_ROW {
                    return Err(lost(format!("{in_a_row} questions in a row were refused: {reason}")));
                }
                answered.refused.push((*id, reason));
            }
        }
    }
    progress.end();
    answered.answers.extend(
        items
            .iter()
            .filter_map(|item| journal.answers().get(&item.id).map(|answer| (item.id, answer.clone()))),
    );
    answered.report();
    Ok(answered)
}

impl Answered {
    /// Says what is missing.
    fn report(&self) {
        let (images, refused) = (&self.without_image, &self.refused);
        if let Some(first) = images.first() {
            eprintln!("{} pictures are missing, the first that of question {first}", images.len());
        }
        if let Some((first, reason)) = refused.first() {
            eprintln!("{} questions were refused, the first, {first}: {reason}", refused.len());
        }
    }
}

/// A bar on a terminal; elsewhere, in a log, a line now and then.
struct Progress {
    bar: ProgressBar,
    shown: Instant,
}

impl Progress {
    fn of(total: usize) -> Self {
        // A template that does not parse would be a bug; the plain bar does as well.
        let style = ProgressStyle::with_template("{wide_bar} {pos} of {len}, {per_sec}, {eta} left");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        Self { bar: ProgressBar::new(total as u64).with_style(style), shown: Instant::now() }
    }

    fn show(&mut self, done: usize) {
        self.bar.set_position(done as u64);
        if self.bar.is_hidden() && self.shown.elapsed() > LOG_EVERY {
            self.shown = Instant::now();
            let left_s = self.bar.eta().as_secs();
            eprintln!("{done} of {}, about {left_s} s left", self.bar.length().unwrap_or_default());
        }
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::{super::scratch::Scratch, *};

    /// Answers with the question's last word and the picture's size; goes after so many answers.
    struct Clerk {
        left: usize,
        asked: Vec<String>,
    }

    impl Answerer for Clerk {
        fn model(&self) -> String {
            "clerk".into()
        }

        fn answer(&mut self, question: &str, image: &[u8]) -> Result<String, NoAnswer> {
            if question.starts_with("never") {
                return Err(NoAnswer::Refused("no such word".into()));
            }
            self.left = self.left.checked_sub(1).ok_or_else(|| NoAnswer::Lost(anyhow!("gone home")))?;
            self.asked.push(question.to_owned());
            Ok(format!("{} {}", question.split(' ').next_back().unwrap_or_default(), image.len()))
        }
    }

    fn items(count: u64) -> Vec<Item> {
        (0..count).map(|id| Item { id, question: format!("question {id}") }).collect()
    }

    fn clerk(left: usize) -> Clerk {
        Clerk { left, asked: Vec::new() }
    }

    #[test]
    fn a_cut_run_goes_on_where_it_was() {
        let scratch = Scratch::new();
        let out = scratch.path("results.json");
        let items = items(10);
        let image = |place| Ok(Some(vec![0; place]));
        let error = ask(&items, image, &mut clerk(4), &out, ("set", "")).unwrap_err().to_string();
        assert!(error.contains("4 of 10") && error.contains("gone home"), "{error}");
        let mut second = clerk(100);
        let answered = ask(&items, image, &mut second, &out, ("set", "")).unwrap();
        assert_eq!(second.asked.len(), 6);
        assert_eq!(answered.answers.len(), 10);
        assert_eq!(answered.answers[&3], "3 3");
        assert!(matches!(
            ask(&items, image, &mut clerk(9), &out, ("other set", "")),
            Err(DatasetError::OtherRun { .. })
        ));
        // A limit that was smaller before is no other run, and one that is smaller now takes what is asked for.
        let few = ask(&items[..2], image, &mut clerk(0), &out, ("set", "")).unwrap();
        assert_eq!(few.answers.len(), 2);
    }

    #[test]
    fn missing_pictures_and_refusals_are_counted_and_asked_again_next_time() {
        let scratch = Scratch::new();
        let out = scratch.path("results.json");
        let mut items = items(5);
        items[2].question = "never".into();
        let image = |place| Ok((place != 4).then(|| vec![0; 3]));
        let answered = ask(&items, image, &mut clerk(9), &out, ("set", "")).unwrap();
        assert_eq!(answered.answers.len(), 3);
        assert_eq!(answered.without_image, [4]);
        assert_eq!(answered.refused, [(2, "no such word".to_owned())]);
        let again = ask(&items, |_| Ok(Some(Vec::new())), &mut clerk(9), &out, ("set", "")).unwrap();
        assert_eq!(again.answers[&4], "4 0");
    }

    #[test]
    fn a_run_that_is_refused_altogether_ends() {
        let scratch = Scratch::new();
        let mut items = items(100);
        items.iter_mut().for_each(|item| item.question = "never".into());
        let image = |_| Ok(Some(Vec::new()));
        let error = ask(&items, image, &mut clerk(9), &scratch.path("out"), ("set", "")).unwrap_err();
        assert!(error.to_string().contains("no such word"), "{error}");
    }
}
