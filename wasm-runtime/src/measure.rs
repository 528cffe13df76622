//! Times a warmed-up engine on one small, fixed prompt, so that two engines can be compared.

use msao_models::{ModelError, Pcm, Prompt, RgbImage, Splitting};
use msao_planner::EngineTimings;
use msao_protocol::Receipt;

use crate::engine::EdgeEngine;

/// How often each thing is timed; the median counts.
const REPETITIONS: usize = 5;
/// Any token that every vocabulary has; only the shapes matter here.
const TOKEN: u32 = 0;

impl EdgeEngine {
    /// Times all that comes before the first token, and a decode step, on a question with picture and sound.
    ///
    /// # Errors
    /// [`ModelError::ReadBack`] if the device fails.
    pub async fn measure(&self) -> Result<EngineTimings, ModelError> {
        let prompt = self.fixed_prompt(1)?;
        let mut prefills = Vec::with_capacity(REPETITIONS);
        for _ in 0..REPETITIONS {
            let mut receipt = Receipt::default();
            self.start(&prompt, &mut receipt).await?;
            prefills.push(receipt.spans.iter().map(|span| span.ms).sum());
        }
        Ok(EngineTimings { prefill_ms: median(prefills), decode_step_ms: self.time_rows(1).await? })
    }

    /// Milliseconds of one pass of the decoder over `rows` new positions after the fixed prompt: 1 is a decode
    /// step, 8 the verification of 7 drafts together with the token before them.
    ///
    /// # Errors
    /// [`ModelError::ReadBack`] if the device fails.
    pub async fn time_rows(&self, rows: usize) -> Result<f64, ModelError> {
        let drafts = vec![TOKEN; rows.max(1) - 1];
        let mut generation = self.assistant().start(&self.fixed_prompt(1)?).await?;
        generation.adopt(&[TOKEN])?;
        let mut passes = Vec::with_capacity(2 * REPETITIONS);
        for _ in 0..2 * REPETITIONS {
            let started = self.now_ms();
            generation.verify(&drafts).await?;
            passes.push(self.now_ms() - started);
            generation.roll_back(1);
        }
        Ok(median(passes))
    }

    /// A question with `images` pictures where the checkpoint can see, and sound where it can hear.
    pub(crate) fn fixed_prompt(&self, images: usize) -> Result<Prompt, ModelError> {
        const SIDE: u32 = 64;
        const SAMPLE_RATE_HZ: u32 = 16_000;
        let pixels =
            (0..SIDE * SIDE).flat_map(|at| [(at % SIDE * 4) as u8, (at / SIDE * 4) as u8, 128]).collect();
        let tone = |at: u32| 0.3 * (std::f32::consts::TAU * 440.0 * at as f32 / SAMPLE_RATE_HZ as f32).sin();
        let audio = self
            .assistant()
            .config()
            .audio_config
            .is_some()
            .then(|| Pcm::from_mono(SAMPLE_RATE_HZ, (0..SAMPLE_RATE_HZ).map(tone).collect()))
            .transpose()?;
        let images = if self.assistant().config().vision_config.is_some() { images } else { 0 };
        Ok(Prompt {
            question: "what color is the star?".to_owned(),
            images: vec![RgbImage::from_rgb(SIDE, SIDE, pixels)?; images],
            splitting: Splitting::Never,
            audio,
            ..Prompt::default()
        })
    }
}

/// The middle value, the upper one of two; NaN of nothing.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_ignores_one_outlier() {
        assert!((median(vec![2.0, 900.0, 1.0]) - 2.0).abs() < 1e-9);
        assert!(median(vec![]).is_nan());
    }
}
