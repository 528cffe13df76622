//! Published checkpoints of text, of reduced size and random weights, in the browser and on the server: found in the list, fetched
//! under a manifest made for them, and drafting where tokens agree.
#![expect(clippy::unwrap_used, reason = "the checkpoints that models' tests make may fail loudly")]

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use msao_models::ModelConfig;
use msao_tests::{chromium::Visitor, scenario, server::Server};
use serde_json::{Value, json};

use crate::published_checkpoint::{checkpoint, published, safetensors};

#[path = "../../models/tests/published_checkpoint/mod.rs"]
mod published_checkpoint;

/// What answers, and what drafts beside itself.
const LARGE: &str = "SmolLM2-360M-Instruct";
/// Of the same tokens, with other weights.
const SMALL: &str = "SmolLM2-135M-Instruct";
/// Loading four engines one after the other, on a busy machine.
const SLOW: Duration = Duration::from_secs(240);

/// A place for folders of checkpoints, gone with the test.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Writes a checkpoint's folder. Another one has other values in the same places.
fn write(folder: &Path, name: &str, is_other: bool) -> Result<()> {
    fs::create_dir_all(folder)?;
    let files = checkpoint("Llama");
    fs::write(folder.join("config.json"), &files.config_json)?;
    fs::write(folder.join("tokenizer.json"), &files.tokenizer_json)?;
    fs::write(folder.join("tokenizer_config.json"), published(name, "tokenizer_config.json").to_string())?;
    fs::write(folder.join("README.md"), "---\nlicense: apache-2.0\n---\n")?;
    let mut weights = safetensors(&ModelConfig::from_json(&files.config_json)?.tensors());
    if is_other {
        // The header stays; of the values every second half is exchanged with its neighbour.
        let header = 8 + u64::from_le_bytes(weights[..8].try_into()?) as usize;
        weights[header..].chunks_exact_mut(8).for_each(|pair| pair.rotate_left(4));
    }
    Ok(fs::write(folder.join("model.safetensors"), weights)?)
}

#[test]
fn the_browser_drafts_for_the_server_where_tokens_agree_and_not_otherwise() -> Result<()> {
    let place = Place(std::env::temp_dir().join(format!("msao-published-pair-{}", std::process::id())));
    let folder = |name: &str| place.0.join(name);
    write(&folder(LARGE), LARGE, false)?;
    write(&folder(SMALL), SMALL, true)?;
    let pocket = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/weights/pocket-edge");
    let mut flags = vec!["--weights".to_owned(), folder(LARGE).display().to_string()];
    for model in [folder(LARGE), folder(SMALL), pocket] {
        flags.extend(["--edge-model".to_owned(), model.display().to_string()]);
    }
    let server = Server::start_with(&flags)?;
    let script = format!(
        "(async () => {{
            const {{ createAssistant }} = await import('/engine/index.js');
            const {{ models }} = await (await fetch('/weights/index.json')).json();
            const told = {{ models, answers: [] }};
            const pairs = [[null, 'cloud_only'], ['{LARGE}', 'distributed'], ['{SMALL}', 'distributed'], ['pocket-edge', 'msao']];
            for (const [model, policy] of pairs) {{
                const assistant = await createAssistant({{ server: location.origin, model, policy, engine: 'simd', threads: 1 }});
                const {{ text, receipt }} = await assistant.ask({{ question: 'How many?', maxNewTokens: 12 }});
                told.answers.push({{ text, plan: receipt.plan }});
                assistant.dispose();
            }}
            return told;
        }})()"
    );
    scenario::run("published-pair", &Visitor::default(), |tab| {
        // Any document of this origin will do; the page itself would load an engine of its own.
        tab.go_to(&server.url("/weights/index.json"))?;
        let told = tab.evaluate_within(&script, SLOW)?;
        let models = told["models"].as_array().context("no list")?;
        let of = |key: &str| -> Vec<Value> { models.iter().map(|model| model[key].clone()).collect() };
        ensure!(of("name") == [LARGE, SMALL, "pocket-edge"], "{models:?}");
        ensure!(of("drafts") == [json!(true), json!(true), json!(false)], "{models:?}");
        ensure!(models[0]["licence"] == "apache-2.0", "{models:?}");
        let answers = told["answers"].as_array().context("no answers")?;
        ensure!(answers.iter().all(|answer| answer["text"] == answers[0]["text"]), "{answers:?}");
        let drafts = |at: usize| {
            (answers[at]["plan"]["proposed_drafts"].as_u64(), answers[at]["plan"]["accepted_drafts"].as_u64())
        };
        let (proposed, accepted) = drafts(1);
        ensure!(
            proposed > Some(4) && accepted == proposed,
            "with the same weights all drafts are right: {}",
            answers[1]
        );
        let (proposed, accepted) = drafts(2);
        ensure!(
            proposed > Some(0) && accepted < proposed,
            "with other weights they are corrected: {}",
            answers[2]
        );
        ensure!(
            answers[3]["plan"]["reason"] == "other_tokenizer" && drafts(3).0 == Some(0),
            "{}",
            answers[3]
        );
        Ok(())
    })
}
