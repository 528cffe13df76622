//! MAS, speculation and risk control on held-out questions: the figures of `planner/RESULTS.md`.
//!
//! Each question goes through the edge model, the probe and the target as in the running system, but for the network.
//! Outcomes are kept line by line beside the evaluation set, so a cut run goes on where it was.

mod calibration;
mod keep;
mod left_out;
pub(crate) mod outcome;
mod pass;
mod report;
mod risk_runs;
mod sampling;

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context, Result};
use msao_tests::places;

use self::{
    outcome::Outcome,
    pass::{Models, TEMPERATURE},
    report::Figures,
    sampling::Pair,
};
pub(crate) use self::{outcome::Question, pass::MediaReader};

/// Questions whose distributions sampling is tested on.
const SAMPLED: usize = 200;
const BEGIN: &str = "<!-- measured:begin -->";
const END: &str = "<!-- measured:end -->";

/// Measures on the set in `folder`, at most `limit` questions of it. With `calibrate` the answers that were compared become the
/// edge's `confidence.json`.
///
/// # Errors
/// If the set cannot be read or a model fails.
pub(crate) fn measure(folder: &Path, limit: Option<usize>, calibrate: bool) -> Result<()> {
    let mut questions = read_lines::<Question>(&folder.join("questions.jsonl"))?;
    questions.truncate(limit.unwrap_or(usize::MAX));
    let kept = folder.join("outcomes.jsonl");
    let mut outcomes: HashMap<String, Outcome> =
        if kept.is_file() { read_lines(&kept)? } else { Vec::<Outcome>::new() }
            .into_iter()
            .map(|one| (one.id.clone(), one))
            .collect();
    let open: Vec<(usize, &Question)> = questions
        .iter()
        .enumerate()
        .filter(|(index, question)| *index < SAMPLED || !outcomes.contains_key(&question.id))
        .collect();
    eprintln!("{} questions, {} to do", questions.len(), open.len());
    let models = Models::load()?;
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let log = OpenOptions::new().create(true).append(true).open(&kept)?;
    let mut pairs = Vec::new();
    for (done, mut part) in run(&models, folder, &open, workers, &log)? {
        pairs.append(&mut part);
        outcomes.extend(done.into_iter().map(|one| (one.id.clone(), one)));
    }
    let all: Vec<Outcome> = questions.iter().filter_map(|question| outcomes.remove(&question.id)).collect();
    if calibrate {
        calibration::write(&all)?;
    }
    eprintln!("testing sampling ...");
    let figures = Figures::of(&all, sampling::test(&pairs, TEMPERATURE));
    write_results(&figures)
}

type Part = (Vec<Outcome>, Vec<Pair>);

/// Shares the questions among workers, scenes staying together.
fn run(
    models: &Models,
    folder: &Path,
    open: &[(usize, &Question)],
    workers: usize,
    log: &File,
) -> Result<Vec<Part>> {
    let size = open.len().div_ceil(workers).max(1);
    thread::scope(|scope| {
        let work = |share: &'_ [(usize, &Question)]| -> Result<Part> {
            let (mut media, mut part) = (MediaReader::new(folder), Part::default());
            for (count, (index, question)) in share.iter().enumerate() {
                let measured = models
                    .measure(question, *index, &mut media)
                    .with_context(|| format!("question {}", question.id))?;
                let Some((outcome, pair)) = measured else { continue };
                // One write a line: workers share the file.
                let mut log = log;
                log.write_all((serde_json::to_string(&outcome)? + "\n").as_bytes())?;
                part.0.push(outcome);
                if *index < SAMPLED {
                    part.1.push(pair);
                }
                if (count + 1).is_multiple_of(100) {
                    eprintln!("  {} of {}", count + 1, share.len());
                }
            }
            Ok(part)
        };
        let handles: Vec<_> = open.chunks(size).map(|share| scope.spawn(move || work(share))).collect();
        handles
            .into_iter()
            .map(|handle| handle.join().map_err(|_| anyhow::anyhow!("a worker panicked"))?)
            .collect()
    })
}

/// What stands on the lines of a file, one JSON value each.
///
/// # Errors
/// If it cannot be read, or a line has another form.
pub(crate) fn read_lines<T: for<'de> serde::Deserialize<'de>>(file: &Path) -> Result<Vec<T>> {
    let open = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let parse = |(number, line): (usize, std::io::Result<String>)| {
        serde_json::from_str(&line?).with_context(|| format!("{}, line {}", file.display(), number + 1))
    };
    BufReader::new(open).lines().enumerate().map(parse).collect()
}

/// JSON for programs, and the measured part of the page for people.
fn write_results(figures: &Figures) -> Result<()> {
    let folder: PathBuf = places::root().join("planner");
    fs::write(folder.join("results.json"), serde_json::to_string_pretty(figures)? + "\n")?;
    let page = folder.join("RESULTS.md");
    let text = fs::read_to_string(&page).with_context(|| format!("cannot read {}", page.display()))?;
    let (before, rest) = text.split_once(BEGIN).context("RESULTS.md marks where figures go")?;
    let (_, after) = rest.split_once(END).context("RESULTS.md marks where figures end")?;
    let measured = figures.markdown()?;
    fs::write(&page, format!("{before}{BEGIN}\n{measured}{END}{after}"))?;
    eprintln!("\n{measured}\nwritten to planner/RESULTS.md and planner/results.json");
    Ok(())
}
