//! The edge's answer as a draft: corrections while it is written and after its end, and tokens that are drawn.
//!
//! What the engine writes behind a correction is held to a fresh run of the model that starts with the same prefix.

use std::{cell::RefCell, collections::HashMap};

use msao_models::{Assistant, DeviceKind, ModelError, Prompt, device};
use msao_protocol::{
    Candidate, FinishReason, Sampling, SpanKind, Token, TokenFate, TokenId, TokenOrigin, TokenSource,
};
use msao_runtime::{
    engine::{EdgeAnswer, EdgeEngine},
    messages::EdgeErrorCode,
    steering::{Correction, EdgeQuestion, EdgeStep, Steer},
};
use pollster::block_on;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use crate::{checkpoint, engine, plain, sample};

/// Most tokens of an answer.
const BOUND: usize = 24;

fn assistant() -> Assistant {
    Assistant::load(&checkpoint(), &block_on(device::open(DeviceKind::Cpu)).unwrap()).unwrap()
}

/// What the model itself makes of an answer that starts with `prefix`.
fn forced(assistant: &Assistant, prompt: &Prompt, prefix: &[TokenId]) -> Vec<TokenId> {
    let mut generation = block_on(assistant.start(prompt)).unwrap().with_max_new_tokens(BOUND);
    generation.adopt(prefix).unwrap();
    while block_on(generation.next_token()).unwrap().is_some() {}
    generation.tokens().to_vec()
}

/// Some tokens that the model knows but would not write here.
fn strangers(assistant: &Assistant) -> Vec<TokenId> {
    assistant.tokenizer().encode("seven blue dogs left a drum on the moon").unwrap()
}

fn open(prompt: &Prompt) -> EdgeQuestion<'_> {
    EdgeQuestion { awaits_target: true, ..plain(prompt, BOUND) }
}

fn correct(revision: u32, start: usize, tokens: &[TokenId]) -> Steer {
    Steer::Correct(Correction { revision, start: start as u32, tokens: tokens.to_vec() })
}

/// What a page would know of an answer: the tokens that stand and how often the answer ended.
#[derive(Debug, Default)]
struct Page {
    tokens: Vec<TokenId>,
    revision: u32,
    /// Revision and tokens at each end.
    ends: Vec<(u32, Vec<TokenId>)>,
}

impl Page {
    fn hear(&mut self, step: &EdgeStep<'_>) {
        match step {
            EdgeStep::Token { revision, index, token, .. } => {
                assert_eq!((*revision, *index as usize), (self.revision, self.tokens.len()));
                self.tokens.push(token.id);
            }
            EdgeStep::Ended { answer } => {
                assert_eq!(answer.revision, self.revision);
                self.ends.push((answer.revision, self.tokens.clone()));
            }
        }
    }

    fn correct(&mut self, start: usize, tokens: &[TokenId]) -> Steer {
        self.revision += 1;
        self.tokens.truncate(start);
        self.tokens.extend(tokens);
        correct(self.revision, start, tokens)
    }
}

/// Asks, and answers each step with what `steer` makes of it after the page has heard it.
fn run(
    engine: &EdgeEngine,
    question: &EdgeQuestion<'_>,
    mut steer: impl FnMut(&mut Page, &EdgeStep<'_>) -> Steer,
) -> Result<(EdgeAnswer, Page), ModelError> {
    let page = RefCell::new(Page::default());
    let on_step = async |step: EdgeStep<'_>| {
        let mut page = page.borrow_mut();
        page.hear(&step);
        steer(&mut page, &step)
    };
    let answer = block_on(engine.ask(question, async |_| true, on_step))?;
    Ok((answer, page.into_inner()))
}

fn is_end(step: &EdgeStep<'_>) -> bool {
    matches!(step, EdgeStep::Ended { .. })
}

