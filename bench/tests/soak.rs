//! A soak of some seconds, as `msao-bench soak` runs it for half an hour: the real server, the shipped pair and samples. It asserts
//! that everything is counted and nothing left open, never times.

use std::process::Command;

use serde_json::Value;

#[test]
fn a_short_soak_counts_every_visitor_and_leaves_no_session_open() {
    let folder = std::env::temp_dir().join(format!("msao-bench-soak-{}", std::process::id()));
    let outcome = Command::new(env!("CARGO_BIN_EXE_msao-bench"))
        .args(["soak", "--minutes", "0.1", "--rate-per-s", "2", "--policy", "cloud_only"])
        .args(["--requests", "4", "--sessions", "4", "--out"])
        .arg(&folder)
        .output()
        .expect("the bench starts");
    let said = String::from_utf8_lossy(&outcome.stderr);
    assert!(outcome.status.success(), "{said}");
    let json = std::fs::read(folder.join("soak.json")).expect("it was written");
    let found: Value = serde_json::from_slice(&json).expect("it is JSON");
    let trial = &found["trial"];
    let count = |name: &str| trial[name].as_u64().expect("a count");
    assert!(count("answered") > 0, "{trial}");
    assert_eq!(count("answered") + count("busy") + count("failed"), count("arrivals") - count("stood"));
    assert_eq!(found["sessions_left"], 0, "{said}");
    let samples = found["samples"].as_array().expect("a list");
    assert!(samples.iter().any(|one| one["open_sessions"].as_u64() > Some(0)), "{samples:?}");
    if cfg!(target_os = "linux") {
        assert!(samples.iter().all(|one| one["resident_bytes"].as_u64() > Some(1 << 20)), "{samples:?}");
        assert!(found["trend"]["verdict"].is_string(), "{found}");
    }
    assert!(said.contains("requests/s under cloud_only"), "{said}");
    std::fs::remove_dir_all(&folder).expect("it is there");
}
