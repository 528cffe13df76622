//! Tests of the folders that are made, and of what is left when none is.

use super::*;

fn command(format: WeightsFormat, target: PathBuf) -> ConvertCommand {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/weights/pocket-edge");
    ConvertCommand { format, source, target }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_folder_is_whole_and_as_its_manifest_says() {
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("small");
    let command = command(WeightsFormat::Q4, target.clone());
    let mut log = Vec::new();
    command.convert(&mut log, &AtomicBool::new(false)).unwrap();
    assert_eq!(names(place.path()), ["small"]);
    let manifest: Value = serde_json::from_slice(&fs::read(target.join(MANIFEST)).unwrap()).unwrap();
    assert_eq!(manifest["licence"], "Apache-2.0 OR MIT");
    assert_eq!(manifest["how"]["made_by"], "msao-server convert --format q4");
    let told: Vec<&String> = manifest["files"].as_object().unwrap().keys().collect();
    assert_eq!(names(&target).iter().filter(|name| *name != MANIFEST).collect::<Vec<_>>(), told);
    for (name, entry) in manifest["files"].as_object().unwrap() {
        let bytes = fs::read(target.join(name)).unwrap();
        assert_eq!(entry["bytes"], bytes.len());
        let mut hash = Sha256::new();
        hash.update(&bytes);
        assert_eq!(entry["sha256"], hex(hash), "{name}");
    }
    CheckpointFiles::from_dir(&target).unwrap();
    // What is there is never written over.
    let error = command.convert(&mut log, &AtomicBool::new(false)).unwrap_err();
    assert!(error.to_string().contains("there already"), "{error}");
}

#[test]
fn nothing_is_left_of_what_fails_or_is_cancelled() {
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("small");
    let error = command(WeightsFormat::Int8, target.clone())
        .convert(&mut io::sink(), &AtomicBool::new(true))
        .unwrap_err();
    assert!(error.to_string().contains("cancelled"), "{error}");
    let mut missing = command(WeightsFormat::Int8, target.clone());
    missing.source = place.path().join("none");
    assert!(missing.convert(&mut io::sink(), &AtomicBool::new(false)).is_err());
    let error =
        command(WeightsFormat::F32, target).convert(&mut io::sink(), &AtomicBool::new(false)).unwrap_err();
    assert!(error.to_string().contains("choose f16, int8 or q4"), "{error}");
    assert!(names(place.path()).is_empty());
}
