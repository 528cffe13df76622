//! Asks one question after the other and keeps every answer, so that a cut run goes on where it was.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use super::{
    cost::Cost,
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

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    /// Trimmed.
    pub(crate) text: String,
    /// What it took, where that is known.
    pub(crate) cost: Option<Cost>,
}

/// Who answers.
pub(crate) trait Answerer: Send {
    /// Its name, and whatever else changes its answers.
    fn model(&self) -> String;

    /// The answer to a question about a picture, an encoded file.
    ///
    /// # Errors
    /// If there is none.
    fn answer(&mut self, question: &str, image: &[u8]) -> Result<Answer, NoAnswer>;
}

impl<T: Answerer + ?Sized> Answerer for Box<T> {
    fn model(&self) -> String {
        (**self).model()
    }

    fn answer(&mut self, question: &str, image: &[u8]) -> Result<Answer, NoAnswer> {
        (**self).answer(question, image)
    }
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
    /// What these took, where that is known.
    pub(crate) costs: Vec<Cost>,
    /// Questions whose picture is missing.
    pub(crate) without_image: Vec<u64>,
    /// Questions that were refused, and why.
    pub(crate) refused: Vec<(u64, String)>,
}

/// Asks all of `items` that have no answer in the journal beside `out`, of as many answerers at a time as there are; all
/// are of one kind. `image` gives the picture of an item by its place, `None` where it is missing.
///
/// # Errors
/// If the journal is another run's, a file cannot be used, or whoever answers goes.
pub(crate) fn ask(
    items: &[Item],
    image: impl FnMut(usize) -> Result<Option<Vec<u8>>, DatasetError> + Send,
    answerers: &mut [impl Answerer],
    out: &Path,
    (dataset, instruction): (&str, &str),
) -> Result<Answered, DatasetError> {
    let model = answerers.first().map(Answerer::model).unwrap_or_default();
    let subject = Subject { dataset: dataset.to_owned(), model, instruction: instruction.to_owned() };
    let journal = Journal::open(out, &subject)?;
    let is_open = |place: &usize| !journal.answers().contains_key(&items[*place].id);
    let open: Vec<usize> = (0..items.len()).filter(is_open).collect();
    eprintln!("{} questions, {} to do; {}", items.len(), open.len(), subject.model);
    let (asked, progress) = (open.len(), Progress::of(open.len()));
    let pictures = Mutex::new((open.into_iter(), image));
    let book = Mutex::new(Book {
        journal,
        progress,
        answered: Answered::default(),
        asked,
        in_a_row: 0,
        failure: None,
    });
    thread::scope(|scope| {
        for answerer in answerers {
            scope.spawn(|| work(answerer, items, &pictures, &book));
        }
    });
    let Book { journal, progress, mut answered, failure, .. } =
        book.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(failure) = failure {
        return Err(failure);
    }
    progress.end();
    for item in items {
        if let Some(answer) = journal.answers().get(&item.id) {
            answered.answers.insert(item.id, answer.text.clone());
            answered.costs.extend(answer.cost);
        }
    }
    answered.report();
    Ok(answered)
}

/// What came of questions so far, and where it is kept.
struct Book {
    journal: Journal,
    progress: Progress,
    answered: Answered,
    /// Questions in all.
    asked: usize,
    /// Refusals since the last answer.
    in_a_row: usize,
    /// Why the run ends.
    failure: Option<DatasetError>,
}

/// One answerer's questions, until there are no more or the run ends.
fn work(
    answerer: &mut impl Answerer,
    items: &[Item],
    pictures: &Mutex<(
        impl Iterator<Item = usize>,
        impl FnMut(usize) -> Result<Option<Vec<u8>>, DatasetError>,
    )>,
    book: &Mutex<Book>,
) {
    loop {
        let (place, picture) = {
            let mut pictures = lock(pictures);
            if lock(book).failure.is_some() {
                return;
            }
            let Some(place) = pictures.0.next() else { return };
            (place, (pictures.1)(place))
        };
        let Item { id, question } = &items[place];
        let outcome = match picture {
            Ok(Some(bytes)) => Some(answerer.answer(question, &bytes)),
            Ok(None) => None,
            Err(error) => {
                lock(book).failure.get_or_insert(error);
                return;
            }
        };
        lock(book).note(*id, outcome);
    }
}

impl Book {
    /// Notes what came of a question, `None` without a picture.
    fn note(&mut self, id: u64, outcome: Option<Result<Answer, NoAnswer>>) {
        match outcome {
            None => self.answered.without_image.push(id),
            Some(Ok(answer)) => {
                self.in_a_row = 0;
                if let Err(error) = self.journal.keep(id, answer) {
                    self.failure.get_or_insert(error);
                }
                self.progress.answered += 1;
            }
            Some(Err(NoAnswer::Lost(error))) => self.lose(format!("{error:#}")),
            Some(Err(NoAnswer::Refused(reason))) => {
                self.in_a_row += 1;
                if self.in_a_row == MOST_REFUSED_IN_A_ROW {
                    self.lose(format!("{} questions in a row were refused: {reason}", self.in_a_row));
                }
                self.answered.refused.push((id, reason));
            }
        }
        let Answered { without_image, refused, .. } = &self.answered;
        self.progress.show(without_image.len() + refused.len());
    }

