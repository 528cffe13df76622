//! Drawn answers: a seed repeats them, drafts of no source change their distribution, and what cannot be drawn is refused.
//!
//! Distributions are looked at through the engine itself, thousands of answers of two tokens, with Pearson's chi-squared
//! against the target's exact one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use msao_models::device::{self, DeviceKind};
use msao_models::{Assistant, CheckpointFiles, Generation, Prompt};
use msao_planner::{SplitMix64, acceptance::sample};
use msao_protocol::{
    Ask, Attach, Candidate, ClientMessage, Draft, ErrorCode, ImageInput, Media, MediaKind, Modality,
    Sampling, Speculation, TokenSource,
};
use msao_server::engine::{Engine, EngineEvent, Events, job};

use crate::checkpoint::checkpoint;
use crate::support::{Client, Options, TestServer, ask, png, state};

const QUESTION: &str = "what is this?";
/// Spreads the tiny model's choice over a few tokens.
const SAMPLING: Sampling = Sampling { temperature: 0.3, top_p: 0.9, seed: 0 };
const PATIENT: Speculation = Speculation::Distributed { patience_ms: 5_000 };
/// Answers of each kind.
const ANSWERS: u64 = 3_000;
/// The first two tokens of an answer, `None` behind its end.
type Pair = [Option<u32>; 2];

/// The target's own distribution of the first two tokens.
struct Exact {
    generation: Generation,
    end: u32,
    first: Vec<f32>,
    /// Behind each first token that can be drawn.
    second: BTreeMap<u32, Vec<f32>>,
}

impl Exact {
    fn load() -> Self {
        let device = pollster::block_on(device::open(DeviceKind::Cpu)).unwrap();
        let files = CheckpointFiles::from_dir(checkpoint()).unwrap();
        let model = Assistant::load(&files, &device).unwrap();
        let prompt = Prompt { question: QUESTION.into(), ..Prompt::default() };
        let generation = pollster::block_on(model.start(&prompt)).unwrap();
        let first = nucleus(generation.first_logits(), SAMPLING);
        let end = model.end_of_utterance_id();
        let after = |&token: &u32| {
            let mut generation = generation.clone();
            generation.adopt(&[token]).unwrap();
            let scores = pollster::block_on(generation.score(&[])).unwrap();
            (token, nucleus(scores.rows().next().unwrap(), SAMPLING))
        };
        let likely: Vec<u32> = (0..).zip(&first).filter(|(_, p)| **p > 0.0).map(|(token, _)| token).collect();
        let second = likely.iter().filter(|&&token| token != end).map(after).collect();
        Self { generation, end, first, second }
    }

    fn pairs(&self) -> BTreeMap<Pair, f64> {
        let mut pairs = BTreeMap::new();
        for (first, p) in (0..).zip(&self.first).filter(|(_, p)| **p > 0.0) {
            let Some(second) = self.second.get(&first) else {
                pairs.insert([None, None], f64::from(*p));
                continue;
            };
            for (token, q) in (0..).zip(second).filter(|(_, q)| **q > 0.0) {
                let token = (token != self.end).then_some(token);
                pairs.insert([Some(first), token], f64::from(*p) * f64::from(*q));
            }
        }
        pairs
    }
}

/// Softmax at the temperature, cut to the nucleus by sorting everything.
fn nucleus(scores: &[f32], sampling: Sampling) -> Vec<f32> {
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |score: &f32| (f64::from(score - highest) / f64::from(sampling.temperature)).exp();
    let total: f64 = scores.iter().map(weight).sum();
    let mut order: Vec<(usize, f64)> = scores.iter().map(|score| weight(score) / total).enumerate().collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    let (mut sum, mut kept) = (0.0, vec![0.0; scores.len()]);
    for (token, p) in order {
        kept[token] = p;
        sum += p;
        if sum >= f64::from(sampling.top_p) {
            break;
        }
    }
    kept.iter().map(|p| (p / sum) as f32).collect()
}

/// The most likely tokens, nearly alike: p / q then takes all values, and each part of the rule matters.
fn candidates(scores: &[f32]) -> Vec<Candidate> {
    let q = nucleus(scores, Sampling { temperature: 2.0, top_p: 1.0, seed: 0 });
    let mut candidates: Vec<Candidate> =
        (0..).zip(q).map(|(id, probability)| Candidate { id, probability }).collect();
    candidates.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    candidates.truncate(8);
    let total: f32 = candidates.iter().map(|candidate| candidate.probability).sum();
    candidates.iter().map(|one| Candidate { probability: one.probability / total, ..*one }).collect()
}

