//! One's own models and data, through the real server and the real edge engine.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use msao_tests::{evaluation, places, server::Server};
use serde_json::{Value, json};

/// A new folder, removed with everything in it when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("msao-bench-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(name)).unwrap()).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn bench(arguments: &[&str], paths: &[(&str, &Path)]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_msao-bench"));
    command.args(arguments);
    for (flag, path) in paths {
        command.arg(flag).arg(path);
    }
    let Output { status, stderr, .. } = command.output().expect("the bench starts");
    (status.success(), String::from_utf8_lossy(&stderr).into_owned())
}

#[test]
fn a_checkpoint_folder_is_the_target_and_its_journal_is_of_no_other() {
    let folder = Folder::new("own-model");
    let (model, out) = (folder.path("my-model"), folder.path("out"));
    fs::create_dir_all(&model).unwrap();
    for entry in fs::read_dir(places::weights().join("pocket-cloud")).unwrap() {
        let file = entry.unwrap();
        fs::copy(file.path(), model.join(file.file_name())).unwrap();
    }
    let run = |policies: &str, paths: &[(&str, &Path)]| {
        bench(&["run", "--networks", "20ms-200mbit", "--requests", "1", "--policies", policies], paths)
    };
    let paths: [(&str, &Path); 2] = [("--model", &model), ("--out", &out)];
    let (is_done, said) = run("cloud_only,co_located", &paths);
    assert!(is_done, "{said}");
    assert!(said.contains("co_located is left out: no draft model runs beside the target"), "{said}");
    let journal = fs::read_to_string(out.join("journal.jsonl")).unwrap();
    let records: Vec<Value> = journal.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 1, "{journal}");
    assert!(records[0]["models"].as_str().unwrap().starts_with("my-model@"), "{journal}");
    assert_eq!(records[0]["failure"], Value::Null);
    let manifest: Value = serde_json::from_slice(&fs::read(model.join("MANIFEST.json")).unwrap()).unwrap();
    let machine = folder.json("out/machine.json");
    assert_eq!(
        machine["models"]["target"]["checkpoint"]["sha256"],
        manifest["files"]["model.safetensors"]["sha256"]
    );
    assert_eq!(machine["target"]["name"], "my-model");
    // The shipped model has the same weights, and is another one all the same: it drafts with another.
    let (is_done, said) = run("cloud_only", &paths[1..]);
    assert!(!is_done && said.contains("my-model@") && said.contains("--out"), "{said}");
    assert_eq!(fs::read_to_string(out.join("journal.jsonl")).unwrap(), journal);
}

/// Four pictures of the gallery as a folder of VQAv2: questions, annotations.
fn vqa(folder: &Folder) -> (PathBuf, PathBuf) {
    let samples = evaluation::gallery().unwrap();
    let about_one_picture =
        samples.iter().filter(|sample| sample.images.len() == 1 && !sample.question.is_empty()).take(4);
    let (mut questions, mut annotations) = (Vec::new(), Vec::new());
    for (id, sample) in (1_u64..).zip(about_one_picture) {
        fs::copy(&sample.image_files()[0], folder.path(&format!("COCO_val2014_{id:012}.jpg"))).unwrap();
        questions.push(json!({"question_id": id, "image_id": id, "question": sample.question}));
        let answers: Vec<Value> =
            (1..=10).map(|person| json!({"answer": sample.answer, "answer_id": person})).collect();
        annotations.push(json!({"question_id": id, "image_id": id, "question_type": sample.family,
            "answer_type": "other", "answers": answers}));
    }
    assert_eq!(questions.len(), 4);
    let (asked, right) = (folder.path("questions.json"), folder.path("annotations.json"));
    fs::write(&asked, json!({"data_subtype": "val2014", "questions": questions}).to_string()).unwrap();
    fs::write(&right, json!({"annotations": annotations}).to_string()).unwrap();
    (asked, right)
}

#[test]
fn policies_answer_vqa_and_say_what_it_took() {
    let folder = Folder::new("own-vqa");
    let (asked, right) = vqa(&folder);
    let answer = |policy: &str, out: &str| {
        let out = folder.path(out);
        let paths: [(&str, &Path); 4] =
            [("--questions", &asked), ("--annotations", &right), ("--images", &folder.0), ("--out", &out)];
        bench(&["vqa", "--instruction", "", "--policy", policy], &paths)
    };
    for policy in ["edge_only", "cloud_only", "msao"] {
        let (is_done, said) = answer(policy, policy);
        assert!(is_done && said.contains("4 questions, 4 to do") && said.contains("kB up"), "{said}");
        assert_eq!(folder.json(policy).as_array().unwrap().len(), 4);
    }
    let found =
        ["edge_only", "cloud_only", "msao"].map(|policy| folder.json(&format!("{policy}.accuracy.json")));
    let figure = |of: usize, name: &str| found[of]["costs"][name].as_f64().unwrap();
    assert_eq!(figure(0, "up_bytes"), 0.0);
    // Where looking first does not pay on this machine, the pictures go whole and drafts come on top.
    let most = 1.02 * figure(1, "up_bytes") + 200.0;
    assert!(0.0 < figure(2, "up_bytes") && figure(2, "up_bytes") < most, "{found:?}");
    assert!(0.0 < figure(1, "cloud_flops") && 0.0 < figure(2, "cloud_flops"), "{found:?}");
    assert!(found[1]["overall"].as_f64().unwrap() >= found[0]["overall"].as_f64().unwrap(), "{found:?}");
    // Another policy does not go on with these answers.
    let (is_done, said) = answer("edge_only", "msao");
    assert!(!is_done && said.contains("msao over 20ms-200mbit") && said.contains("--out"), "{said}");
}

#[test]
fn our_own_api_answers_as_any_openai_compatible_server_does() {
    let (folder, server) = (Folder::new("own-api"), Server::start().unwrap());
    let (asked, right) = vqa(&folder);
    let answer = |flags: &[&str], out: &str| {
        let out = folder.path(out);
        let paths: [(&str, &Path); 4] =
            [("--questions", &asked), ("--annotations", &right), ("--images", &folder.0), ("--out", &out)];
        bench(&[&["vqa", "--instruction", ""], flags].concat(), &paths)
    };
    let url = format!("http://{}/v1", server.address());
    // Its model is the first that it lists.
    let (is_done, said) = answer(&["--model", &url, "--concurrency", "2"], "api");
    assert!(is_done && said.contains("pocket-cloud at http") && said.contains("kB up"), "{said}");
    let (is_done, said) = answer(&["--server", &server.address().to_string()], "session");
    assert!(is_done, "{said}");
    let sorted = |name: &str| {
        let mut answers: Vec<String> =
            folder.json(name).as_array().unwrap().iter().map(Value::to_string).collect();
        answers.sort();
        answers
    };
    assert_eq!(sorted("api"), sorted("session"), "the same target on the same pictures");
    assert_eq!(sorted("api").len(), 4);
    let (is_done, said) = answer(&["--model", &url, "--upstream-model", "no-such-model"], "none");
    assert!(!is_done && said.contains("--upstream-model"), "{said}");
}
