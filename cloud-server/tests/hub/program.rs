//! `msao-server fetch` and `doctor`, as an operator runs them.

use std::path::Path;
use std::process::{Command, Output};

use actix_web::web;

use crate::hub_server::{COMMIT, Fault, HubServer, ID};
use crate::support::{Client, holds, repository};

/// Runs the program against the hub, with an environment that says nothing of another one.
async fn program(hub: &HubServer, cache: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_msao-server"));
    for name in ["HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_IMPLICIT_TOKEN"] {
        command.env_remove(name);
    }
    command.env("HF_ENDPOINT", &hub.address).env("HF_HOME", cache.join("home")).env("HF_HUB_CACHE", cache);
    command.args(arguments).envs(variables.iter().copied());
    // The hub answers meanwhile.
    web::block(move || command.output().unwrap()).await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[actix_web::test]
async fn fetch_says_where_it_is_how_large_and_under_which_licence() {
    let files = repository();
    let hub = HubServer::start(files.clone()).await;
    hub.ask_for("hf_secret");
    let client = Client::new(&hub);
    let cache = client.cache.path();
    let name = format!("hub:{ID}");
    let refused = program(&hub, cache, &["fetch", &name], &[]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("HF_TOKEN"), "{refused:?}");

    let fetched = program(&hub, cache, &["fetch", &name], &[("HF_TOKEN", "hf_secret")]).await;
    assert!(fetched.status.success(), "{fetched:?}");
    let told = text(&fetched.stdout);
    assert!(told.contains("licence  apache-2.0") && told.contains(COMMIT), "{told}");
    let folder = told.lines().find_map(|line| line.trim().strip_prefix("folder")).unwrap().trim();
    holds(Path::new(folder), &files);
    for output in [&refused, &fetched] {
        assert!(!text(&output.stdout).contains("hf_secret") && !text(&output.stderr).contains("hf_secret"));
    }

    // Afterwards nobody is asked.
    hub.forget_seen();
    let offline = program(&hub, cache, &["fetch", &name], &[("HF_HUB_OFFLINE", "1")]).await;
    assert!(offline.status.success() && text(&offline.stdout).contains(folder), "{offline:?}");
    let pinned = program(&hub, cache, &["fetch", &name, "--revision", COMMIT], &[]).await;
    assert!(pinned.status.success(), "{pinned:?}");
    assert!(hub.seen().is_empty());

    let wrong = program(&hub, cache, &["fetch", "HuggingFaceTB/SmolVLM"], &[]).await;
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("hub:OWNER/NAME"), "{wrong:?}");
}

#[actix_web::test]
async fn the_doctor_looks_into_the_cache_and_asks_nobody() {
    let hub = HubServer::start(repository()).await;
    let mut client = Client::new(&hub);
    let cache = client.cache.path().to_owned();
    let name = format!("hub:{ID}");
    let arguments = ["doctor", "--listen", "127.0.0.1:0", "--weights", &name];
    let missing = program(&hub, &cache, &arguments, &[]).await;
    assert_eq!(missing.status.code(), Some(1));
    let told = text(&missing.stdout);
    let line = told.lines().find(|line| line.starts_with("FAIL hub")).unwrap_or_else(|| panic!("{told}"));
    assert!(line.contains(&format!("msao-server fetch {name}")), "{line}");
    assert!(hub.seen().is_empty());

    client.fetch().await.unwrap();
    hub.forget_seen();
    let found = text(&program(&hub, &cache, &arguments, &[]).await.stdout);
    let line = found.lines().find(|line| line.starts_with("ok   hub")).unwrap_or_else(|| panic!("{found}"));
    assert!(line.contains(COMMIT) && line.contains("apache-2.0"), "{line}");
    assert!(hub.seen().is_empty());
}

/// Ctrl-C in the midst of a file: it says what is kept, and the next run goes on with it.
#[cfg(unix)]
#[actix_web::test]
async fn ctrl_c_keeps_what_came() {
    let files = repository();
    let hub = HubServer::start(files.clone()).await;
    let client = Client::new(&hub);
    let cache = client.cache.path().to_owned();
    // Cut once, and then the hub is busy for longer than anybody waits.
    hub.fault("model.safetensors", Fault::WholeFile);
    hub.fault("model.safetensors", Fault::Cut(50_000));
    let busy = Fault::Status(503, vec![("Retry-After", "100".to_owned())]);
    hub.fault_behind(2, "model.safetensors", busy);
    let mut command = Command::new(env!("CARGO_BIN_EXE_msao-server"));
    command.args(["fetch", &format!("hub:{ID}"), "--hub-endpoint", &hub.address, "--hub-cache"]).arg(&cache);
    let child =
        command.env("HF_HOME", cache.join("home")).stderr(std::process::Stdio::piped()).spawn().unwrap();
    while !hub.seen().iter().any(|seen| seen.range.as_deref() == Some("bytes=50000-")) {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let process = i32::try_from(child.id()).unwrap();
    // SAFETY: a signal to a process that this test started and has not waited for.
    assert_eq!(unsafe { libc::kill(process, libc::SIGINT) }, 0);
    let ended = web::block(move || child.wait_with_output().unwrap()).await.unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(text(&ended.stderr).contains("what came is kept"), "{ended:?}");

    hub.forget_seen();
    let again = program(&hub, &cache, &["fetch", &format!("hub:{ID}")], &[]).await;
    assert!(again.status.success(), "{again:?}");
    assert!(hub.seen().iter().any(|seen| seen.range.as_deref() == Some("bytes=50000-")));
}
