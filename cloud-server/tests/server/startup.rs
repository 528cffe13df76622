//! A server that cannot start says what to do about it.

use clap::Parser as _;
use msao_server::{ServerConfig, StartupError, listen, prepare};

use crate::checkpoint::checkpoint;
use crate::support::{Options, TestServer};

fn configured(flags: &[&str]) -> Result<msao_server::AppState, StartupError> {
    let weights = checkpoint().parent().unwrap().display().to_string();
    let always = ["msao-server", "--weights", &weights];
    prepare(&ServerConfig::parse_from(always.iter().chain(flags)))
}

#[test]
fn a_folder_of_checkpoints_is_enough_to_start() {
    let state = configured(&["--model", "tiny", "--edge-model", "tiny"]).unwrap();
    let model = &state.engine.info().model;
    assert_eq!((model.name.as_str(), model.co_located_draft), ("tiny", false));
    // What is configured is lowered to what the model can take.
    assert!((state.limits.audio_s - 4.8).abs() < 1e-6);
}

#[test]
fn a_draft_model_is_named_by_its_folder() {
    let folder = checkpoint().display().to_string();
    for (draft, expected) in [(folder.as_str(), true), ("none", false)] {
        let state = configured(&["--model", "tiny", "--edge-model", "tiny", "--draft-model", draft]).unwrap();
        assert_eq!(state.engine.info().model.co_located_draft, expected, "{draft}");
    }
}

#[test]
fn what_is_missing_is_named_with_its_remedy() {
    let missing = configured(&["--model", "tiny", "--edge-model", "none"]).err().unwrap().to_string();
    assert!(missing.contains("none") && missing.contains("--weights"), "{missing}");
    let draft = ["--model", "tiny", "--edge-model", "tiny", "--draft-model", "nowhere"];
    let missing = configured(&draft).err().unwrap().to_string();
    assert!(missing.contains("nowhere") && missing.contains("--draft-model"), "{missing}");
    if !cfg!(feature = "cuda") {
        let device =
            configured(&["--model", "tiny", "--edge-model", "tiny", "--device", "cuda"]).err().unwrap();
        assert!(device.to_string().contains("cargo feature `cuda`"), "{device}");
    }
}

#[actix_web::test]
async fn a_taken_port_is_named_with_its_remedy() {
    let server = TestServer::start(Options::default());
    let error = listen(server.state.clone(), server.address).err().unwrap();
    assert!(matches!(error, StartupError::AddressInUse(address) if address == server.address));
    assert!(error.to_string().contains("--listen"), "{error}");
}
