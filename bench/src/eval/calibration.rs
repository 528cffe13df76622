//! The compared answers, kept beside the edge's weights: what risk control starts from.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};
use msao_planner::confidence::{Judged, JudgedPair};
use msao_tests::places;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::outcome::Outcome;

const EDGE: &str = "pocket-edge";
const TARGET: &str = "pocket-cloud";
const FILE: &str = "confidence.json";

/// Writes `confidence.json` and notes it in the checkpoint's manifest.
///
/// # Errors
/// If a manifest cannot be read or a file not be written.
pub(crate) fn write(outcomes: &[Outcome]) -> Result<()> {
    let samples: Vec<Judged> = outcomes.iter().map(Outcome::judged).collect();
    let folder = places::weights().join(EDGE);
    let hash = |name| weights_sha256(&places::weights().join(name));
    let pair = JudgedPair::new([TARGET.to_owned(), hash(EDGE)?, hash(TARGET)?], &samples);
    let bytes = serde_json::to_string(&pair)? + "\n";
    fs::write(folder.join(FILE), &bytes)?;

    let path = folder.join("MANIFEST.json");
    let mut manifest = read(&path)?;
    let files: BTreeMap<String, Value> = serde_json::from_value(manifest["files"].take())?;
    let sha256 = hex(&Sha256::digest(bytes.as_bytes()));
    let entry = json!({
        "bytes": bytes.len(),
        "sha256": sha256,
        "made_by": "cargo xtask eval --calibrate",
        "answers": samples.len(),
    });
    let others = files.into_iter().filter(|(name, _)| name != FILE);
    manifest["files"] =
        serde_json::to_value(others.chain([(FILE.to_owned(), entry)]).collect::<BTreeMap<_, _>>())?;
    fs::write(&path, serde_json::to_string_pretty(&manifest)? + "\n")?;
    eprintln!("{} compared answers written to {}", samples.len(), folder.join(FILE).display());
    Ok(())
}

/// The hash that a checkpoint's manifest has for its weights.
fn weights_sha256(folder: &Path) -> Result<String> {
    let manifest = read(&folder.join("MANIFEST.json"))?;
    let hash = manifest["files"]["model.safetensors"]["sha256"].as_str();
    Ok(hash.context("the manifest has no hash for the weights")?.to_owned())
}

fn read(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no manifest", path.display()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bound on disagreement holds for the two models that were compared, so the file must be of those that ship.
    #[test]
    fn the_shipped_answers_are_of_the_shipped_pair() {
        let text = fs::read_to_string(places::weights().join(EDGE).join(FILE)).unwrap();
        let pair: JudgedPair = serde_json::from_str(&text).unwrap();
        assert_eq!(pair.target, TARGET);
        assert_eq!(pair.edge_sha256, weights_sha256(&places::weights().join(EDGE)).unwrap());
        assert_eq!(pair.target_sha256, weights_sha256(&places::weights().join(TARGET)).unwrap());
        assert!(pair.samples().len() > 3_000);
    }
}
