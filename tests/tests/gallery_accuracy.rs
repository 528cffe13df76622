//! Both shipped models on the shipped samples and on filmed cards, natively and without any network: what the
//! page's visitors will see first has to be right.

use anyhow::{Result, ensure};
use msao_models::{Assistant, Prompt};
use msao_tests::{
    camera::{self, Shot},
    evaluation, native,
};

/// A question with its right answer.
struct Question {
    name: String,
    prompt: Prompt,
    answer: String,
}

/// Requires so many right answers in a hundred.
fn require(checkpoint: &str, questions: &[Question], percent: usize) -> Result<()> {
    let assistant: Assistant = native::load(checkpoint)?;
    let mut wrong = Vec::new();
    for question in questions {
        let got = native::answer(&assistant, &question.prompt)?;
        if got != question.answer {
            wrong.push(format!("{}: {got:?} instead of {:?}", question.name, question.answer));
        }
    }
    let (right, all) = (questions.len() - wrong.len(), questions.len());
    eprintln!("{checkpoint}: {right} of {all} right; wrong: {wrong:#?}");
    ensure!(right * 100 >= percent * all, "{checkpoint} is right {right} times in {all}; wrong: {wrong:#?}");
    Ok(())
}

fn gallery() -> Result<Vec<Question>> {
    let samples = evaluation::gallery()?;
    ensure!(samples.len() >= 20, "the gallery has only {} samples", samples.len());
    let question = |sample: evaluation::Sample| {
        Ok(Question { prompt: native::prompt(&sample)?, name: sample.id, answer: sample.answer })
    };
    samples.into_iter().map(question).collect()
}

/// Every question about every card, each about another frame of another film.
fn filmed_cards() -> Result<Vec<Question>> {
    let mut questions = Vec::new();
    for (seed, card) in (1..).zip(evaluation::cards()?) {
        let picture = image::open(card.image_file())?.to_rgb8();
        let frames = camera::frames(&picture, Shot { seed, ..Shot::default() });
        for (asked, frame) in card.questions.into_iter().zip(frames) {
            let prompt = native::prompt_about(frame, &asked.question)?;
            let name = format!("{}, {}", card.id, asked.question);
            questions.push(Question { name, prompt, answer: asked.answer });
        }
    }
    Ok(questions)
}

/// The target of the cloud model's training; the edge model is meant to be the weaker one.
#[test]
fn the_cloud_model_answers_the_gallery() -> Result<()> {
    require("pocket-cloud", &gallery()?, 95)
}

#[test]
fn the_edge_model_answers_most_of_the_gallery() -> Result<()> {
    require("pocket-edge", &gallery()?, 70)
}

#[test]
fn the_cloud_model_answers_filmed_cards() -> Result<()> {
    require("pocket-cloud", &filmed_cards()?, 85)
}

#[test]
fn the_edge_model_answers_most_of_the_filmed_cards() -> Result<()> {
    require("pocket-edge", &filmed_cards()?, 60)
}
