//! The real server over the real wire, with a native client: answers on the shipped weights, and a typed error
//! for everything it cannot answer. After each fault the server must still answer the next question.

mod pruned;
mod sampling;
mod speculation;

use std::{fs, thread};

use anyhow::{Context, Result, bail, ensure};
use msao_models::{Flops, ModelConfig};
use msao_protocol::{
    Ask, AudioInput, ClientMessage, ErrorCode, FinishReason, ImageInput, Media, MediaKind, Modality,
    PROTOCOL_VERSION, ServerMessage, SpanKind, frame,
};
use msao_tests::{
    cloud::{self, CloudAnswer, CloudClient},
    evaluation::{self, Sample},
    faulty, places,
    server::Server,
};

/// Asks about a sample of the gallery.
fn ask_about(client: &mut CloudClient, request_id: u32, sample: &Sample) -> Result<CloudAnswer> {
    let (images, audio) = sample.inputs()?;
    let ask = Ask { images, audio, ..cloud::question(request_id, &sample.question) };
    let asked_bytes = ask.bytes(Modality::Vision);
    let answer =
        client.ask(ask)?.map_err(|report| anyhow::anyhow!("{} was refused: {report:?}", sample.id))?;
    let vision = answer.receipt.modalities.iter().find(|entry| entry.modality == Modality::Vision);
    ensure!(
        vision.map_or(0, |entry| entry.bytes) == asked_bytes,
        "the receipt counts other bytes than were sent"
    );
    Ok(answer)
}

fn png(bytes: Vec<u8>) -> ImageInput {
    ImageInput::Whole(Media { kind: MediaKind::Png, bytes })
}

fn wav(bytes: Vec<u8>) -> AudioInput {
    AudioInput::Whole(Media { kind: MediaKind::Wav, bytes })
}

#[test]
fn an_answer_is_streamed_complete_and_accounted_for() -> Result<()> {
    let server = Server::shared()?;
    let mut client = CloudClient::connect(server.address())?;
    ensure!(client.model.name == "pocket-cloud", "another model answers: {:?}", client.model);
    ensure!(client.model.parameters > 10_000_000, "too small a model: {:?}", client.model);

    let samples = evaluation::gallery()?;
    let sample = samples.iter().find(|sample| !sample.images.is_empty() && sample.audio.is_some());
    let sample = sample.context("no sample has both a picture and a recording")?;
    let answer = ask_about(&mut client, 1, sample)?;

    let streamed: String = answer.tokens.iter().map(|token| token.text.as_str()).collect();
    ensure!(
        streamed.trim() == answer.text.trim(),
        "streamed {streamed:?}, but the answer is {:?}",
        answer.text
    );
    ensure!(answer.finish_reason == FinishReason::Stop, "the answer did not end: {answer:?}");
    ensure!(
        answer.tokens.iter().all(|token| (0.0..=1.0).contains(&token.probability)),
        "{:?}",
        answer.tokens
    );
    let receipt = &answer.receipt;
    ensure!(receipt.completion_tokens as usize == answer.tokens.len(), "{receipt:?}");
    for kind in [SpanKind::Encode, SpanKind::Prefill, SpanKind::Decode] {
        ensure!(receipt.ms(kind) > 0.0, "no time was spent on {kind:?}: {receipt:?}");
    }

    let config = fs::read(places::weights().join("pocket-cloud/config.json"))?;
    let config = ModelConfig::from_json(&config)?;
    let (flops, pictures) = (Flops::of(&config), sample.images.len() as u64);
    let hearing = config.audio_config.as_ref().context("the shipped model hears")?;
    let expected = pictures * flops.image(config.num_image_tokens())
        + flops.audio(hearing.num_audio_tokens())
        + flops.answer(receipt.prompt_tokens as usize, receipt.completion_tokens as usize);
    ensure!(receipt.flops == expected, "{} operations were counted, {expected} expected", receipt.flops);

    let again = ask_about(&mut client, 2, sample)?;
    ensure!(again.tokens == answer.tokens, "the same question got another answer: {:?}", again.text);
    Ok(())
}

