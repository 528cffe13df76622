//! Kept parts on the shipped weights: what shows nothing and what is silent can stay at home.

use anyhow::{Context, Result, ensure};
use msao_protocol::{
    Ask, AudioInput, ErrorCode, ImageInput, KeepMask, KeptAudio, KeptImage, Media, Modality,
};
use msao_tests::{
    cloud::{self, CloudClient},
    evaluation::{self, Sample},
    kept,
    server::Server,
};

use crate::ask_about;

/// The sample's question about its kept parts only.
fn pruned(client: &CloudClient, sample: &Sample) -> Result<Ask> {
    let (images, audio) = sample.media()?;
    let grid = client.model.audio.context("the shipped model hears")?;
    let cut = |image: Media| Ok(ImageInput::Kept(kept::image(&image.bytes, &client.model.image)?));
    let images = images.into_iter().map(cut).collect::<Result<_>>()?;
    let audio = audio.map(|audio| kept::audio(&audio.bytes, &grid)).transpose()?.map(AudioInput::Kept);
    Ok(Ask { images, audio, ..cloud::question(0, &sample.question) })
}

#[test]
fn without_background_and_silence_the_answer_is_the_same_for_less() -> Result<()> {
    let server = Server::shared()?;
    let mut client = CloudClient::connect(server.address())?;
    let samples = evaluation::gallery()?;
    let (mut changed, mut whole_flops, mut pruned_flops) = (Vec::new(), 0, 0);
    for (id, sample) in (1..).zip(&samples) {
        let whole = ask_about(&mut client, id, sample)?;
        let ask = Ask { request_id: 1000 + id, ..pruned(&client, sample)? };
        let bytes = [Modality::Vision, Modality::Audio].map(|modality| ask.bytes(modality));
        let kept = client.ask(ask)?.map_err(|report| anyhow::anyhow!("{}: {report:?}", sample.id))?;
        for (modality, bytes) in [Modality::Vision, Modality::Audio].into_iter().zip(bytes) {
            let entry = kept.receipt.modalities.iter().find(|entry| entry.modality == modality);
            ensure!(entry.map_or(0, |entry| entry.bytes) == bytes, "{}: {:?}", sample.id, kept.receipt);
        }
        whole_flops += whole.receipt.flops;
        pruned_flops += kept.receipt.flops;
        if kept.text != whole.text {
            changed.push((&sample.id, whole.text, kept.text));
        }
    }
    // Empty squares carry no answer, but a model that sees fewer of them may waver where it was unsure.
    ensure!(changed.len() * 20 <= samples.len(), "too many answers changed: {changed:#?}");
    ensure!(pruned_flops * 10 < whole_flops * 9, "{pruned_flops} of {whole_flops} operations");
    Ok(())
}

#[test]
fn parts_that_do_not_fit_the_grid_are_refused() -> Result<()> {
    let server = Server::shared()?;
    let mut client = CloudClient::connect(server.address())?;
    let samples = evaluation::gallery()?;
    let sample = samples.first().context("the gallery is empty")?;
    let good = pruned(&client, sample)?;
    let Some((ImageInput::Kept(image), AudioInput::Kept(audio))) =
        good.images.first().zip(good.audio.as_ref())
    else {
        anyhow::bail!("the first sample has a picture and a recording");
    };
    let all = |mask: &KeepMask| KeepMask::new(&vec![true; mask.parts() as usize]);
    let short = |mask: &KeepMask| KeepMask::new(&vec![true; mask.parts() as usize - 1]);
    let none = |mask: &KeepMask| KeepMask::new(&vec![false; mask.parts() as usize]);
    let mut bad = Vec::new();
    for mask in [all(&image.mask), short(&image.mask), none(&image.mask), KeepMask::default()] {
        let image = KeptImage { mask, ..image.clone() };
        bad.push(Ask { images: vec![ImageInput::Kept(image)], ..good.clone() });
    }
    for mask in [all(&audio.mask), short(&audio.mask), none(&audio.mask), KeepMask::default()] {
        let audio = KeptAudio { mask, ..audio.clone() };
        bad.push(Ask { audio: Some(AudioInput::Kept(audio)), ..good.clone() });
    }
    for (request_id, ask) in (1..).zip(bad) {
        let refused = client.ask(Ask { request_id, ..ask })?.err().context("a wrong mask was taken")?;
        ensure!(refused.code == ErrorCode::KeptMismatch && refused.message.len() > 20, "{refused:?}");
    }
    ensure!(client.ask(Ask { request_id: 99, ..good })?.is_ok(), "the session did not survive");
    Ok(())
}
