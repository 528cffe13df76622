//! A published checkpoint that looks at tiles and at videos, of reduced size and random weights, asked by the package: what the
//! browser sends is as large, and as much, as the checkpoint looks at.
#![expect(clippy::unwrap_used, reason = "the checkpoints that models' tests make may fail loudly")]

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use msao_models::ModelConfig;
use msao_tests::{chromium::Visitor, film, scenario, server::Server};
use serde_json::Value;

use crate::published_checkpoint::{checkpoint, published, reduced, safetensors};

#[path = "../../models/tests/published_checkpoint/mod.rs"]
mod published_checkpoint;

const FAMILY: &str = "SmolVLM2";
const NAME: &str = "SmolVLM2-2.2B-Instruct";

/// A place for the checkpoint's folder, gone with the test.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn write(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let files = checkpoint(FAMILY);
    fs::write(folder.join("config.json"), &files.config_json)?;
    fs::write(folder.join("tokenizer.json"), &files.tokenizer_json)?;
    fs::write(folder.join("preprocessor_config.json"), reduced(FAMILY).1.to_string())?;
    fs::write(folder.join("chat_template.json"), published(NAME, "chat_template.json").to_string())?;
    let weights = safetensors(&ModelConfig::from_json(&files.config_json)?.tensors());
    Ok(fs::write(folder.join("model.safetensors"), weights)?)
}

#[test]
fn the_package_sends_what_the_checkpoint_looks_at() -> Result<()> {
    let place = Place(std::env::temp_dir().join(format!("msao-published-video-{}", std::process::id())));
    let folder = place.0.join(NAME);
    write(&folder)?;
    let server = Server::start_with(&["--weights".to_owned(), folder.display().to_string()])?;
    let script = format!(
        "(async () => {{
            const {{ createAssistant }} = await import('/engine/index.js');
            const assistant = await createAssistant({{ server: location.origin, model: null, policy: 'cloud_only' }});
            const seen = async (more) => {{
                const {{ receipt }} = await assistant.ask({{ question: 'What?', maxNewTokens: 2, ...more }});
                return receipt.cloud.modalities.find(({{ modality }}) => modality === 'vision');
            }};
            const refused = (more) => assistant.ask({{ question: 'What?', ...more }}).then(() => 'answered', ({{ code }}) => code);
            const canvas = new OffscreenCanvas(360, 180);
            const context = canvas.getContext('2d');
            context.fillStyle = 'red';
            context.fillRect(0, 0, 180, 180);
            const picture = await seen({{ images: [canvas] }});
            const text = await {record};
            const video = new Blob([Uint8Array.from(atob(text), (char) => char.charCodeAt(0))]);
            const frames = [];
            const film = await seen({{ video, onFrame: (...frame) => frames.push(frame) }});
            const url = `data:video/webm;base64,${{text}}`;
            const content = [{{ type: 'text', text: 'What?' }}, {{ type: 'video_url', video_url: {{ url }} }}];
            const asked = {{ max_tokens: 2, messages: [{{ role: 'user', content }}] }};
            const {{ msao }} = await assistant.chat.completions.create(asked);
            const chat = msao.receipt.cloud.modalities.find(({{ modality }}) => modality === 'vision');
            const codes = [
                await refused({{ video: new Blob(['no video']) }}),
                await refused({{ video, images: [canvas] }}),
                await refused({{ video, signal: AbortSignal.abort(new DOMException('', 'AbortError')) }}),
            ];
            assistant.dispose();
            return {{ picture, film, chat, frames, codes }};
        }})()",
        record = film::RECORD
    );
    scenario::run("published-video", &Visitor::default(), |tab| {
        // Any document of this origin will do.
        tab.go_to(&server.url("/v1/models"))?;
        let told = tab.evaluate_within(&script, Duration::from_secs(120))?;
        let of = |what: &str, field: &str| told[what][field].as_u64().context("no number");
        // Two to one at four tiles along the longer edge; a square of 256 pixels would be four by four.
        ensure!(of("picture", "inputs")? == 9, "eight tiles and the whole: {told}");
        let frames = of("film", "inputs")?;
        ensure!(frames > 1, "a frame a second, unsplit: {told}");
        ensure!(of("chat", "inputs")? == frames, "the same by OpenAI's form: {told}");
        let heard = (1..=frames).map(|frame| [frame, frames]).collect::<Vec<_>>();
        ensure!(told["frames"] == serde_json::json!(heard), "{told}");
        let codes: Vec<&str> =
            told["codes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        ensure!(codes[..2] == ["not_a_video", "unsupported"], "{codes:?}");
        Ok(())
    })
}