    fn lose(&mut self, reason: String) {
        let (answered, asked) = (self.progress.answered, self.asked);
        self.failure.get_or_insert(DatasetError::NoAnswers { answered, asked, reason });
    }
}

/// What a thread that panicked left is whole: the panic itself ends the run.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// Questions with an answer.
    answered: usize,
}

impl Progress {
    fn of(total: usize) -> Self {
        // A template that does not parse would be a bug; the plain bar does as well.
        let style = ProgressStyle::with_template("{wide_bar} {pos} of {len}, {per_sec}, {eta} left");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        Self { bar: ProgressBar::new(total as u64).with_style(style), shown: Instant::now(), answered: 0 }
    }

    /// `missed` have none.
    fn show(&mut self, missed: usize) {
        let done = self.answered + missed;
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
    use std::slice;

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

        fn answer(&mut self, question: &str, image: &[u8]) -> Result<Answer, NoAnswer> {
            if question.starts_with("never") {
                return Err(NoAnswer::Refused("no such word".into()));
            }
            self.left = self.left.checked_sub(1).ok_or_else(|| NoAnswer::Lost(anyhow!("gone home")))?;
            self.asked.push(question.to_owned());
            let text = format!("{} {}", question.split(' ').next_back().unwrap_or_default(), image.len());
            let cost = Cost { total_ms: 5.0, ..Cost::default() };
            Ok(Answer { text, cost: Some(cost) })
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
        let error = ask(&items, image, &mut [clerk(4)], &out, ("set", "")).unwrap_err().to_string();
        assert!(error.contains("4 of 10") && error.contains("gone home"), "{error}");
        let mut second = clerk(100);
        let answered = ask(&items, image, slice::from_mut(&mut second), &out, ("set", "")).unwrap();
        assert_eq!((second.asked.len(), answered.costs.len()), (6, 10), "what answers took is kept as well");
        assert_eq!(answered.answers.len(), 10);
        assert_eq!(answered.answers[&3], "3 3");
        assert!(matches!(
            ask(&items, image, &mut [clerk(9)], &out, ("other set", "")),
            Err(DatasetError::OtherRun { .. })
        ));
        // A limit that was smaller before is no other run, and one that is smaller now takes what is asked for.
        let few = ask(&items[..2], image, &mut [clerk(0)], &out, ("set", "")).unwrap();
        assert_eq!(few.answers.len(), 2);
    }

    #[test]
    fn several_answerers_share_the_questions() {
        let scratch = Scratch::new();
        let (items, image) = (items(200), |place| Ok(Some(vec![0; place])));
        let mut clerks = [clerk(200), clerk(200), clerk(200)];
        let answered = ask(&items, image, &mut clerks, &scratch.path("out"), ("set", "")).unwrap();
        assert!((0..200).all(|id| answered.answers[&id] == format!("{id} {id}")), "each its own picture");
        let asked: usize = clerks.iter().map(|clerk| clerk.asked.len()).sum();
        assert_eq!(asked, 200, "each question once");
        // The first that goes ends the run; what was answered stays.
        let mut clerks = [clerk(5), clerk(200)];
        let out = scratch.path("cut");
        let error = ask(&items, image, &mut clerks, &out, ("set", "")).unwrap_err().to_string();
        assert!(error.contains("gone home"), "{error}");
        let before: usize = clerks.iter().map(|clerk| clerk.asked.len()).sum();
        let mut rest = [clerk(200)];
        assert_eq!(ask(&items, image, &mut rest, &out, ("set", "")).unwrap().answers.len(), 200);
        assert_eq!(rest[0].asked.len(), 200 - before);
    }

    #[test]
    fn missing_pictures_and_refusals_are_counted_and_asked_again_next_time() {
        let scratch = Scratch::new();
        let out = scratch.path("results.json");
        let mut items = items(5);
        items[2].question = "never".into();
        let image = |place| Ok((place != 4).then(|| vec![0; 3]));
        let answered = ask(&items, image, &mut [clerk(9)], &out, ("set", "")).unwrap();
        assert_eq!(answered.answers.len(), 3);
        assert_eq!(answered.without_image, [4]);
        assert_eq!(answered.refused, [(2, "no such word".to_owned())]);
        let again = ask(&items, |_| Ok(Some(Vec::new())), &mut [clerk(9)], &out, ("set", "")).unwrap();
        assert_eq!(again.answers[&4], "4 0");
    }

    #[test]
    fn a_run_that_is_refused_altogether_ends() {
        let scratch = Scratch::new();
        let mut items = items(100);
        items.iter_mut().for_each(|item| item.question = "never".into());
        let image = |_| Ok(Some(Vec::new()));
        let error = ask(&items, image, &mut [clerk(9)], &scratch.path("out"), ("set", "")).unwrap_err();
        assert!(error.to_string().contains("no such word"), "{error}");
    }
}