#[test]
fn behind_a_correction_stands_what_a_fresh_run_writes_there() {
    let (engine, assistant) = (engine(), assistant());
    let prompt = sample("16-say-all");
    let own = forced(&assistant, &prompt, &[]);
    assert!(own.len() >= 3, "{own:?}");
    let strangers = strangers(&assistant);
    for start in 0..=own.len() {
        for len in [1, 3] {
            // At once, late, and after the end.
            for written in [start, own.len().min(start + 2), usize::MAX] {
                let tokens = &strangers[start % 4..][..len];
                let prefix = [&own[..start], tokens].concat();
                let (answer, page) = run(&engine, &open(&prompt), |page, step| {
                    let is_due = page.tokens.len() == written || is_end(step);
                    // Before the first token nothing can be said: then it comes after that.
                    let is_due = is_due || written == 0;
                    if page.revision == 0 && is_due { page.correct(start, tokens) } else { Steer::GoOn }
                })
                .unwrap();
                let case = format!("{len} tokens from {start} on, at {written}");
                assert_eq!(page.revision, 1, "{case}");
                assert_eq!(page.tokens, forced(&assistant, &prompt, &prefix), "{case}");
                assert_eq!(page.ends.last(), Some(&(1, page.tokens.clone())), "{case}");
                assert_eq!(answer.revision, 1, "{case}");
                assert_eq!(answer.text, assistant.tokenizer().decode(&page.tokens), "{case}");
            }
        }
    }
}

