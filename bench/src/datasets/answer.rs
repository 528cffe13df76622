//! A data set from its files to its results: asks, writes what the evaluators read, and scores.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;

use super::{
    cost::{Cost, Costs},
    error::DatasetError,
    files, mmbench,
    run::{self, Answerer, Item},
    vqa,
};

/// VQAv2 as published.
#[derive(Debug, Args)]
pub(crate) struct VqaFiles {
    /// Such as v2_OpenEnded_mscoco_val2014_questions.json
    #[arg(long)]
    pub(crate) questions: PathBuf,
    /// Such as v2_mscoco_val2014_annotations.json, to score by; test splits have none
    #[arg(long)]
    pub(crate) annotations: Option<PathBuf>,
    /// Folder of COCO_val2014_000000000042.jpg and so on
    #[arg(long)]
    pub(crate) images: PathBuf,
    /// Said with every question; empty for the question alone
    #[arg(long, default_value = vqa::INSTRUCTION)]
    pub(crate) instruction: String,
}

/// Where answers go.
#[derive(Debug, Args)]
pub(crate) struct Output {
    /// The file to write; journal and accuracies go beside it
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// At most so many questions, the first ones
    #[arg(long)]
    pub(crate) limit: Option<usize>,
}

/// Answers VQAv2; the accuracy, where there are annotations. Runs that were cut are gone on with.
///
/// # Errors
/// If a file cannot be used, or whoever answers goes.
pub(crate) fn vqa(
    VqaFiles { questions, annotations, images, instruction }: &VqaFiles,
    Output { out, limit }: &Output,
    answerers: &mut [impl Answerer],
) -> Result<Option<vqa::Accuracy>> {
    ensure!(images.is_dir(), "{} is no folder; --images takes that of the pictures", images.display());
    let read = vqa::Questions::read(questions, limit.unwrap_or(usize::MAX), instruction)?;
    let dataset = format!("VQAv2, {}", files::identity(questions)?);
    let image = |place| files::image(&read.image_file(images, place));
    let answered = run::ask(&read.items, image, answerers, out, (&dataset, instruction))?;
    vqa::write(out, &read.items, &answered.answers)?;
    eprintln!("{} answers in {}", answered.answers.len(), out.display());
    let costs = costs(&answered.costs);
    let Some(annotations) = annotations else { return Ok(None) };
    let accuracy = vqa::score(annotations, &answered.answers)?;
    keep(out, &accuracy, costs.as_ref())?;
    Ok(Some(accuracy))
}

/// Answers all rotations of MMBench's questions, and scores them. Runs that were cut are gone on with.
///
/// # Errors
/// If a file cannot be used, or whoever answers goes.
pub(crate) fn mmbench(
    tsv: &Path,
    Output { out, limit }: &Output,
    answerers: &mut [impl Answerer],
) -> Result<mmbench::Accuracy> {
    let mut table = mmbench::Table::open(tsv)?;
    let asked = mmbench::rotations(&table, limit.unwrap_or(usize::MAX))?;
    let items: Vec<Item> = asked.iter().map(mmbench::Asked::item).collect();
    let dataset = format!("MMBench, {}", files::identity(tsv)?);
    let image = |place: usize| table.image(asked[place].image_index);
    let answered = run::ask(&items, image, answerers, out, (&dataset, mmbench::INSTRUCTION))?;
    let left_out = mmbench::write(out, &asked, &answered.answers)?;
    eprintln!("{} answers in {}; {left_out} questions left out", answered.answers.len(), out.display());
    let costs = costs(&answered.costs);
    let accuracy = mmbench::score(&mmbench::read(out)?);
    keep(out, &accuracy, costs.as_ref())?;
    Ok(accuracy)
}

/// What the answers took, said and returned.
fn costs(costs: &[Cost]) -> Option<Costs> {
    let costs = Costs::of(costs)?;
    eprintln!("{costs}");
    Some(costs)
}

/// Accuracies in their evaluator's form, and what they cost.
#[derive(Serialize)]
struct Outcome<'a, A> {
    #[serde(flatten)]
    accuracy: &'a A,
    costs: Option<&'a Costs>,
}

