//! A speech model behind `--speech`: transcriptions as OpenAI has them, and ears for a model that cannot hear.
//!
//! Its weights are random; that they are computed as in transformers is held to in `models`. Here the server writes what the
//! model by itself writes, and answers what was said as if it had been typed.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::web::Data;
use clap::Parser as _;
use msao_models::preprocess::{AudioBudget, read_wav};
use msao_models::speech::{Options, Transcript, Whisper, WhisperFiles};
use msao_protocol::{
    Ask, Attach, AudioInput, ClientMessage, ErrorCode, KeepMask, KeptAudio, Media, MediaKind, Modality,
    SpanKind,
};
use msao_server::config::Command;
use msao_server::{AppState, ServerConfig, StartupError, create_app, prepare};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::published;
use crate::speech_checkpoint::{NAMES, contents};
use crate::support::{Answer, ask, wav, with_audio};

const NAME: &str = "whisper-tiny";
const DEAF: &str = "SmolLM2-135M-Instruct";

struct World {
    place: TempDir,
}

impl World {
    /// A deaf checkpoint and a speech model.
    fn new() -> Self {
        let place = published::folder("Llama", DEAF);
        let folder = place.path().join(NAME);
        fs::create_dir(&folder).unwrap();
        for (name, content) in NAMES.iter().zip(contents("english")) {
            fs::write(folder.join(name), content).unwrap();
        }
        Self { place }
    }

    fn speech(&self) -> std::path::PathBuf {
        self.place.path().join(NAME)
    }

    fn start(&self, flags: &[&str]) -> Result<AppState, StartupError> {
        let weights = self.place.path().join(DEAF);
        let args = ["msao-server", "--weights", weights.to_str().unwrap()];
        prepare(&ServerConfig::parse_from(args.iter().chain(flags)))
    }

    fn start_hearing(&self) -> AppState {
        self.start(&["--speech", self.speech().to_str().unwrap()]).unwrap()
    }
}

/// What the model by itself writes down.
fn alone(folder: &Path, sound: &[u8], options: &Options) -> Transcript {
    let whisper = Whisper::load(&WhisperFiles::from_dir(folder).unwrap()).unwrap();
    let budget = AudioBudget { max_seconds: 600.0, ..AudioBudget::default() };
    let recording = read_wav(sound, &budget).unwrap();
    whisper.transcribe(&recording, options, &mut |_| ControlFlow::Continue(())).unwrap()
}

fn form(fields: &[(&str, &str)], file: Option<&[u8]>) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend(
            format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").bytes(),
        );
    }
    if let Some(file) = file {
        let head = "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n";
        body.extend(head.bytes().chain(file.iter().copied()).chain("\r\n".bytes()));
    }
    body.extend(b"--x--\r\n");
    body
}

async fn post(state: &Data<AppState>, path: &str, body: Vec<u8>) -> (StatusCode, String) {
    let app = init_service(create_app(state.clone())).await;
    let kind = ("content-type", "multipart/form-data; boundary=x");
    let request = TestRequest::post().uri(path).insert_header(kind).set_payload(body);
    let response = call_service(&app, request.to_request()).await;
    (response.status(), String::from_utf8(read_body(response).await.to_vec()).unwrap())
}

const PATH: &str = "/v1/audio/transcriptions";