#[test]
fn whatever_is_corrected_and_whenever_the_end_is_that_of_the_last_prefix() {
    let (engine, assistant) = (engine(), assistant());
    let prompt = sample("15-describe");
    let strangers = strangers(&assistant);
    // How many steps to let pass, from which share of the answer on, and what stands there.
    let correction = (0_usize..9, 0.0..=1.0, prop::collection::vec(prop::sample::select(strangers), 0..4));
    let scripts = prop::collection::vec(correction, 1..5);
    let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&scripts, |script| {
        let (mut script, mut steps, mut prefix) = (script.into_iter().peekable(), 0, Vec::new());
        let (answer, page) = run(&engine, &open(&prompt), |page, step| {
            steps += 1;
            let due = script.next_if(|(after, ..)| steps > *after || is_end(step));
            let Some((_, share, tokens)) = due else { return Steer::GoOn };
            steps = 0;
            let start = (page.tokens.len() as f64 * share) as usize;
            let tokens = &tokens[..tokens.len().min(BOUND - start)];
            let steer = page.correct(start, tokens);
            prefix.clone_from(&page.tokens);
            steer
        })
        .unwrap();
        prop_assert_eq!(&page.tokens, &forced(&assistant, &prompt, &prefix));
        prop_assert_eq!(answer.revision, page.revision);
        prop_assert_eq!(answer.text, assistant.tokenizer().decode(&page.tokens));
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn the_receipt_is_of_the_first_answer_and_of_all_work() {
    let (engine, assistant) = (engine(), assistant());
    let prompt = sample("15-describe");
    let (alone, heard) = run(&engine, &plain(&prompt, BOUND), |_, _| Steer::GoOn).unwrap();
    assert!(heard.ends.is_empty(), "who awaits no target hears no end");

    let stranger = &strangers(&assistant)[..1];
    let mut first = None;
    let (after, page) = run(&engine, &open(&prompt), |page, step| {
        let EdgeStep::Ended { answer } = step else { return Steer::GoOn };
        match page.revision {
            0 => {
                first = Some((*answer).clone());
                page.correct(1, stranger)
            }
            1 => page.correct(2, stranger),
            _ => Steer::GoOn,
        }
    })
    .unwrap();
    let first = first.unwrap();
    assert_eq!((&first.text, first.receipt.flops), (&alone.text, alone.receipt.flops));
    assert_eq!(page.ends.iter().map(|end| end.0).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(after.receipt.tokens, alone.receipt.tokens);
    assert_eq!(after.receipt.completion_tokens, alone.receipt.completion_tokens);
    assert!(after.receipt.flops > first.receipt.flops);
    let decode = |answer: &EdgeAnswer| {
        let spans = answer.receipt.spans.iter().filter(|span| span.kind == SpanKind::Decode);
        spans.map(|span| span.ms).collect::<Vec<_>>()
    };
    let (first, all) = (decode(&first), decode(&after));
    assert!(first.len() == 1 && all.len() == 1 && all[0] > first[0], "{first:?} {all:?}");
}

#[test]
fn a_correction_before_the_end_is_noted_in_the_first_answer() {
    let (engine, assistant) = (engine(), assistant());
    let prompt = sample("15-describe");
    let strangers = &strangers(&assistant)[..3];
    let (answer, page) = run(&engine, &plain(&prompt, BOUND), |page, _| {
        if page.revision == 0 && page.tokens.len() == 2 { page.correct(1, strangers) } else { Steer::GoOn }
    })
    .unwrap();
    let origin = |source, fate| TokenOrigin { source, fate };
    let (own, corrected, written) = (
        origin(TokenSource::EdgeDraft, TokenFate::Unverified),
        origin(TokenSource::Target, TokenFate::Corrected),
        origin(TokenSource::Target, TokenFate::Written),
    );
    assert_eq!(answer.receipt.tokens[..4], [own, corrected, written, written]);
    assert!(answer.receipt.tokens[4..].iter().all(|origin| *origin == own));
    assert_eq!(answer.receipt.completion_tokens as usize, page.tokens.len());
}

#[test]
fn what_stands_already_is_not_run_again() {
    let (engine, assistant) = (engine(), assistant());
    let prompt = sample("15-describe");
    let stranger = strangers(&assistant)[0];
    let flops_of = |start: usize| {
        let corrected = run(&engine, &open(&prompt), |page, step| {
            if page.revision > 0 || !is_end(step) {
                return Steer::GoOn;
            }
            let standing = [&page.tokens[start..2], &[stranger]].concat();
            page.correct(start, &standing)
        });
        corrected.unwrap().0.receipt.flops
    };
    assert_eq!(flops_of(0), flops_of(2), "the prefix was given as well");
}

#[test]
fn no_correction_outgrows_the_bound() {
    let (engine, assistant) = (engine(), assistant());
    let prompt = sample("15-describe");
    let strangers = strangers(&assistant);
    let question = EdgeQuestion { max_new_tokens: 4, ..open(&prompt) };
    for (start, len) in [(2, 2), (2, 5), (4, 3)] {
        let mut ends = Vec::new();
        let on_step = async |step: EdgeStep<'_>| {
            match step {
                EdgeStep::Ended { answer } if answer.revision == 0 => {
                    return correct(1, start, &strangers[..len]);
                }
                EdgeStep::Ended { answer } => ends.push((answer.finish_reason, answer.text.clone())),
                EdgeStep::Token { revision, .. } => assert_eq!(revision, 0, "nothing fits behind it"),
            }
            Steer::GoOn
        };
        block_on(engine.ask(&question, async |_| true, on_step)).unwrap();
        let own = &forced(&assistant, &prompt, &[])[..start];
        let text = assistant.tokenizer().decode(&[own, &strangers[..4 - start]].concat());
        assert_eq!(ends, [(FinishReason::Length, text)]);
    }
}

#[test]
fn corrections_that_cannot_be_are_refused() {
    let (engine, assistant) = (engine(), assistant());
    let prompt = sample("15-describe");
    let vocab_size = assistant.config().text_config.vocab_size as TokenId;
    let cases = [
        (correct(1, 3, &[5]), "those between"),
        (correct(1, 0, &[vocab_size]), "vocabulary"),
        (correct(1, 0, &[assistant.end_of_utterance_id()]), "release"),
        (correct(0, 0, &[5]), "rising"),
    ];
    for (steer, remedy) in cases {
        let refused = run(&engine, &open(&prompt), |_, _| steer.clone()).unwrap_err();
        assert_eq!(EdgeErrorCode::of(&refused), EdgeErrorCode::InvalidInput);
        assert!(refused.to_string().contains(remedy), "{refused}");
    }
}

#[test]
fn drafting_can_be_stopped_behind_a_correction() {
    let (engine, assistant) = (engine(), assistant());
    let prompt = sample("15-describe");
    let own = forced(&assistant, &prompt, &[]);
    let (answer, page) = run(&engine, &open(&prompt), |page, step| match page.revision {
        0 if is_end(step) => page.correct(0, &own[..2]),
        0 => Steer::GoOn,
        _ => Steer::Stop,
    })
    .unwrap();
    assert_eq!(page.ends.len(), 1);
    assert_eq!((answer.finish_reason, answer.revision), (FinishReason::Cancelled, 1));
    assert_eq!(answer.text, assistant.tokenizer().decode(&page.tokens));
}

/// Tokens with their candidates.
fn drawn(
    engine: &EdgeEngine,
    prompt: &Prompt,
    max_new_tokens: usize,
    sampling: Sampling,
) -> Vec<(Token, Vec<Candidate>)> {
    let mut heard = Vec::new();
    let on_step = async |step: EdgeStep<'_>| {
        if let EdgeStep::Token { token, candidates, .. } = step {
            heard.push((token.clone(), candidates.to_vec()));
        }
        Steer::GoOn
    };
    let question = EdgeQuestion { sampling: Some(sampling), ..plain(prompt, max_new_tokens) };
    block_on(engine.ask(&question, async |_| true, on_step)).unwrap();
    heard
}

const WARM: Sampling = Sampling { temperature: 2.0, top_p: 0.98, seed: 3 };

#[test]
fn drawn_tokens_are_among_their_candidates_and_the_seed_decides() {
    let (engine, prompt) = (engine(), sample("17-say-all"));
    let first = drawn(&engine, &prompt, BOUND, WARM);
    assert!(!first.is_empty());
    for (token, candidates) in &first {
        assert!((1..=Candidate::MOST).contains(&candidates.len()));
        let sum: f32 = candidates.iter().map(|candidate| candidate.probability).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{sum}");
        assert!(candidates.iter().any(|candidate| candidate.id == token.id));
        assert!((0.0..=1.0).contains(&token.probability));
    }
    assert_eq!(drawn(&engine, &prompt, BOUND, WARM), first);
    let others = (4..12).map(|seed| drawn(&engine, &prompt, BOUND, Sampling { seed, ..WARM }));
    assert!(others.into_iter().any(|other| other != first), "all seeds draw the same");
}

#[test]
fn a_cold_draw_is_the_greedy_answer() {
    let (engine, assistant) = (engine(), assistant());
    for id in ["01-colour", "17-say-all"] {
        let prompt = sample(id);
        let cold = Sampling { temperature: 1e-6, top_p: 1.0, seed: 9 };
        let tokens: Vec<_> = drawn(&engine, &prompt, BOUND, cold).iter().map(|(token, _)| token.id).collect();
        assert_eq!(tokens, forced(&assistant, &prompt, &[]), "{id}");
    }
}

#[test]
fn tokens_are_drawn_as_often_as_their_candidates_say() {
    const RUNS: u64 = 400;
    let engine = engine();
    let prompt = Prompt { question: "what color is the star?".into(), ..Prompt::default() };
    let mut counts: HashMap<TokenId, u32> = HashMap::new();
    let mut candidates = Vec::new();
    for seed in 0..RUNS {
        // An end token is drawn like any other, and is no token.
        if let Some((token, from)) = drawn(&engine, &prompt, 1, Sampling { seed, ..WARM }).pop() {
            *counts.entry(token.id).or_default() += 1;
            candidates = from;
        }
    }
    assert!(candidates.len() > 2, "{candidates:?}");
    for Candidate { id, probability } in candidates {
        let (p, share) = (f64::from(probability), f64::from(counts.remove(&id).unwrap_or(0)) / RUNS as f64);
        let deviation = (p * (1.0 - p) / RUNS as f64).sqrt();
        assert!((share - p).abs() < 4.0 * deviation + 1e-9, "token {id}: {share} for {p}");
    }
    assert!(counts.is_empty(), "{counts:?} was never possible");
}

#[test]
fn a_sampled_answer_is_drawn_on_behind_a_correction() {
    let (engine, assistant) = (engine(), assistant());
    let prompt = sample("17-say-all");
    let question = EdgeQuestion { sampling: Some(WARM), ..open(&prompt) };
    let stranger = &strangers(&assistant)[..2];
    let (answer, page) = run(&engine, &question, |page, step| {
        if page.revision == 0 && is_end(step) { page.correct(0, stranger) } else { Steer::GoOn }
    })
    .unwrap();
    assert!(page.tokens.starts_with(stranger));
    assert_eq!(answer.text, assistant.tokenizer().decode(&page.tokens));

    let refused = EdgeQuestion { sampling: Some(Sampling { temperature: 0.0, ..WARM }), ..question };
    let refused = run(&engine, &refused, |_, _| Steer::GoOn).unwrap_err();
    assert_eq!(EdgeErrorCode::of(&refused), EdgeErrorCode::InvalidInput);
}
