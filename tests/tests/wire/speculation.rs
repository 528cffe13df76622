//! Drafts of every source on the shipped weights: for each sample of the gallery the answer is the target's own.

use std::thread;

use anyhow::{Context, Result, bail, ensure};
use msao_protocol::{
    Ask, Attach, ClientMessage, Draft, ErrorCode, FinishReason, Modality, ServerMessage, Speculation,
    TokenFate, TokenId, TokenOrigin, TokenSource,
};
use msao_tests::{
    cloud::{self, CloudAnswer, CloudClient},
    evaluation::{self, Sample},
    server::Server,
};

use crate::ask_about;

/// Longer than any answer here takes, even on a busy machine.
const PATIENT: Speculation = Speculation::Distributed { patience_ms: 5_000 };
/// Hardly any.
const IMPATIENT: Speculation = Speculation::Distributed { patience_ms: 5 };

fn question(request_id: u32, sample: &Sample, speculation: Speculation) -> Result<Ask> {
    let (images, audio) = sample.inputs()?;
    Ok(Ask { images, audio, speculation, ..cloud::question(request_id, &sample.question) })
}

/// The sample's question with all media left for later, and those media.
fn begun(request_id: u32, sample: &Sample) -> Result<(Ask, Attach)> {
    let (images, audio) = sample.inputs()?;
    let mut pending = Vec::new();
    pending.extend((!images.is_empty()).then_some(Modality::Vision));
    pending.extend(audio.is_some().then_some(Modality::Audio));
    let ask = Ask { pending, ..cloud::question(request_id, &sample.question) };
    Ok((ask, Attach { request_id, images, clip: None, audio }))
}

fn draft(request_id: u32, tokens: Vec<TokenId>) -> ClientMessage {
    ClientMessage::Draft(Draft {
        request_id,
        revision: 0,
        start: 0,
        tokens,
        distributions: Vec::new(),
        is_last: true,
    })
}

fn answered(client: &mut CloudClient, request_id: u32, messages: &[ClientMessage]) -> Result<CloudAnswer> {
    for message in messages {
        client.send(message)?;
    }
    client.answer(request_id)?.map_err(|report| anyhow::anyhow!("refused: {report:?}"))
}

fn ids(answer: &CloudAnswer) -> Vec<TokenId> {
    answer.tokens.iter().map(|token| token.id).collect()
}

fn count(answer: &CloudAnswer, source: TokenSource, fate: TokenFate) -> usize {
    answer.receipt.tokens.iter().filter(|&&origin| origin == TokenOrigin { source, fate }).count()
}

#[test]
fn no_draft_of_any_source_changes_an_answer() -> Result<()> {
    let server = Server::shared()?;
    let mut client = CloudClient::connect(server.address())?;
    ensure!(client.model.co_located_draft, "the shipped pair drafts on the server too");
    let mut co_located = (0, 0);
    let mut on_partial_context = 0;
    for (index, sample) in (0..).zip(evaluation::gallery()?) {
        let id = |mode: u32| index * 10 + mode;
        let alone = ask_about(&mut client, id(0), &sample)?;
        let tokens = ids(&alone);
        let same = |answer: &CloudAnswer, mode: &str| {
            ensure!(ids(answer) == tokens, "{} {mode}: {:?}, alone {:?}", sample.id, answer.text, alone.text);
            ensure!(answer.receipt.prompt_tokens == alone.receipt.prompt_tokens, "{} {mode}", sample.id);
            Ok(())
        };

        let asked = ClientMessage::Ask(question(id(1), &sample, Speculation::CoLocated { draft_tokens: 4 })?);
        let drafted = answered(&mut client, id(1), &[asked])?;
        same(&drafted, "co-located")?;
        co_located.0 += drafted.receipt.accepted_drafts;
        co_located.1 += drafted.receipt.proposed_drafts;

        let asked = ClientMessage::Ask(question(id(2), &sample, PATIENT)?);
        let right = answered(&mut client, id(2), &[asked, draft(id(2), tokens.clone())])?;
        same(&right, "right drafts")?;
        ensure!(right.receipt.rounds == 1 && right.revision == 0, "{}: {:?}", sample.id, right.receipt);
        ensure!(count(&right, TokenSource::EdgeDraft, TokenFate::Accepted) == tokens.len());

        // Right up to the last token, which is another one.
        let mut wrong = tokens.clone();
        if let Some(last) = wrong.last_mut() {
            *last = if *last == 300 { 301 } else { 300 };
        }
        let asked = ClientMessage::Ask(question(id(3), &sample, IMPATIENT)?);
        let corrected = answered(&mut client, id(3), &[asked, draft(id(3), wrong)])?;
        same(&corrected, "wrong drafts")?;
        ensure!(corrected.revision == 1, "{}: {corrected:?}", sample.id);
        ensure!(count(&corrected, TokenSource::Target, TokenFate::Corrected) == 1);

        let random = (0..20).map(|n| (n * 7919 + index * 104_729) % 400).collect();
        let asked = ClientMessage::Ask(question(id(4), &sample, IMPATIENT)?);
        same(&answered(&mut client, id(4), &[asked, draft(id(4), random)])?, "random drafts")?;

        let (ask, attach) = begun(id(5), &sample)?;
        let has_question = !sample.question.is_empty();
        client.send(&ClientMessage::Ask(ask))?;
        if has_question {
            // Something is there before the media are even sent.
            match client.receive()? {
                ServerMessage::Proposed { start: 0, .. } => {}
                other => bail!("{}: expected a proposal, got {other:?}", sample.id),
            }
        }
        client.send(&ClientMessage::Attach(attach))?;
        let (late, proposed) = settled_after(&mut client, id(5))?;
        same(&late, "late media")?;
        ensure!(late.receipt.modalities == alone.receipt.modalities, "{}: {:?}", sample.id, late.receipt);
        ensure!(proposed == 0 || late.receipt.proposed_drafts > 0, "{}: {:?}", sample.id, late.receipt);
        on_partial_context += count(&late, TokenSource::PartialContext, TokenFate::Accepted);
    }
    ensure!(co_located.0 * 2 > co_located.1, "the edge model's drafts are poor: {co_located:?}");
    ensure!(on_partial_context > 0, "no answer was foreseen without media, though some need none");
    Ok(())
}

