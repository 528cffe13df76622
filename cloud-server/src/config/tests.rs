//! Flags, variables, files and defaults together.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser as _;

use super::*;

/// A file with this content, gone with the value.
struct Written(PathBuf);

impl Written {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("msao-config-{}-{name}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn load(&self, command: &[&str], flags: &[&str]) -> Result<Loaded, LoadError> {
        let config = ["--config".into(), self.0.clone().into_os_string()];
        let before = std::iter::once(&"msao-server").chain(command).map(OsString::from);
        load(before.chain(config).chain(flags.iter().map(OsString::from)))
    }

    fn refusal(&self) -> String {
        self.load(&[], &[]).err().unwrap().to_string()
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn source(loaded: &Loaded, name: &str) -> Source {
    loaded.settings.iter().find(|setting| setting.name == name).unwrap().source.clone()
}

#[test]
fn limits_are_json() {
    let config = ServerConfig::parse_from(["msao-server", "--limits", r#"{"images": 2}"#]);
    assert_eq!(config.limits, Limits { images: 2, ..Limits::default() });
    for json in
        [r#"{"image_bytes": 99000000}"#, r#"{"max_new_tokens": 0}"#, r#"{"audio_s": -1}"#, r#"{"x": 1}"#, "8"]
    {
        assert!(parse_limits(json).is_err(), "{json}");
    }
}

#[test]
fn weights_are_as_stored_unless_told_and_of_a_known_format() {
    let format = |flags: &[&str]| {
        let flags = std::iter::once(&"msao-server").chain(flags);
        ServerConfig::try_parse_from(flags).map(|config| config.weights_format.to_string())
    };
    assert_eq!(format(&[]).unwrap(), "stored");
    assert_eq!(format(&["--weights-format", "q4"]).unwrap(), "q4");
    let refused = format(&["--weights-format", "int4"]).unwrap_err().to_string();
    assert!(refused.contains("f32, f16, int8 and q4"), "{refused}");
}

#[test]
fn threads_are_one_a_core_unless_told_and_no_absurd_number() {
    let threads = |flags: &[&str]| {
        let flags = std::iter::once(&"msao-server").chain(flags);
        ServerConfig::try_parse_from(flags).map(|config| config.threads)
    };
    assert_eq!(threads(&[]).unwrap(), 0);
    assert_eq!(threads(&["--threads", "3"]).unwrap(), 3);
    for absurd in ["-1", "1025", "all"] {
        assert!(threads(&["--threads", absurd]).is_err(), "{absurd}");
    }
}

#[test]
fn a_file_is_weaker_than_a_flag_and_stronger_than_a_default() {
    let file = Written::new(
        "layers",
        "max-batch = 3\nmax_sessions = 9\nallow-origin = ['https://a.test', 'https://b.test']\n\
         limits = { images = 2 }\n",
    );
    let loaded = file.load(&[], &["--max-batch", "5"]).unwrap();
    let config = &loaded.cli.server;
    assert_eq!((config.max_batch, config.max_sessions, config.queue), (5, 9, 16));
    assert_eq!(config.allow_origins, ["https://a.test", "https://b.test"]);
    assert_eq!(config.limits.images, 2);
    assert_eq!(source(&loaded, "max-batch"), Source::Flag);
    assert_eq!(source(&loaded, "max-sessions"), Source::File(file.0.clone()));
    assert_eq!(source(&loaded, "queue"), Source::Default);

    // A list is replaced, not made longer.
    let loaded = file.load(&["serve"], &["--allow-origin", "https://c.test"]).unwrap();
    let Some(Command::Serve(config)) = loaded.cli.command else { panic!("{:?}", loaded.cli) };
    assert_eq!(config.allow_origins, ["https://c.test"]);
    assert_eq!(config.max_batch, 3);
}

#[test]
fn what_a_file_has_wrong_is_named() {
    for (name, text, words) in [
        ("slip", "max-sesions = 3", &["max-sesions", "did you mean `max-sessions`"][..]),
        ("other", "colour = 'red'", &["colour", "--help"]),
        ("nested", "config = 'b.toml'", &["config"]),
        ("syntax", "queue = = 3", &["TOML"]),
        ("value", "queue = 0", &["queue", "0"]),
        ("list", "queue = [1, 2]", &["queue", "one value"]),
        ("twice", "max-batch = 1\nmax_batch = 2", &["max-batch", "twice"]),
    ] {
        let file = Written::new(name, text);
        let refusal = file.refusal();
        assert!(refusal.contains(&file.0.display().to_string()), "{refusal}");
        for word in words {
            assert!(refusal.contains(word), "no `{word}` in {refusal}");
        }
    }
    let nowhere = load(["msao-server", "--config", "/no/such.toml"].map(OsString::from)).err().unwrap();
    assert!(nowhere.to_string().contains("/no/such.toml"), "{nowhere}");
}

#[test]
fn a_wrong_flag_is_not_blamed_on_the_file() {
    let file = Written::new("blame", "queue = 2");
    let error = file.load(&[], &["--max-batch", "none"]).err().unwrap();
    assert!(matches!(error, LoadError::Arguments(_)), "{error}");
}

#[test]
fn what_is_printed_can_be_read_back() {
    let flags = ["--allow-origin", "https://a.test", "--limits", r#"{"images": 2}"#, "--model", "7"];
    let printed = to_toml(&Written::new("empty", "").load(&["config"], &flags).unwrap().settings);
    let file = Written::new("printed", &printed);
    let again = file.load(&["config"], &[]).unwrap();
    let strip = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split("  #").next().unwrap().to_owned()).collect()
    };
    assert_eq!(strip(&to_toml(&again.settings)), strip(&printed));
    assert_eq!(source(&again, "model"), Source::File(file.0.clone()));
    assert!(printed.contains("# draft-model is not set"), "{printed}");
}

#[test]
fn secrets_are_not_printed() {
    let setting = |value: &str, is_secret| Setting {
        name: "upstream".into(),
        values: vec![value.into()],
        is_list: true,
        is_secret,
        source: Source::Flag,
    };
    let shown = to_toml(&[setting("https://me:hush@host/v1", false), setting("hush", true)]);
    assert!(!shown.contains("hush") && shown.contains("https://host/v1"), "{shown}");
}