fn draw(candidates: &[Candidate], rng: &mut SplitMix64) -> u32 {
    let weights: Vec<f32> = candidates.iter().map(|candidate| candidate.probability).collect();
    candidates[sample(&weights, rng.uniform()) as usize].id
}

/// How far what was counted is from what was expected, in standard deviations of a normal (Wilson and Hilferty); 3.09 is
/// a p-value of 1e-3. What is expected less than 8 times is put together.
fn deviation(counts: &BTreeMap<Pair, u32>, expected: &BTreeMap<Pair, f64>) -> f64 {
    let answers = f64::from(counts.values().sum::<u32>());
    assert!(counts.keys().all(|pair| expected.contains_key(pair)), "an answer that cannot be");
    let (mut statistic, mut cells, mut rest) = (0.0, 0.0, (0.0, 0.0));
    for (pair, p) in expected {
        let (count, expected) = (f64::from(counts.get(pair).copied().unwrap_or(0)), p * answers);
        if expected >= 8.0 {
            statistic += (count - expected).powi(2) / expected;
            cells += 1.0;
        } else {
            rest = (rest.0 + count, rest.1 + expected);
        }
    }
    if rest.1 >= 8.0 {
        statistic += (rest.0 - rest.1).powi(2) / rest.1;
        cells += 1.0;
    }
    let freedom: f64 = cells - 1.0;
    assert!(freedom >= 10.0, "too few kinds of answers to tell anything: {freedom}");
    let spread = 2.0 / (9.0 * freedom);
    ((statistic / freedom).cbrt() - (1.0 - spread)) / spread.sqrt()
}

/// Answers of two tokens, many at a time, with the drafts that `drafts` gives for each; counted. Also how many drafts
/// were accepted.
fn count_answers(
    engine: &Arc<dyn Engine>,
    seeds: std::ops::Range<u64>,
    mut drafts: impl FnMut() -> Option<Draft>,
) -> (BTreeMap<Pair, u32>, u32) {
    let (mut counts, mut accepted) = (BTreeMap::new(), 0);
    let seeds: Vec<u64> = seeds.collect();
    for some in seeds.chunks(64) {
        let mut running: Vec<Events> = Vec::new();
        for &seed in some {
            let draft = drafts();
            // The drafts are there from the start; after a correction nobody waits for more.
            let speculation = match draft {
                Some(_) => Speculation::Distributed { patience_ms: 0 },
                None => Speculation::None,
            };
            let sampling = Some(Sampling { seed, ..SAMPLING });
            let (job, handle, events) = job(Ask { sampling, speculation, ..ask(1, QUESTION) }, 2);
            if let Some(draft) = draft {
                handle.draft(draft);
            }
            engine.submit(engine.reserve().unwrap(), job);
            running.push(events);
        }
        for mut events in running {
            let mut pair = [None; 2];
            loop {
                match pollster::block_on(events.next()).unwrap() {
                    EngineEvent::Settled { start, tokens, .. } => {
                        for (place, settled) in pair[start as usize..].iter_mut().zip(tokens) {
                            *place = Some(settled.token.id);
                        }
                    }
                    EngineEvent::Done(answer) => {
                        accepted += answer.receipt.accepted_drafts;
                        break;
                    }
                    other => panic!("not part of an answer: {other:?}"),
                }
            }
            *counts.entry(pair).or_default() += 1;
        }
    }
    (counts, accepted)
}

fn two_tokens(tokens: [u32; 2], distributions: Vec<Vec<Candidate>>) -> Draft {
    Draft { request_id: 1, revision: 0, start: 0, tokens: tokens.to_vec(), distributions, is_last: true }
}

#[test]
fn answers_are_distributed_as_the_targets_whoever_drafts() {
    let exact = Exact::load();
    let expected = exact.pairs();
    let engine = Arc::clone(&state(Options { places: 64, max_batch: 32, ..Options::default() }).engine);

    let (alone, _) = count_answers(&engine, 0..ANSWERS, || None);
    assert!(deviation(&alone, &expected) < 3.09, "{}", deviation(&alone, &expected));

    let choices: Vec<u32> = candidates(exact.generation.first_logits()).iter().map(|one| one.id).collect();
    let certain = two_tokens([choices[0], choices[1]], vec![]);
    let (drafted, accepted) = count_answers(&engine, ANSWERS..2 * ANSWERS, || Some(certain.clone()));
    assert!(deviation(&drafted, &expected) < 3.09, "{}", deviation(&drafted, &expected));
    assert!(accepted > ANSWERS as u32 / 50, "{accepted}");

    // The edge draws from distributions of its own, the second one whatever the first token was.
    let first = candidates(exact.generation.first_logits());
    let mut behind = exact.generation.clone();
    behind.adopt(&[choices[0]]).unwrap();
    let second = candidates(pollster::block_on(behind.score(&[])).unwrap().rows().next().unwrap());
    let mut rng = SplitMix64::new(11);
    let mut unverified = BTreeMap::new();
    let (drawn, accepted) = count_answers(&engine, 2 * ANSWERS..3 * ANSWERS, || {
        let tokens = [draw(&first, &mut rng), draw(&second, &mut rng)];
        *unverified.entry(tokens.map(Some)).or_default() += 1;
        Some(two_tokens(tokens, vec![first.clone(), second.clone()]))
    });
    assert!(deviation(&drawn, &expected) < 3.09, "{}", deviation(&drawn, &expected));
    assert!(accepted > ANSWERS as u32 / 5, "{accepted}");
    // Had all drafts been accepted, this test would have told.
    unverified.retain(|pair, _| expected.contains_key(pair));
    assert!(deviation(&unverified, &expected) > 10.0);
}