#[actix_web::test]
async fn transcriptions_are_the_model_s_own_in_every_format() {
    let world = World::new();
    let state = Data::new(world.start_hearing());
    let sound = wav(2, 16_000, 60);
    let expected = alone(&world.speech(), &sound, &Options::default());
    let of = |format| form(&[("model", NAME), ("response_format", format)], Some(&sound));

    let (status, body) = post(&state, PATH, form(&[("model", "whisper-1")], Some(&sound))).await;
    let json: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &json["text"]), (StatusCode::OK, &json!(expected.text())));
    assert_eq!(post(&state, PATH, of("text")).await.1, expected.text() + "\n");
    assert!(post(&state, PATH, of("vtt")).await.1.starts_with("WEBVTT\n\n"));
    assert!(post(&state, PATH, of("srt")).await.1.is_empty() == expected.text().is_empty());

    let app = init_service(create_app(state.clone())).await;
    let get = async |path: &str| {
        let response = call_service(&app, TestRequest::get().uri(path).to_request()).await;
        String::from_utf8(read_body(response).await.to_vec()).unwrap()
    };
    let models: Value = serde_json::from_str(&get("/v1/models").await).unwrap();
    assert_eq!((&models["data"][0]["id"], &models["data"][1]["id"]), (&json!(DEAF), &json!(NAME)));
    let metrics = get("/metrics").await;
    assert!(metrics.contains("msao_transcribed_seconds_total 8"), "four formats of two seconds: {metrics}");

    let (_, body) = post(&state, PATH, of("verbose_json")).await;
    let json: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&json["language"], &json["duration"]), (&json!("english"), &json!(2.0)));
    let tokens: Vec<u64> = json["segments"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|segment| segment["tokens"].as_array().unwrap())
        .map(|token| token.as_u64().unwrap())
        .collect();
    let spoken = expected.segments.iter().filter(|segment| !segment.text.trim().is_empty());
    let own: Vec<u64> = spoken.flat_map(|segment| &segment.tokens).map(|token| u64::from(*token)).collect();
    assert_eq!(tokens, own);
}

