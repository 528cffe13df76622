//! OpenAI's own clients for Python and Node, unchanged, against a server that listens, with the shipped model.
//!
//! `cargo xtask test` installs them and names them in the environment; without, these tests are left out, loudly.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use actix_web::web::{self, Data};
use clap::Parser as _;
use msao_server::config::{Cli, Command as Subcommand};
use msao_server::{AppState, ServerConfig, prepare};
use serde_json::{Value, json};

use crate::support::start;

/// Samples of the gallery that the model answers right: seen, read, heard.
const SAMPLES: [&str; 3] = ["01-colour", "06-read", "17-say-all"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Questions with the files they are about and their answers.
fn cases() -> Value {
    let folder = root().join("models/eval/gallery");
    let gallery: Value =
        serde_json::from_slice(&std::fs::read(folder.join("gallery.json")).unwrap()).unwrap();
    let path = |name: &Value| json!(folder.join(name.as_str().unwrap()));
    let case = |sample: &Value| {
        let hears = sample["needs"]["audio"] == true;
        let images: Vec<Value> = sample["images"].as_array().unwrap().iter().map(path).collect();
        let audio = if hears { path(&sample["audio"]) } else { Value::Null };
        json!({"question": sample["question"], "answer": sample["answer"], "images": images, "audio": audio})
    };
    let samples = gallery["samples"].as_array().unwrap();
    let cases: Vec<Value> =
        samples.iter().filter(|sample| SAMPLES.iter().any(|id| sample["id"] == **id)).map(case).collect();
    assert_eq!(cases.len(), SAMPLES.len());
    json!(cases)
}

fn pocket(more: &[&OsStr]) -> Data<AppState> {
    let weights = root().join("models/weights");
    let flags = [OsStr::new("msao-server"), OsStr::new("--weights"), weights.as_os_str()];
    // However busy the machine is that tests run on.
    let patient = ["--max-wait-ms", "60000"].map(OsStr::new);
    let flags = flags.iter().chain(&patient).chain(more);
    Data::new(prepare(&ServerConfig::parse_from(flags)).unwrap())
}

/// Makes a key for answers alone, of which it may ask for 4 a minute.
fn create_key(keys_file: &Path) -> String {
    let path = keys_file.display().to_string();
    let create = ["msao-server", "keys", "--keys-file", &path, "create", "--name", "test"];
    let limits = ["--scopes", "api", "--requests-per-minute", "4"];
    let cli = Cli::parse_from(create.iter().chain(&limits));
    let Some(Subcommand::Keys(keys)) = cli.command else { panic!("not about keys") };
    let mut key = Vec::new();
    keys.run(&mut key, &mut std::io::sink()).unwrap();
    String::from_utf8(key).unwrap().trim().to_owned()
}

/// What is named by a variable; else says loudly what is left out.
fn named(variable: &str, what: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from);
    if path.is_none() {
        eprintln!("\n!!! SKIPPED: {what}\n!!! `cargo xtask test` installs it; or name it with {variable}.\n");
    }
    path
}

async fn run(mut command: Command) {
    let Output { status, stdout, stderr } = web::block(move || command.output()).await.unwrap().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{stdout}\n{stderr}");
    eprintln!("{stdout}");
}

/// Runs a script in its modes: the second one while no place of the queue is free, the last one where keys are asked for.
async fn check(script: &str, command: impl Fn() -> Command) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
    let run_mode = |base_url: &str, mode_and_key: &[&str]| {
        let mut command = command();
        command.arg(&script).arg(base_url).arg(cases().to_string()).args(mode_and_key);
        run(command)
    };
    let state = pocket(&[]);
    let base_url = format!("http://{}/v1", start(&state));
    run_mode(&base_url, &["answers"]).await;
    let mut places = Vec::new();
    while let Ok(place) = state.engine.reserve() {
        places.push(place);
    }
    run_mode(&base_url, &["busy"]).await;
    drop(places);
    assert_eq!(state.engine.occupancy(), 0);
    let folder = tempfile::tempdir().unwrap();
    let keys_file = folder.path().join("keys.json");
    let key = create_key(&keys_file);
    let state = pocket(&[OsStr::new("--keys-file"), keys_file.as_os_str()]);
    run_mode(&format!("http://{}/v1", start(&state)), &["keys", &key]).await;
}

#[actix_web::test]
async fn the_python_client_works_unchanged() {
    let Some(python) = named("MSAO_OPENAI_PYTHON", "the test with OpenAI's Python client") else { return };
    check("check.py", || Command::new(&python)).await;
}

#[actix_web::test]
async fn the_node_client_works_unchanged() {
    let Some(modules) = named("MSAO_OPENAI_NODE_MODULES", "the test with OpenAI's Node client") else {
        return;
    };
    check("check.cjs", || {
        let mut command = Command::new("node");
        command.env("NODE_PATH", &modules);
        command
    })
    .await;
}
