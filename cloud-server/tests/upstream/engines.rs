//! Servers in front of upstreams and of the embedded engine, and `transformers serve` with the shipped weights.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::web::Data;
use msao_models::{CheckpointFiles, DeviceKind};
use msao_protocol::{ImageGrid, Limits};
use msao_server::engine::{
    Checkpoints, EdgeTokenizer, EmbeddedConfig, EmbeddedEngine, Engine, Inputs, Kind, OpenAiConfig,
    OpenAiEngine,
};
use msao_server::{AppState, Assets, EdgeModels, Origins, Timeouts, listen};
use serde_json::{Value, json};

use crate::support::TestServer;

/// Names a Python that has `transformers[serving]`; `cargo xtask test` installs one.
const PYTHON_VARIABLE: &str = "MSAO_UPSTREAM_PYTHON";
/// Loading torch on a machine that is busy with other things.
const START_TIMEOUT: Duration = Duration::from_secs(300);

pub(crate) fn weights(checkpoint: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/weights").join(checkpoint)
}

/// What an engine in front of these upstreams is made of.
pub(crate) fn config(upstreams: &[String]) -> OpenAiConfig {
    OpenAiConfig {
        upstreams: upstreams.to_vec(),
        model: Some("m".into()),
        key: None,
        kind: Kind::OpenAi,
        tokenizer: EdgeTokenizer::from_dir(&weights("pocket-edge")).unwrap(),
        shares_tokenizer: false,
        inputs: Inputs { images: true, audio: false },
        // As the model of the tests sees.
        image: ImageGrid { side_px: 192, tokens_per_side: 6 },
        limits: Limits::default(),
        places: 8,
        attach_wait: Duration::from_secs(60),
        idle: Duration::from_secs(180),
    }
}

/// A server in this process, and the engine behind it.
pub(crate) fn serve<E: Engine + 'static>(engine: E) -> (TestServer, Arc<E>) {
    let engine = Arc::new(engine);
    let assets = Assets { page: "no such page".into(), edge_models: EdgeModels::default() };
    let shared: Arc<dyn Engine> = Arc::<E>::clone(&engine);
    // A client of these tests does not read, nor answer pings, while another one waits for a slow engine.
    let timeouts = Timeouts { silence: Duration::from_secs(3600), ..Timeouts::default() };
    let state = AppState::new(shared, Limits::default(), timeouts, Origins::new(vec![]), assets, 8);
    let state = Data::new(state);
    let (server, address) = listen(state.clone(), ([127, 0, 0, 1], 0).into()).unwrap();
    actix_web::rt::spawn(server);
    (TestServer { state, address }, engine)
}

/// A server in front of upstreams.
pub(crate) async fn serve_upstreams(config: OpenAiConfig) -> (TestServer, Arc<OpenAiEngine>) {
    // The first look at the upstreams blocks, and scripted ones run on this thread.
    let engine = tokio::task::spawn_blocking(|| OpenAiEngine::start(config).unwrap()).await.unwrap();
    serve(engine)
}

/// A server that runs the shipped model itself.
pub(crate) fn serve_embedded() -> TestServer {
    let config = EmbeddedConfig {
        name: "pocket-cloud".into(),
        device: DeviceKind::Cpu,
        limits: Limits::default(),
        places: 8,
        max_wait: Duration::MAX,
        max_batch: 8,
        attach_wait: Duration::from_secs(60),
        kv_budget_bytes: 256 << 20,
        memory_wait: Duration::from_secs(5),
        prunes_tiles: false,
    };
    let target = CheckpointFiles::from_dir(weights("pocket-cloud")).unwrap();
    serve(EmbeddedEngine::start(&Checkpoints { target, draft: None }, &config).unwrap()).0
}

/// The Python to run `transformers serve` with; `None` where the operator has none.
pub(crate) fn python() -> Option<PathBuf> {
    let python = std::env::var_os(PYTHON_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    if python.is_none() {
        let line = "!".repeat(78);
        println!(
            "{line}\nSKIPPED: a real upstream engine. {PYTHON_VARIABLE} names no Python with transformers[serving]: run \
             `cargo xtask test`, without MSAO_SKIP_REFERENCE=1.\n{line}"
        );
    }
    python
}

/// The shipped cloud model as `transformers` wants it: the same weights, the audio tower left aside, and a processor that
/// sees a picture as one square.
pub(crate) fn export() -> PathBuf {
    let (from, to) =
        (weights("pocket-cloud"), Path::new(env!("CARGO_TARGET_TMPDIR")).join("pocket-cloud-transformers"));
    fs::create_dir_all(&to).unwrap();
    for file in [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ] {
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
    let read = |file: &str| -> Value { serde_json::from_slice(&fs::read(from.join(file)).unwrap()).unwrap() };
    let (config, preprocessor) = (read("config.json"), read("preprocessor_config.json"));
    let side = preprocessor["size"]["height"].as_u64().unwrap();
    let patches = side / config["vision_config"]["patch_size"].as_u64().unwrap();
    let tokens = (patches / config["scale_factor"].as_u64().unwrap()).pow(2);
    let image_processor = json!({
        "image_processor_type": "Idefics3ImageProcessor", "processor_class": "Idefics3Processor",
        "do_convert_rgb": true, "do_image_splitting": false, "do_pad": true,
        "do_resize": true, "size": {"longest_edge": side}, "max_image_size": {"longest_edge": side}, "resample": 1,
        "do_rescale": true, "rescale_factor": 1.0 / 255.0,
        "do_normalize": true, "image_mean": preprocessor["image_mean"], "image_std": preprocessor["image_std"],
    });
    let write = |file: &str, content: String| fs::write(to.join(file), content).unwrap();
    write("preprocessor_config.json", image_processor.to_string());
    write(
        "processor_config.json",
        json!({"processor_class": "Idefics3Processor", "image_seq_len": tokens}).to_string(),
    );
    write("chat_template.jinja", read("tokenizer_config.json")["chat_template"].as_str().unwrap().to_owned());
    to
}

/// `transformers serve` in a process of its own, which ends with this value.
pub(crate) struct TransformersServe {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl TransformersServe {
    /// Starts it; [`Self::wait`] waits until it answers.
    pub(crate) fn start(python: &Path, model: &Path, port: u16) -> Self {
        let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("transformers-serve-{port}.log"));
        let file = fs::File::create(&log).unwrap();
        let child = Command::new(python)
            .args(["-m", "transformers.cli.transformers", "serve"])
            .arg(model)
            .args([
                "--host",
                "127.0.0.1",
                "--device",
                "cpu",
                "--dtype",
                "float32",
                "--port",
                &port.to_string(),
            ])
            .envs([("HF_HUB_OFFLINE", "1"), ("OMP_NUM_THREADS", "1")])
            .stdout(Stdio::from(file.try_clone().unwrap()))
            .stderr(Stdio::from(file))
            .spawn()
            .unwrap();
        Self { child, port, log }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Waits until it is healthy.
    pub(crate) fn wait(&mut self) {
        let started = Instant::now();
        while !is_healthy(self.port) {
            let ended = self.child.try_wait().unwrap();
            if ended.is_some() || started.elapsed() > START_TIMEOUT {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                panic!("transformers serve does not come up ({ended:?}):\n{log}");
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for TransformersServe {
    fn drop(&mut self) {
        // It may have been killed by the test already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn is_healthy(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        socket.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}