#[test]
fn bad_input_gets_a_typed_error_and_the_session_goes_on() -> Result<()> {
    let server = Server::shared()?;
    let mut client = CloudClient::connect(server.address())?;
    let limits = client.limits;
    let about = |ask: Ask, images: Vec<ImageInput>| Ask { images, ..ask };
    let heard = |ask: Ask, audio: AudioInput| Ask { audio: Some(audio), ..ask };
    let asking = || cloud::question(0, "what color is the star?");
    let small = || {
        fs::read(&evaluation::gallery()?.iter().flat_map(Sample::image_files).next().context("no image")?)
            .map_err(anyhow::Error::from)
    };

    let cases = [
        (about(asking(), vec![png(faulty::oversized_png(&limits)?)]), ErrorCode::TooLarge),
        (about(asking(), vec![png(faulty::truncated_png()?)]), ErrorCode::Truncated),
        (about(asking(), vec![png(faulty::no_image())]), ErrorCode::NotAnImage),
        (about(asking(), vec![png(small()?); limits.images as usize + 1]), ErrorCode::TooManyImages),
        (heard(asking(), wav(faulty::silent_wav()?)), ErrorCode::AudioSilent),
        (heard(asking(), wav(faulty::ten_minute_wav()?)), ErrorCode::AudioTooLong),
        (heard(asking(), wav(faulty::no_image())), ErrorCode::NotAudio),
        (cloud::question(0, &faulty::long_question()), ErrorCode::QuestionTooLong),
        (cloud::question(0, "  "), ErrorCode::EmptyQuestion),
    ];
    for (request_id, (ask, code)) in (1..).zip(cases) {
        match client.ask(Ask { request_id, ..ask })? {
            Err(report) if report.code == code => {
                ensure!(report.message.len() > 20, "{code:?} says too little: {:?}", report.message);
            }
            other => bail!("expected {code:?}, got {other:?}"),
        }
    }
    let answer = client.ask(cloud::question(99, "how many objects are there?"))?;
    ensure!(answer.is_ok(), "the session did not survive: {answer:?}");
    Ok(())
}

#[test]
fn a_breach_of_the_protocol_ends_the_session_and_only_it() -> Result<()> {
    let server = Server::shared()?;
    let mut bystander = CloudClient::connect(server.address())?;

    let ping = frame::encode(&ClientMessage::Ping { nonce: 1 })?;
    let mut other_version = ping.clone();
    other_version[4] = PROTOCOL_VERSION + 1;
    let breaches = [
        (b"GET / HTTP/1.1".to_vec(), ErrorCode::MalformedFrame),
        (ping[..ping.len() - 1].to_vec(), ErrorCode::MalformedFrame),
        (other_version, ErrorCode::UnsupportedVersion),
        (frame::encode(&ClientMessage::Hello { client: "twice".into() })?, ErrorCode::OutOfOrder),
        (vec![0; bystander.limits.message_bytes as usize + 1], ErrorCode::TooLarge),
    ];
    for (bytes, code) in breaches {
        let mut client = CloudClient::connect(server.address())?;
        client.send_bytes(bytes)?;
        match client.receive()? {
            ServerMessage::Error(report) => ensure!(report.code == code, "expected {code:?}, got {report:?}"),
            other => bail!("expected {code:?}, got {other:?}"),
        }
        ensure!(client.receive().is_err(), "the session is still open after {code:?}");
    }

    let mut stranger = CloudClient::open_socket(server.address())?;
    cloud::send(&mut stranger, &ClientMessage::Ask(cloud::question(1, "what color is the star?")))?;
    match cloud::receive(&mut stranger)? {
        ServerMessage::Error(report) => ensure!(report.code == ErrorCode::OutOfOrder, "{report:?}"),
        other => bail!("a stranger was answered: {other:?}"),
    }

    let answer = bystander.ask(cloud::question(1, "how many objects are there?"))?;
    ensure!(answer.is_ok(), "the bystander suffered: {answer:?}");
    ensure!(server.is_healthy(), "the server suffered: {}", server.log());
    Ok(())
}

#[test]
fn two_clients_at_once_get_the_answers_each_would_get_alone() -> Result<()> {
    let server = Server::shared()?;
    let samples: Vec<Sample> = evaluation::gallery()?.into_iter().take(4).collect();
    let answers_of = |samples: &[Sample]| -> Result<Vec<String>> {
        let mut client = CloudClient::connect(server.address())?;
        (1..).zip(samples).map(|(id, sample)| Ok(ask_about(&mut client, id, sample)?.text)).collect()
    };
    let alone = answers_of(&samples)?;
    let (first, second) = thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| answers_of(&samples)));
        let [first, second] = both.map(|client| client.join().expect("a client does not panic"));
        (first, second)
    });
    ensure!(first? == alone, "the first client got other answers");
    ensure!(second? == alone, "the second client got other answers");
    Ok(())
}

#[test]
fn a_cancelled_answer_ends_and_the_next_question_is_answered() -> Result<()> {
    let server = Server::shared()?;
    let mut client = CloudClient::connect(server.address())?;
    let sample = evaluation::gallery()?.into_iter().next().context("the gallery is empty")?;
    let (images, audio) = sample.inputs()?;
    client.send(&ClientMessage::Ask(Ask { images, audio, ..cloud::question(5, "describe the picture") }))?;
    client.send(&ClientMessage::Cancel { request_id: 5 })?;
    loop {
        match client.receive()? {
            ServerMessage::Settled { request_id: 5, .. } => {}
            ServerMessage::Done { request_id: 5, finish_reason, .. } => {
                ensure!(finish_reason == FinishReason::Cancelled, "it ended by {finish_reason:?}");
                break;
            }
            other => bail!("expected the end of the request, got {other:?}"),
        }
    }
    ensure!(ask_about(&mut client, 6, &sample)?.finish_reason == FinishReason::Stop);
    Ok(())
}