#[actix_web::test]
async fn what_cannot_be_written_down_is_refused_with_the_field_to_blame() {
    let world = World::new();
    let state = Data::new(world.start_hearing());
    let sound = wav(1, 16_000, 60);
    let own = ("model", NAME);
    for (fields, file, status, param) in [
        (vec![own], None, 400, "file"),
        (vec![], Some(&sound[..]), 400, "model"),
        (vec![("model", "another")], Some(&sound[..]), 404, "model"),
        (vec![own], Some(&b"no sound at all, but long enough"[..]), 422, "file"),
        (vec![own], Some(&sound[..200]), 422, "file"),
        (vec![own, ("response_format", "xml")], Some(&sound[..]), 400, "response_format"),
        (vec![own, ("temperature", "2")], Some(&sound[..]), 400, "temperature"),
        (
            vec![own, ("timestamp_granularities[]", "word")],
            Some(&sound[..]),
            400,
            "timestamp_granularities[]",
        ),
        (vec![own, ("stream", "true")], Some(&sound[..]), 400, "stream"),
        (vec![own, ("prompt", &"x".repeat(5_000))], Some(&sound[..]), 413, "prompt"),
    ] {
        let (found, body) = post(&state, PATH, form(&fields, file)).await;
        let json: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((found.as_u16(), &json["error"]["param"]), (status, &json!(param)), "{fields:?} {body}");
    }
    // English alone does not translate, and knows no other language.
    let (status, body) = post(&state, "/v1/audio/translations", form(&[own], Some(&sound))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    let (status, body) = post(&state, PATH, form(&[own, ("language", "de")], Some(&sound))).await;
    assert!(status == StatusCode::BAD_REQUEST && body.contains("no language"), "{body}");
    let app = init_service(create_app(state.clone())).await;
    let plain = TestRequest::post().uri(PATH).set_payload("x").to_request();
    assert_eq!(call_service(&app, plain).await.status(), StatusCode::BAD_REQUEST);

    let without = Data::new(world.start(&[]).unwrap());
    let (status, body) = post(&without, PATH, form(&[own], Some(&sound))).await;
    assert!(status == StatusCode::BAD_REQUEST && body.contains("--speech"), "{body}");
}

fn ids(answer: &Answer) -> Vec<u32> {
    answer.settled.iter().map(|one| one.token.id).collect()
}

#[actix_web::test]
async fn a_model_that_cannot_hear_answers_what_was_said_as_if_it_had_been_typed() {
    let world = World::new();
    let state = world.start_hearing();
    let grid = state.engine.info().model.audio.unwrap();
    assert_eq!((state.limits.audio_s, grid.tokens, grid.window_samples), (4.0, 8, 8_000));
    let mut client = published::session(Data::new(state)).await;
    let sound = wav(2, 16_000, 60);
    let said = alone(&world.speech(), &sound, &Options::default());

    client.send(&ClientMessage::Ask(ask(1, &said.text()))).await;
    client.send(&ClientMessage::Ask(with_audio(ask(2, ""), sound.clone()))).await;
    let (typed, spoken) = (client.answer(1).await, client.answer(2).await);
    assert_eq!(ids(&spoken), ids(&typed));
    assert_eq!(spoken.receipt.prompt_tokens, typed.receipt.prompt_tokens);

    let heard = spoken.receipt.speech.as_ref().unwrap();
    assert_eq!((heard.model.as_str(), heard.language.as_str()), (NAME, "en"));
    assert_eq!((heard.seconds, heard.bytes), (2.0, sound.len() as u64));
    assert!((heard.confidence - said.confidence()).abs() < 1e-5);
    let audio = spoken.receipt.modalities.iter().find(|one| one.modality == Modality::Audio).unwrap();
    assert_eq!((audio.bytes, audio.prompt_tokens), (sound.len() as u64, 0));
    assert!(spoken.receipt.ms(SpanKind::Transcribe) > 0.0);
    assert!(typed.receipt.speech.is_none());

    // Both: the typed words, then what was said.
    let both = format!("Why?\nRecording: {}", said.text());
    client.send(&ClientMessage::Ask(ask(3, &both))).await;
    client.send(&ClientMessage::Ask(with_audio(ask(4, "Why?"), sound.clone()))).await;
    let typed = ids(&client.answer(3).await);
    assert_eq!(ids(&client.answer(4).await), typed);

    // Announced first, sent later.
    let announced = Ask { pending: vec![Modality::Audio], ..ask(5, "Why?") };
    client.send(&ClientMessage::Ask(announced)).await;
    let audio = Some(AudioInput::Whole(Media { kind: MediaKind::Wav, bytes: sound.clone() }));
    client.send(&ClientMessage::Attach(Attach { request_id: 5, images: vec![], clip: None, audio })).await;
    assert_eq!(ids(&client.answer(5).await), typed);

    // Windows of it that were kept: all of four, which is the same sound with silence behind.
    let mask = KeepMask::new(&[true, true, true, true, false, false, false, false]);
    let windows = Media { kind: MediaKind::Wav, bytes: sound };
    let kept = Ask { audio: Some(AudioInput::Kept(KeptAudio { windows, mask })), ..ask(6, "Why?") };
    client.send(&ClientMessage::Ask(kept)).await;
    assert_eq!(client.answer(6).await.receipt.speech.unwrap().seconds, 4.0);

    let silence = with_audio(ask(7, "Why?"), wav(2, 16_000, 0));
    client.refused_with(silence, ErrorCode::AudioSilent, &["recording"]).await;
}

#[actix_web::test]
async fn a_file_gives_way_to_questions_and_ends_when_nobody_waits_for_it() {
    let world = World::new();
    let state = Data::new(world.start_hearing());
    let speech = state.speech.clone().unwrap();
    let long = wav(500, 8_000, 60);
    let budget = AudioBudget { max_seconds: 600.0, ..AudioBudget::default() };
    let writing = speech.write_down(read_wav(&long, &budget).unwrap(), Options::default()).unwrap();
    let question = with_audio(ask(1, "Why?"), wav(1, 16_000, 60));
    let (job, _handle, mut events) = msao_server::engine::job(question, 4);
    state.engine.submit(state.engine.reserve().unwrap(), job);
    let mut has_answer = false;
    while let Some(event) = events.next().await {
        assert!(!matches!(event, msao_server::engine::EngineEvent::Failed(_)), "{event:?}");
        has_answer |= matches!(event, msao_server::engine::EngineEvent::Done(_));
    }
    assert!(has_answer && speech.occupancy() == 1, "the file still waits");
    drop(writing);
    let started = Instant::now();
    while speech.occupancy() > 0 {
        assert!(started.elapsed() < Duration::from_secs(60), "the file goes on though nobody waits");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn a_speech_model_that_is_no_good_is_named_with_the_remedy() {
    let world = World::new();
    let refused = world.start(&["--speech", "nowhere"]).err().unwrap().to_string();
    assert!(refused.contains("nowhere"), "{refused}");
    let other = world.place.path().join(DEAF);
    let refused = world.start(&["--speech", other.to_str().unwrap()]).err().unwrap().to_string();
    assert!(refused.contains("whisper") && refused.contains("model_type"), "{refused}");
}

#[actix_web::test]
async fn pages_may_have_a_speech_model_and_are_told_from_which_confidence_its_words_stand() {
    let world = World::new();
    let speech = world.speech();
    let listing = async |state: &Data<AppState>, path: &str| {
        let app = init_service(create_app(state.clone())).await;
        let response = call_service(&app, TestRequest::get().uri(path).to_request()).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        serde_json::from_slice::<Value>(&read_body(response).await).unwrap()
    };
    let start = || Data::new(world.start(&["--edge-speech", speech.to_str().unwrap()]).unwrap());
    let state = start();
    let told = listing(&state, "/weights/index.json").await["speech"].clone();
    assert_eq!((&told["name"], &told["languages"]), (&json!(NAME), &json!(1)));
    assert!(told["threshold"].is_null() && told["parameters"].as_u64().unwrap() > 0, "{told}");
    let memory = told["memory"].as_array().unwrap();
    let formats: Vec<&Value> = memory.iter().map(|needs| &needs["format"]).collect();
    assert_eq!(formats, ["f32", "f16", "int8", "q4"]);
    let peaks: Vec<u64> = memory.iter().map(|needs| needs["peak_bytes"].as_u64().unwrap()).collect();
    assert!(peaks.is_sorted_by(|one, next| one >= next) && peaks[3] > 0, "{peaks:?}");
    let manifest = listing(&state, &format!("/weights/{NAME}/MANIFEST.json")).await;
    let files = manifest["files"].as_object().unwrap();
    for wanted in ["config.json", "generation_config.json", "preprocessor_config.json", "model.safetensors"] {
        assert!(files.contains_key(wanted), "{wanted}");
    }
    assert_eq!(manifest["parameters"], told["parameters"]);
    let without = Data::new(world.start(&[]).unwrap());
    assert!(listing(&without, "/weights/index.json").await["speech"].is_null());

    // Recordings whose words are what the model writes: everything may stand.
    let calibrate = |words: &dyn Fn(&[u8]) -> String| {
        let recordings = tempfile::tempdir().unwrap();
        for number in 0..6_u32 {
            let sound = wav(1, 8_000 + 1_000 * number, 60);
            fs::write(recordings.path().join(format!("{number}.wav")), &sound).unwrap();
            fs::write(recordings.path().join(format!("{number}.txt")), words(&sound)).unwrap();
        }
        let folders = [recordings.path(), &speech].map(|path| path.to_str().unwrap().to_owned());
        let [recordings, speech] = &folders;
        let line =
            ["x", "calibrate-speech", "--epsilon", "0.3", "--delta", "0.3", "--speech", speech, recordings];
        let loaded = msao_server::config::load(line.map(Into::into)).ok().unwrap();
        let Some(Command::CalibrateSpeech(command)) = loaded.cli.command else { panic!("{line:?}") };
        let mut log = Vec::new();
        command.run(&mut log).map(|()| String::from_utf8(log).unwrap())
    };
    let log = calibrate(&|sound| alone(&speech, sound, &Options::default()).text()).unwrap();
    assert!(log.contains("6 of 6 would have, 0 of them not good"), "{log}");
    let told = listing(&start(), "/weights/index.json").await["speech"].clone();
    assert_eq!(told["threshold"], json!(0.0));
    // Where it is always wrong, nothing may, and what was found before is kept.
    let refused = calibrate(&|_| "something else altogether".to_owned()).unwrap_err().to_string();
    assert!(refused.contains("record more"), "{refused}");
}

#[test]
fn only_a_speech_model_is_given_to_pages_as_one() {
    let world = World::new();
    let other = world.place.path().join(DEAF);
    let refused = world.start(&["--edge-speech", other.to_str().unwrap()]).err().unwrap().to_string();
    assert!(refused.contains("whisper"), "{refused}");
    let refused = world.start(&["--edge-speech", "nowhere"]).err().unwrap().to_string();
    assert!(refused.contains("nowhere"), "{refused}");
}
