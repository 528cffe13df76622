//! Judged answers, without which no answer of the edge may stand.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use msao_planner::confidence::JudgedPair;

/// A file of many thousand judged answers has some hundred kilobytes.
const MOST_CONFIDENCE_BYTES: u64 = 16 << 20;

/// Judged answers for a target; `None` if there are none.
///
/// # Errors
/// If the file is too large or has another form.
pub(super) fn read_judged(file: &Path, target: &str) -> Result<Option<JudgedPair>> {
    let Ok(metadata) = file.metadata() else { return Ok(None) };
    let bytes = metadata.len();
    ensure!(
        bytes <= MOST_CONFIDENCE_BYTES,
        "{} has {bytes} bytes, at most {MOST_CONFIDENCE_BYTES} are read",
        file.display()
    );
    let json = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let judged: JudgedPair =
        serde_json::from_slice(&json).with_context(|| format!("{} has another form", file.display()))?;
    Ok(Some(judged).filter(|judged| judged.target == target))
}

#[cfg(test)]
mod tests {
    use msao_planner::confidence::Judged;

    use super::*;

    #[test]
    fn judged_answers_of_another_target_are_none() {
        let file = std::env::temp_dir().join(format!("msao-judged-{}", std::process::id()));
        assert!(read_judged(&file, "big").unwrap().is_none());
        let samples = [Judged { confidence: 0.5, agreed: true }];
        let judged = JudgedPair::new(["big", "", ""].map(str::to_owned), &samples);
        std::fs::write(&file, serde_json::to_string(&judged).unwrap()).unwrap();
        assert_eq!(read_judged(&file, "big").unwrap(), Some(judged));
        assert!(read_judged(&file, "other").unwrap().is_none());
        std::fs::write(&file, "{}").unwrap();
        let error = format!("{:#}", read_judged(&file, "big").unwrap_err());
        assert!(error.contains("another form"), "{error}");
        std::fs::remove_file(&file).unwrap();
    }
}