/// Writes accuracies beside the output.
fn keep(out: &Path, accuracy: &impl Serialize, costs: Option<&Costs>) -> Result<()> {
    let mut file = OsString::from(out);
    file.push(".accuracy.json");
    let json = serde_json::to_string_pretty(&Outcome { accuracy, costs })? + "\n";
    Ok(fs::write(&file, json).map_err(DatasetError::file(Path::new(&file)))?)
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde_json::{Value, json};

    use super::{
        super::{
            run::{Answer, NoAnswer},
            scratch::Scratch,
        },
        *,
    };

    /// Answers what the picture says, its bytes being the answer.
    struct Reader;

    impl Answerer for Reader {
        fn model(&self) -> String {
            "reader".into()
        }

        fn answer(&mut self, question: &str, image: &[u8]) -> Result<Answer, NoAnswer> {
            let says = String::from_utf8_lossy(image);
            // Where there are options, the letter of the one that the picture says.
            let option = question.lines().find_map(|line| line.strip_suffix(&format!(". {}", says.trim())));
            let text = option.map_or_else(|| says.trim().to_owned(), str::to_owned);
            let cost = Cost { total_ms: 40.0, up_bytes: Some(image.len() as u64), ..Cost::default() };
            Ok(Answer { text, cost: Some(cost) })
        }
    }

    fn accuracy_file(out: &Path) -> Value {
        let file = format!("{}.accuracy.json", out.display());
        serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
    }

    #[test]
    fn vqa_goes_from_published_files_to_results_and_accuracies() {
        let scratch = Scratch::new();
        let question = |id: u64| json!({"question_id": id, "image_id": id / 10, "question": "Which color?"});
        let questions = json!({
            "data_subtype": "val2014", "questions": [question(10), question(20), question(30), question(40)],
        });
        let annotation = |id: u64, kind: &str, right: &str| {
            let people = (1..=10).map(|person| {
                let answer = if person <= 2 { "other" } else { right };
                json!({"answer": answer, "answer_id": person, "answer_confidence": "yes"})
            });
            json!({"question_id": id, "image_id": id / 10, "question_type": "which", "answer_type": kind,
                "answers": people.collect::<Vec<_>>()})
        };
        let annotations = json!({"annotations": [
            annotation(10, "other", "red"), annotation(20, "number", "2"), annotation(30, "other", "blue"),
            annotation(40, "other", "none"),
        ]});
        // The picture of question 40 is missing.
        scratch.write("COCO_val2014_000000000001.jpg", "The red.");
        scratch.write("COCO_val2014_000000000002.jpg", "two");
        scratch.write("COCO_val2014_000000000003.jpg", "green");
        let files = VqaFiles {
            questions: scratch.write("questions.json", questions.to_string()),
            annotations: Some(scratch.write("annotations.json", annotations.to_string())),
            images: scratch.folder().to_owned(),
            instruction: String::new(),
        };
        let output = Output { out: scratch.path("results.json"), limit: None };
        let accuracy = vqa(&files, &output, &mut [Reader]).unwrap().unwrap();
        assert!((accuracy.overall.percent().unwrap() - 200.0 / 3.0).abs() < 1e-9, "{accuracy}");
        assert_eq!(accuracy.unanswered, 1);
        let kept = accuracy_file(&output.out);
        assert_eq!((&kept["overall"], &kept["perAnswerType"]["other"]), (&json!(66.67), &json!(50.0)));
        assert_eq!(
            (&kept["costs"]["p50_ms"], &kept["costs"]["up_bytes"]),
            (&json!(40.0), &json!(16.0 / 3.0))
        );
        let results = vqa::read(&output.out).unwrap();
        assert_eq!((results.len(), &*results[&10]), (3, "The red."));
        assert!(accuracy.to_string().contains("66.67"), "{accuracy}");

        let lost = VqaFiles { images: scratch.path("nowhere"), ..files };
        assert!(vqa(&lost, &output, &mut [Reader]).unwrap_err().to_string().contains("--images"));
    }

    #[test]
    fn mmbench_goes_from_the_tsv_to_predictions_and_accuracies() {
        let scratch = Scratch::new();
        let picture = |says: &str| STANDARD.encode(format!("{says:<60}"));
        let (cat, dog) = (picture("cat"), picture("dog"));
        let tsv = format!(
            "index\tquestion\tA\tB\tC\tD\tanswer\tcategory\timage\n\
             1\tWhat?\tcat\tdog\tcow\t\tA\tanimals\t{cat}\n\
             2\tWhat?\tcat\tdog\tcow\tbird\tC\tanimals\t{dog}\n\
             3\tWhat?\tcat\tdog\t\t\tB\tpets\t{dog}\n\
             4\tWhat?\tcat\tdog\t\t\tB\tpets\t\n"
        );
        let tsv = scratch.write("mmbench.tsv", tsv);
        let output = Output { out: scratch.path("predictions.tsv"), limit: None };
        let accuracy = mmbench(&tsv, &output, &mut [Reader]).unwrap();
        assert_eq!((accuracy.overall.count(), accuracy.category["animals"].percent()), (3, Some(50.0)));
        assert_eq!(accuracy.category["pets"].percent(), Some(100.0));
        assert_eq!(accuracy_file(&output.out)["overall"], 66.67);
        let rows = mmbench::read(&output.out).unwrap();
        assert_eq!(rows.len(), 3 + 4 + 2);
        let few = Output { out: scratch.path("few.tsv"), limit: Some(1) };
        assert_eq!(mmbench(&tsv, &few, &mut [Reader]).unwrap().overall.percent(), Some(100.0));
    }
}
