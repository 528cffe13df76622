//! Models of one's own, as files in a folder.

use std::{env, fs, path::PathBuf};

use msao_protocol::{ImageGrid, PictureSize, Vocabulary};

use super::*;

/// A folder with the files of a checkpoint; removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, weights: &str, tokenizer: &str) -> Self {
        let folder = env::temp_dir().join(format!("msao-models-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for (file, text) in [
            ("config.json", "{}"),
            ("preprocessor_config.json", "{}"),
            ("tokenizer.json", tokenizer),
            ("model.safetensors", weights),
        ] {
            fs::write(folder.join(file), text).unwrap();
        }
        Self(folder)
    }

    fn text(&self) -> Option<String> {
        Some(self.0.display().to_string())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn running(name: &str, co_located_draft: bool) -> ModelInfo {
    let image = ImageGrid::default();
    let (vocabulary, pictures) = (Vocabulary::default(), PictureSize::default());
    let (name, device) = (name.into(), "cpu".into());
    ModelInfo {
        name,
        parameters: 1,
        device,
        image,
        audio: None,
        co_located_draft,
        vocabulary,
        pictures,
        clips: None,
    }
}

fn able(models: &Models, running: &ModelInfo) -> String {
    use clap::ValueEnum;
    let able = models.able(BenchPolicy::value_variants(), running);
    able.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_shipped_pair_does_everything() {
    let models = Models::of(&ModelOptions::default()).unwrap();
    assert_eq!(
        able(&models, &running(TARGET, true)),
        "edge_only cloud_only co_located layer_split distributed msao msao_risk msao_without_mas \
         msao_without_speculation"
    );
    assert!(models.to_string().starts_with("pocket-cloud@"), "{models}");
    assert!(models.judged(TARGET).unwrap().is_some());
    assert!(models.judged("other").unwrap().is_none());
}

#[test]
fn a_folder_is_told_apart_by_its_content_and_served_by_its_name() {
    let (one, other) = (Folder::new("one", "weights", "words"), Folder::new("other", "weights", "words"));
    let of = |folder: &Folder| {
        Models::of(&ModelOptions { model: folder.text(), ..ModelOptions::default() }).unwrap()
    };
    let before = of(&one);
    assert_eq!(before.to_string(), of(&one).to_string());
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        let kept = fs::read(one.0.join(file)).unwrap();
        fs::write(one.0.join(file), "another").unwrap();
        assert_ne!(before.to_string(), of(&one).to_string(), "{file}");
        fs::write(one.0.join(file), kept).unwrap();
    }
    let hashes = |models: &Models| models.to_string().split('@').nth(1).unwrap().to_owned();
    assert_eq!(hashes(&before), hashes(&of(&other)), "the same files at another place are the same model");
    let flags = before.server_flags().join(" ");
    let name = &one.0.file_name().unwrap().display().to_string();
    assert!(flags.contains(&format!("--model {name} --edge-model /")), "{flags}");
    fs::remove_file(one.0.join("tokenizer.json")).unwrap();
    let error = Models::of(&ModelOptions { model: one.text(), ..ModelOptions::default() }).unwrap_err();
    assert!(format!("{error:#}").contains("no checkpoint folder"), "{error:#}");
}

#[test]
fn policies_are_left_out_where_the_models_do_not_go_together() {
    let foreign = Folder::new("foreign", "weights", "other words");
    let with = |draft_model: Option<&str>| ModelOptions {
        model: foreign.text(),
        draft_model: draft_model.map(str::to_owned),
        ..ModelOptions::default()
    };
    let models = Models::of(&with(Some("none"))).unwrap();
    assert_eq!(
        able(&models, &running("foreign", false)),
        "edge_only cloud_only layer_split msao_without_speculation"
    );
    assert!(models.server_flags().ends_with(&["--draft-model".to_owned(), "none".to_owned()]));
    let named_alike = Models::of(&with(None)).unwrap();
    assert!(named_alike.judged(TARGET).unwrap().is_none(), "a bound holds for the judged weights alone");
}

#[test]
fn an_address_becomes_flags_of_the_server_without_its_key() {
    let options = |model: &str| ModelOptions {
        model: Some(model.into()),
        upstream_model: Some("big".into()),
        // Some variable that is set wherever tests run.
        upstream_key_env: Some("PATH".into()),
        ..ModelOptions::default()
    };
    let models = Models::of(&options("https://host/v1/")).unwrap();
    let flags = models.server_flags();
    let (upstream, edge) = flags.split_at(6);
    assert_eq!(
        upstream,
        ["--upstream", "https://host/v1", "--upstream-model", "big", "--upstream-key-env", "PATH"]
    );
    assert!(edge[0] == "--edge-model" && edge[1].ends_with("/pocket-edge"), "{edge:?}");
    let key = env::var("PATH").unwrap();
    let said = format!("{models} {models:?} {}", serde_json::to_string(&models).unwrap());
    assert!(said.contains("big at https://host/v1") && !said.contains(&key), "{said}");
    assert_eq!(
        able(&models, &running("big", false)),
        "edge_only cloud_only distributed msao msao_without_mas msao_without_speculation"
    );
    for bad in ["https://", "https://me:secret@host/v1", "https://host/v1?key=secret"] {
        let error = format!("{:#}", Models::of(&options(bad)).unwrap_err());
        assert!(error.contains("--upstream-key-env") && !error.contains("secret"), "{error}");
    }
    let unset =
        ModelOptions { upstream_key_env: Some("MSAO_NO_SUCH_KEY".into()), ..options("http://host/v1") };
    assert!(format!("{:#}", Models::of(&unset).unwrap_err()).contains("MSAO_NO_SUCH_KEY"));
    let drafted = ModelOptions { draft_model: Some("none".into()), ..options("http://host/v1") };
    assert!(Models::of(&drafted).is_err());
    let folder = ModelOptions { model: None, ..options("") };
    assert!(Models::of(&folder).is_err(), "a key is of no use without an address");
}