#[test]
fn the_statistic_finds_a_broken_rule() {
    // Two tokens that do not depend on each other; what is drafted differs a little from what the target wants.
    let target = [0.3_f32, 0.3, 0.2, 0.2];
    let edge = [0.35_f32, 0.25, 0.2, 0.2];
    let probability = |[a, b]: [usize; 2]| f64::from(target[a]) * f64::from(target[b]);
    let pairs: Vec<[usize; 2]> = (0..16).map(|pair| [pair / 4, pair % 4]).collect();
    let name = |pair: [usize; 2]| pair.map(|token| Some(token as u32));
    let expected: BTreeMap<Pair, f64> = pairs.iter().map(|&pair| (name(pair), probability(pair))).collect();
    let mut rng = SplitMix64::new(12);
    let mut counted = |from: &[f32]| {
        let mut counts = BTreeMap::new();
        for _ in 0..ANSWERS {
            let pair = [sample(from, rng.uniform()), sample(from, rng.uniform())];
            *counts.entry(pair.map(Some)).or_default() += 1;
        }
        deviation(&counts, &expected)
    };
    assert!(counted(&target) < 3.09);
    assert!(counted(&edge) > 4.0, "accepting every draft goes unnoticed");
}

async fn tokens_of(client: &mut Client, ask: Ask, drafts: &[Draft]) -> Vec<u32> {
    let id = ask.request_id;
    client.send(&ClientMessage::Ask(ask)).await;
    for draft in drafts {
        client.send(&ClientMessage::Draft(Draft { request_id: id, ..draft.clone() })).await;
    }
    // What came before counts, and nothing further is waited for.
    client.send(&ClientMessage::Steer { request_id: id, speculation: Speculation::None }).await;
    let answer = client.answer(id).await;
    assert!(answer.settled.iter().all(|one| one.token.probability > 0.0), "{answer:?}");
    answer.settled.iter().map(|one| one.token.id).collect()
}

fn drawn(request_id: u32, seed: u64, speculation: Speculation) -> Ask {
    Ask { sampling: Some(Sampling { seed, ..SAMPLING }), speculation, ..ask(request_id, QUESTION) }
}

#[actix_web::test]
async fn a_seed_repeats_an_answer_and_certain_drafts_do_not_change_it() {
    let server = TestServer::start(Options::default());
    let mut client = server.session().await;
    let greedy = tokens_of(&mut client, ask(1, QUESTION), &[]).await;
    let mut answers = BTreeSet::new();
    for seed in 1..=6 {
        let alone = tokens_of(&mut client, drawn(2, seed, Speculation::None), &[]).await;
        assert_eq!(tokens_of(&mut client, drawn(3, seed, Speculation::None), &[]).await, alone);
        let beside = Speculation::CoLocated { draft_tokens: 3 };
        client.send(&ClientMessage::Ask(drawn(4, seed, beside))).await;
        let drafted = client.answer(4).await;
        let tokens: Vec<u32> = drafted.settled.iter().map(|one| one.token.id).collect();
        assert_eq!(tokens, alone, "beside the target");
        assert!(drafted.receipt.proposed_drafts > 0, "{:?}", drafted.receipt);
        let draft = Draft { tokens: greedy.clone(), is_last: true, ..two_tokens([0; 2], vec![]) };
        assert_eq!(tokens_of(&mut client, drawn(5, seed, PATIENT), &[draft]).await, alone, "the edge's");
        let right = Draft { tokens: alone.clone(), is_last: true, ..two_tokens([0; 2], vec![]) };
        assert_eq!(tokens_of(&mut client, drawn(6, seed, PATIENT), &[right]).await, alone, "right ones");
        answers.insert(alone);
    }
    assert!(answers.len() > 4, "seeds hardly matter: {answers:?}");
    assert_eq!(tokens_of(&mut client, ask(7, QUESTION), &[]).await, greedy, "a greedy answer has changed");
}

