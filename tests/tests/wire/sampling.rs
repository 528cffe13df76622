//! Drawn answers and steering on the shipped weights: a seed repeats an answer whoever drafts for it, other seeds find other
//! words, and greedy answers are what they were.

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};
use msao_protocol::{
    Ask, Candidate, ClientMessage, Draft, ErrorCode, RequestId, Sampling, ServerMessage, Speculation,
    TokenId, TokenSource,
};
use msao_tests::{
    cloud::{self, CloudAnswer, CloudClient},
    evaluation::{self, Sample},
    server::Server,
};

use crate::ask_about;

/// The question with the longest answer about one picture.
const DESCRIPTION: &str = "15-describe";
/// Longer than any answer here takes, even on a busy machine.
const PATIENT: Speculation = Speculation::Distributed { patience_ms: 5_000 };
const CO_LOCATED: Speculation = Speculation::CoLocated { draft_tokens: 4 };

fn sampling(seed: u64) -> Sampling {
    Sampling { temperature: 0.7, top_p: 1.0, seed }
}

fn drawn(request_id: RequestId, sample: &Sample, seed: u64, speculation: Speculation) -> Result<Ask> {
    let (images, audio) = sample.inputs()?;
    let sampling = Some(sampling(seed));
    Ok(Ask { images, audio, sampling, speculation, ..cloud::question(request_id, &sample.question) })
}

fn answered(client: &mut CloudClient, ask: Ask) -> Result<CloudAnswer> {
    client.ask(ask)?.map_err(|report| anyhow::anyhow!("refused: {report:?}"))
}

fn ids(answer: &CloudAnswer) -> Vec<TokenId> {
    answer.tokens.iter().map(|token| token.id).collect()
}

fn draft(request_id: RequestId, tokens: Vec<TokenId>, distributions: Vec<Vec<Candidate>>) -> ClientMessage {
    ClientMessage::Draft(Draft { request_id, revision: 0, start: 0, tokens, distributions, is_last: true })
}

fn steer(request_id: RequestId, speculation: Speculation) -> ClientMessage {
    ClientMessage::Steer { request_id, speculation }
}

#[test]
fn a_seed_repeats_an_answer_and_another_finds_other_words() -> Result<()> {
    let server = Server::shared()?;
    let mut client = CloudClient::connect(server.address())?;
    let sample = evaluation::sample(DESCRIPTION)?;
    let greedy = ask_about(&mut client, 1, &sample)?;
    let mut answers = BTreeSet::new();
    for seed in 0..4 {
        let first = answered(&mut client, drawn(2, &sample, seed, Speculation::None)?)?;
        let again = answered(&mut client, drawn(3, &sample, seed, Speculation::None)?)?;
        ensure!(first.tokens == again.tokens, "seed {seed}: {:?}, then {:?}", first.text, again.text);
        // The pocket model is nearly certain of what it sees, so its second thoughts need heat.
        let ask = drawn(4, &sample, seed, Speculation::None)?;
        let hot = Sampling { temperature: 2.0, ..sampling(seed) };
        answers.insert(ids(&answered(&mut client, Ask { sampling: Some(hot), ..ask })?));
    }
    ensure!(answers.len() > 1, "all seeds draw the same: {answers:?}");
    let after = ask_about(&mut client, 5, &sample)?;
    ensure!(after.tokens == greedy.tokens, "a greedy answer has changed: {:?}", after.text);
    Ok(())
}

#[test]
fn certain_drafts_of_any_source_do_not_change_what_a_seed_draws() -> Result<()> {
    let server = Server::shared()?;
    let mut client = CloudClient::connect(server.address())?;
    let sample = evaluation::sample(DESCRIPTION)?;
    let greedy = ids(&ask_about(&mut client, 1, &sample)?);
    let mut accepted = 0;
    for seed in 0..4 {
        let alone = answered(&mut client, drawn(2, &sample, seed, Speculation::None)?)?;
        let beside = answered(&mut client, drawn(3, &sample, seed, CO_LOCATED)?)?;
        ensure!(ids(&beside) == ids(&alone), "seed {seed}: {:?}, alone {:?}", beside.text, alone.text);
        client.send(&ClientMessage::Ask(drawn(4, &sample, seed, PATIENT)?))?;
        client.send(&draft(4, greedy.clone(), vec![]))?;
        client.send(&steer(4, Speculation::None))?;
        let drafted = client.answer(4)?.map_err(|report| anyhow::anyhow!("refused: {report:?}"))?;
        ensure!(ids(&drafted) == ids(&alone), "seed {seed}: {:?}, alone {:?}", drafted.text, alone.text);
        accepted += drafted.receipt.accepted_drafts;
    }
    ensure!(accepted > 0, "no greedy draft was ever drawn");
    Ok(())
}