/// Reads an answer whose first proposal was read already; with the number of further ones.
fn settled_after(client: &mut CloudClient, asked: u32) -> Result<(CloudAnswer, usize)> {
    let (mut tokens, mut proposals) = (Vec::new(), 0);
    loop {
        match client.receive()? {
            ServerMessage::Proposed { request_id, .. } if request_id == asked && tokens.is_empty() => {
                proposals += 1;
            }
            ServerMessage::Settled { request_id, start, tokens: settled, .. } if request_id == asked => {
                ensure!(start as usize == tokens.len());
                tokens.extend(settled.into_iter().map(|settled| settled.token));
            }
            ServerMessage::Done { request_id, text, finish_reason, receipt } if request_id == asked => {
                let (proposed, revision) = (Vec::new(), 0);
                let answer = CloudAnswer { text, tokens, proposed, revision, finish_reason, receipt };
                return Ok((answer, proposals));
            }
            other => bail!("nobody asked for {other:?}"),
        }
    }
}

#[test]
fn stale_drafts_are_ignored() -> Result<()> {
    let server = Server::shared()?;
    let mut client = CloudClient::connect(server.address())?;
    let sample = evaluation::gallery()?.into_iter().next().context("the gallery is empty")?;
    let alone = ask_about(&mut client, 1, &sample)?;
    client.send(&ClientMessage::Ask(question(2, &sample, IMPATIENT)?))?;
    let (request_id, revision) = (2, 3);
    let stale = Draft {
        request_id,
        revision,
        start: 0,
        tokens: ids(&alone),
        distributions: Vec::new(),
        is_last: true,
    };
    client.send(&ClientMessage::Draft(stale))?;
    let answer = client.answer(2)?.map_err(|report| anyhow::anyhow!("refused: {report:?}"))?;
    ensure!(ids(&answer) == ids(&alone) && answer.receipt.proposed_drafts == 0, "{answer:?}");
    Ok(())
}

#[test]
fn many_clients_share_passes_and_get_the_answers_each_would_get_alone() -> Result<()> {
    let server = Server::shared()?;
    let samples: Vec<Sample> = evaluation::gallery()?.into_iter().take(6).collect();
    let answers_of = |speculation: Speculation| -> Result<Vec<Vec<TokenId>>> {
        let mut client = CloudClient::connect(server.address())?;
        let answer = |(id, sample): (u32, &Sample)| {
            let asked = ClientMessage::Ask(question(id, sample, speculation)?);
            Ok(ids(&answered(&mut client, id, &[asked])?))
        };
        (1..).zip(&samples).map(answer).collect()
    };
    let alone = answers_of(Speculation::None)?;
    let modes = [Speculation::None, Speculation::CoLocated { draft_tokens: 3 }, IMPATIENT, Speculation::None];
    thread::scope(|scope| {
        let clients = modes.map(|mode| (mode, scope.spawn(move || answers_of(mode))));
        for (mode, client) in clients {
            ensure!(client.join().expect("a client does not panic")? == alone, "{mode:?} got other answers");
        }
        Ok(())
    })
}

#[test]
fn a_request_that_waits_for_media_can_be_cancelled_and_misuse_is_refused() -> Result<()> {
    let server = Server::shared()?;
    let mut client = CloudClient::connect(server.address())?;
    let samples = evaluation::gallery()?;
    let sample = samples.first().context("the gallery is empty")?;
    let (ask, attach) = begun(1, sample)?;
    client.send(&ClientMessage::Ask(ask.clone()))?;
    client.send(&ClientMessage::Cancel { request_id: 1 })?;
    let cancelled = client.answer(1)?.map_err(|report| anyhow::anyhow!("refused: {report:?}"))?;
    ensure!(cancelled.finish_reason == FinishReason::Cancelled && cancelled.tokens.is_empty());

    let incomplete = Attach { request_id: 2, audio: None, ..attach };
    let misused = [
        (Ask { request_id: 2, ..ask }, Some(ClientMessage::Attach(incomplete)), ErrorCode::OutOfOrder),
        (question(3, sample, Speculation::None)?, Some(draft(3, vec![1])), ErrorCode::OutOfOrder),
        (question(4, sample, PATIENT)?, Some(draft(4, vec![u32::MAX])), ErrorCode::Unsupported),
        (question(5, sample, Speculation::CoLocated { draft_tokens: 0 })?, None, ErrorCode::Unsupported),
    ];
    for (ask, follows, code) in misused {
        let id = ask.request_id;
        client.send(&ClientMessage::Ask(ask))?;
        if let Some(follows) = follows {
            client.send(&follows)?;
        }
        match client.answer(id)? {
            Err(report) => ensure!(report.code == code && report.message.len() > 20, "{report:?}"),
            Ok(answer) => bail!("request {id} was answered: {answer:?}"),
        }
    }
    ensure!(ask_about(&mut client, 9, sample)?.finish_reason == FinishReason::Stop);
    Ok(())
}