#[actix_web::test]
async fn drawn_drafts_repeat_with_their_seed_and_are_credited() {
    let server = TestServer::start(Options::default());
    let mut client = server.session().await;
    let exact = Exact::load();
    let first = candidates(exact.generation.first_logits());
    let mut rng = SplitMix64::new(13);
    let mut accepted = 0;
    for seed in 1..=12 {
        let tokens = [draw(&first, &mut rng), draw(&first, &mut rng)];
        let draft = two_tokens(tokens, vec![first.clone(); 2]);
        let answer = tokens_of(&mut client, drawn(1, seed, PATIENT), std::slice::from_ref(&draft)).await;
        assert_eq!(
            tokens_of(&mut client, drawn(2, seed, PATIENT), std::slice::from_ref(&draft)).await,
            answer
        );
        // In two pieces; the first may have been looked at before the second came.
        client.send(&ClientMessage::Ask(drawn(3, seed, PATIENT))).await;
        let piece = |start: usize| Draft {
            request_id: 3,
            start: start as u32,
            tokens: tokens[start..=start].to_vec(),
            distributions: vec![first.clone()],
            is_last: start == 1,
            ..draft.clone()
        };
        client.send(&ClientMessage::Draft(piece(0))).await;
        client.send(&ClientMessage::Draft(piece(1))).await;
        client.send(&ClientMessage::Steer { request_id: 3, speculation: Speculation::None }).await;
        let credited = client.answer(3).await;
        accepted += credited.receipt.accepted_drafts;
        let sources = credited.receipt.tokens.iter().filter(|one| one.source == TokenSource::EdgeDraft);
        assert!(sources.count() as u32 <= credited.receipt.accepted_drafts);
        assert_eq!(credited.settled.first().map(|one| one.token.id), answer.first().copied());
    }
    assert!(accepted > 0, "no draft was ever accepted");
}

#[actix_web::test]
async fn late_media_greedy_neighbours_and_shared_passes_do_not_change_what_is_drawn() {
    let server = TestServer::start(Options { max_batch: 3, ..Options::default() });
    let mut client = server.session().await;
    let image = || ImageInput::Whole(Media { kind: MediaKind::Png, bytes: png(64, 64) });
    let whole = |id, seed| Ask { images: vec![image()], ..drawn(id, seed, Speculation::None) };
    let (one, other) =
        (tokens_of(&mut client, whole(1, 1), &[]).await, tokens_of(&mut client, whole(2, 2), &[]).await);
    let greedy = tokens_of(&mut client, ask(3, QUESTION), &[]).await;

    let early = Ask { pending: vec![Modality::Vision], ..drawn(4, 1, Speculation::None) };
    client.send(&ClientMessage::Ask(early)).await;
    client.send(&ClientMessage::Ask(whole(5, 2))).await;
    client.send(&ClientMessage::Ask(ask(6, QUESTION))).await;
    client
        .send(&ClientMessage::Attach(Attach {
            request_id: 4,
            images: vec![image()],
            clip: None,
            audio: None,
        }))
        .await;
    for (id, expected) in [(4, one), (5, other), (6, greedy)] {
        let answer = client.answer(id).await;
        let tokens: Vec<u32> = answer.settled.iter().map(|one| one.token.id).collect();
        assert_eq!(tokens, expected, "request {id}");
    }
}

#[actix_web::test]
async fn what_cannot_be_drawn_is_refused() {
    let server = TestServer::start(Options::default());
    let mut client = server.session().await;
    for (sampling, words) in [
        (Sampling { temperature: 0.0, ..SAMPLING }, ["temperature", "without sampling"]),
        (Sampling { temperature: f32::NAN, ..SAMPLING }, ["temperature", "NaN"]),
        (Sampling { top_p: 1.5, ..SAMPLING }, ["top_p", "1.5"]),
    ] {
        let asked = Ask { sampling: Some(sampling), ..ask(1, QUESTION) };
        client.refused_with(asked, ErrorCode::Unsupported, &words).await;
    }
    client.send(&ClientMessage::Ask(drawn(2, 1, PATIENT))).await;
    let half = vec![vec![Candidate { id: 1, probability: 0.5 }]; 2];
    client.send(&ClientMessage::Draft(Draft { request_id: 2, ..two_tokens([1, 1], half) })).await;
    let report = client.failure(2).await;
    assert_eq!(report.code, ErrorCode::Unsupported);
    assert!(report.message.contains("renormalise"), "{report:?}");
    server.assert_alive().await;
}
