//! From flags to a server that asks upstreams.

use clap::Parser as _;
use msao_protocol::ImageGrid;
use msao_server::engine::Readiness;
use msao_server::{AppState, ServerConfig, StartupError, prepare};

use crate::engines::{free_port, weights};
use crate::scripted::{Scripted, say};

/// Holds on every machine what may stand in a header.
const KEY_VARIABLE: &str = "PATH";

async fn start(flags: &[&str]) -> Result<AppState, StartupError> {
    let weights = weights("");
    let words = [&["msao-server", "--weights", weights.to_str().unwrap()], flags].concat();
    let config = ServerConfig::parse_from(words);
    tokio::task::spawn_blocking(move || prepare(&config)).await.unwrap()
}

#[actix_web::test]
async fn the_model_is_the_listed_one_and_the_key_goes_along_but_is_not_told() {
    let upstream = Scripted::start(vec![say(&[" yes"])]).await;
    let url = upstream.url();
    let flags = ["--upstream", &url, "--upstream-key-env", KEY_VARIABLE, "--model", "no such checkpoint"];
    let state = start(&flags).await.unwrap_or_else(|error| panic!("{error}"));
    let model = &state.engine.info().model;
    assert_eq!((model.name.as_str(), model.device.as_str(), model.parameters), ("listed", "upstream", 0));
    assert_eq!(model.image, ImageGrid { side_px: 512, tokens_per_side: 8 });
    assert_eq!((model.audio, state.limits.audio_s), (None, 0.0));
    assert_eq!(state.assets.edge_models.names().collect::<Vec<_>>(), ["pocket-edge"]);
    assert_eq!(state.engine.readiness(), Readiness::Ready);
    let sent = upstream.authorizations();
    let key = format!("Bearer {}", std::env::var(KEY_VARIABLE).unwrap());
    assert!(!sent.is_empty() && sent.iter().all(|one| *one == key));
}

#[actix_web::test]
async fn upstreams_that_are_not_up_are_waited_for_and_what_contradicts_itself_is_refused() {
    let nobody = format!("http://127.0.0.1:{}/v1", free_port());
    let state = start(&["--upstream", &nobody, "--upstream-inputs", "audio"]).await;
    let state = state.unwrap_or_else(|error| panic!("{error}"));
    assert!(matches!(state.engine.readiness(), Readiness::NotReady { .. }));
    assert!(state.engine.info().model.audio.is_some() && state.limits.audio_s == 30.0);

    let wrong: [(&[&str], &str); 4] = [
        (&["--upstream-key-env", "MSAO_NO_SUCH_VARIABLE"], "MSAO_NO_SUCH_VARIABLE"),
        (&["--upstream-image-px", "100"], "--upstream-image-grid"),
        (&["--upstream-tokenizer", "/no/such/folder"], "/no/such/folder"),
        (&["--edge-model", "missing"], "--edge-model"),
    ];
    for (flags, word) in wrong {
        let flags: Vec<&str> = ["--upstream", nobody.as_str()].iter().chain(flags).copied().collect();
        let error = start(&flags).await.err().expect("a refusal").to_string();
        assert!(error.contains(word), "no `{word}` in {error}");
    }
}
