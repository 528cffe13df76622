//! The program as an operator meets it: where its configuration comes from, and what its doctor finds.

use std::net::TcpListener;
use std::process::{Command, Output};

use crate::checkpoint::checkpoint;

/// Runs the program with the tiny checkpoint named by its environment, as a unit or a container does.
fn program(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_msao-server"));
    command.env("MSAO_WEIGHTS", checkpoint().parent().unwrap());
    command.env("MSAO_MODEL", "tiny").env("MSAO_EDGE_MODEL", "tiny");
    command.args(arguments).envs(variables.iter().copied()).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_variable_is_weaker_than_a_flag_and_stronger_than_a_file() {
    let file = std::env::temp_dir().join(format!("msao-program-{}.toml", std::process::id()));
    std::fs::write(&file, "queue = 2\nmax-batch = 2\nattach-s = 2\n").unwrap();
    let variables = [
        ("MSAO_CONFIG", file.to_str().unwrap()),
        ("MSAO_QUEUE", "3"),
        ("MSAO_MAX_BATCH", "3"),
        ("MSAO_ALLOW_ORIGIN", "https://a.test,https://b.test"),
    ];
    let output = program(&["config", "--queue", "4"], &variables);
    let text = stdout(&output);
    std::fs::remove_file(&file).unwrap();
    assert!(output.status.success(), "{output:?}");
    for line in [
        "queue = 4  # flag",
        "max-batch = 3  # environment",
        &format!("attach-s = 2  # {}", file.display()),
        "max-sessions = 64  # default",
        r#"allow-origin = ["https://a.test", "https://b.test"]  # environment"#,
    ] {
        assert!(text.lines().any(|printed| printed == line), "no `{line}` in\n{text}");
    }
}

#[test]
fn a_wrong_file_keeps_it_from_starting() {
    let output = program(&["serve", "--config", "/no/such.toml"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/no/such.toml"), "{output:?}");
}

#[test]
fn the_doctor_tells_what_is_wrong_by_its_exit_code_too() {
    let free = ("MSAO_LISTEN", "127.0.0.1:0");
    let output = program(&["doctor"], &[free]);
    assert!(output.status.success(), "{output:?}");
    let text = stdout(&output);
    assert!(text.contains("ok   model      tiny"), "{text}");

    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (arguments, words) in [
        (&["doctor", "--listen", &address][..], "in use"),
        (&["doctor", "--edge-model", "none"], "there is no checkpoint"),
    ] {
        let output = program(arguments, &[free]);
        let text = stdout(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.lines().any(|line| line.starts_with("FAIL") && line.contains(words)), "{text}");
    }
}
