//! A shipped model on this machine's CPU, without network, queue or browser.

use anyhow::{Context, Result};
use msao_models::{
    Assistant, CheckpointFiles, DeviceKind, Prompt, RgbImage, device,
    preprocess::{
        AudioBudget,
        decode::{ImageBudget, decode_image},
        read_wav,
    },
};
use pollster::block_on;

use crate::{evaluation::Sample, places};

/// Loads a shipped checkpoint, such as `pocket-edge`.
///
/// # Errors
/// If it is missing or damaged.
pub fn load(checkpoint: &str) -> Result<Assistant> {
    let folder = places::weights().join(checkpoint);
    let files =
        CheckpointFiles::from_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let device = block_on(device::open(DeviceKind::Cpu))?;
    Ok(Assistant::load(&files, &device)?)
}

/// What the models are given of a sample.
///
/// # Errors
/// If its files are missing or unusable.
pub fn prompt(sample: &Sample) -> Result<Prompt> {
    let (images, audio) = sample.media()?;
    let decode = |bytes: &[u8]| decode_image(bytes, &ImageBudget::default());
    let images = images.iter().map(|image| decode(&image.bytes)).collect::<Result<_, _>>()?;
    let budget = AudioBudget { max_bytes: 1 << 24, max_seconds: 30.0 };
    let audio = audio.map(|audio| read_wav(&audio.bytes, &budget)).transpose()?;
    Ok(Prompt { question: sample.question.clone(), images, audio, ..Prompt::default() })
}

/// A question about a picture, such as a frame of a film.
///
/// # Errors
/// If the picture is unusable.
pub fn prompt_about(picture: image::RgbImage, question: &str) -> Result<Prompt> {
    let (width, height) = picture.dimensions();
    let image = RgbImage::from_rgb(width, height, picture.into_raw())?;
    Ok(Prompt { question: question.to_owned(), images: vec![image], ..Prompt::default() })
}

/// The whole answer.
///
/// # Errors
/// If the model fails.
pub fn answer(assistant: &Assistant, prompt: &Prompt) -> Result<String> {
    block_on(async {
        let mut generation = assistant.start(prompt).await?;
        let mut text = String::new();
        while let Some(token) = generation.next_token().await? {
            text.push_str(&token.text);
        }
        Ok(text.trim().to_owned())
    })
}