#[test]
fn what_cannot_be_drawn_is_refused_with_its_remedy() -> Result<()> {
    let server = Server::shared()?;
    let mut client = CloudClient::connect(server.address())?;
    let question = |id| cloud::question(id, "how many objects are there?");
    let wrong = [
        (Sampling { temperature: 0.0, ..sampling(1) }, "without sampling"),
        (Sampling { temperature: f32::NAN, ..sampling(1) }, "without sampling"),
        (Sampling { top_p: 0.0, ..sampling(1) }, "give 1"),
    ];
    for (request_id, (sampling, remedy)) in (1..).zip(wrong) {
        match client.ask(Ask { sampling: Some(sampling), ..question(request_id) })? {
            Err(report) => ensure!(
                report.code == ErrorCode::Unsupported && report.message.contains(remedy),
                "{report:?}"
            ),
            Ok(answer) => bail!("{sampling:?} was answered: {answer:?}"),
        }
    }
    let candidate = |id, probability| Candidate { id, probability };
    let wrong = [
        (vec![vec![candidate(300, 0.5)]], "renormalise"),
        (vec![vec![candidate(301, 1.0)]], "was drawn from"),
        (vec![vec![candidate(300, 1.0)]; 2], "one for each token"),
    ];
    for (request_id, (distributions, remedy)) in (10..).zip(wrong) {
        let asked = Ask { sampling: Some(sampling(1)), speculation: PATIENT, ..question(request_id) };
        client.send(&ClientMessage::Ask(asked))?;
        client.send(&draft(request_id, vec![300], distributions))?;
        match client.answer(request_id)? {
            Err(report) => ensure!(report.message.contains(remedy), "no `{remedy}` in {report:?}"),
            Ok(answer) => bail!("a draft that is none was used: {answer:?}"),
        }
    }
    ensure!(client.ask(question(20))?.is_ok(), "the session did not survive");
    Ok(())
}

#[test]
fn an_answer_is_steered_to_the_draft_model_in_its_middle() -> Result<()> {
    let server = Server::shared()?;
    let mut client = CloudClient::connect(server.address())?;
    let sample = evaluation::sample(DESCRIPTION)?;
    let alone = ask_about(&mut client, 1, &sample)?;
    let (images, audio) = sample.inputs()?;
    let asked = Ask { images, audio, speculation: PATIENT, ..cloud::question(2, &sample.question) };
    client.send(&ClientMessage::Ask(asked))?;
    let first = ids(&alone)[..2].to_vec();
    client.send(&ClientMessage::Draft(Draft {
        request_id: 2,
        revision: 0,
        start: 0,
        tokens: first,
        distributions: vec![],
        is_last: false,
    }))?;
    let mut tokens = match client.receive()? {
        ServerMessage::Settled { request_id: 2, start: 0, tokens, .. } => tokens,
        other => bail!("expected the drafts to stand, got {other:?}"),
    };
    client.send(&steer(2, CO_LOCATED))?;
    let receipt = loop {
        match client.receive()? {
            ServerMessage::Settled { request_id: 2, tokens: more, .. } => tokens.extend(more),
            ServerMessage::Done { request_id: 2, receipt, .. } => break receipt,
            other => bail!("not part of the answer: {other:?}"),
        }
    };
    ensure!(tokens.iter().map(|settled| settled.token.id).eq(ids(&alone)), "another answer: {tokens:?}");
    let by = |source| receipt.tokens.iter().filter(|origin| origin.source == source).count();
    ensure!(by(TokenSource::EdgeDraft) == 2 && by(TokenSource::CoLocatedDraft) > 0, "{receipt:?}");
    Ok(())
}
