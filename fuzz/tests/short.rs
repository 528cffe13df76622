//! A short run of every target: its corpus, and mutations of it. Always the same ones, so that a failure can be repeated.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;

use msao_fuzz::TARGETS;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Mutations of each file.
const MUTATIONS: u32 = 200;
/// Largest file kept; the corpora are to stay small.
const MOST_BYTES: usize = 16 << 10;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "no corpus in {}", folder.display());
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// One change such as fuzzers make.
#[derive(Debug, Clone)]
enum Change {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    Number(prop::sample::Index, u32, bool),
    Repeat(prop::sample::Index, prop::sample::Index),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let at = any::<prop::sample::Index>;
    let numbers = prop::sample::select(vec![0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, u32::MAX]);
    let change = prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, bits)| Change::Flip(at, bits)),
        at().prop_map(Change::Cut),
        (at(), prop::collection::vec(any::<u8>(), 1..8)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (at(), numbers, any::<bool>()).prop_map(|(at, number, big)| Change::Number(at, number, big)),
        (at(), at()).prop_map(|(from, to)| Change::Repeat(from, to)),
    ];
    prop::collection::vec(change, 1..6)
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    if bytes.is_empty() {
        bytes.push(0);
    }
    let length = bytes.len();
    match change {
        Change::Flip(at, bits) => bytes[at.index(length)] ^= bits,
        Change::Cut(at) => bytes.truncate(at.index(length)),
        Change::Insert(at, more) => {
            let at = at.index(length);
            bytes.splice(at..at, more.iter().copied());
        }
        Change::Number(at, number, is_big_endian) => {
            let number = if *is_big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
            let at = at.index(length);
            let end = (at + 4).min(length);
            bytes[at..end].copy_from_slice(&number[..end - at]);
        }
        Change::Repeat(from, to) => {
            let (from, to) = (from.index(length), to.index(length));
            let piece = bytes[from.min(to)..from.max(to)].to_vec();
            bytes.extend(piece);
        }
    }
}

#[test]
fn no_target_fails_on_its_corpus_or_mutations_of_it() {
    for (name, target) in TARGETS {
        for bytes in corpus(name) {
            target(&bytes);
            let config = Config { cases: MUTATIONS, failure_persistence: None, ..Config::default() };
            let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
            let mut runner = TestRunner::new_with_rng(config, rng);
            let outcome = runner.run(&changes(), |changes| {
                let mut mutated = bytes.clone();
                changes.iter().for_each(|change| apply(&mut mutated, change));
                target(&mutated);
                Ok(())
            });
            outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}

#[test]
fn corpora_stay_small() {
    for (name, _) in TARGETS {
        let files = corpus(name);
        assert!(files.iter().all(|file| file.len() <= MOST_BYTES), "{name}: a file over {MOST_BYTES} bytes");
        assert!(files.iter().map(Vec::len).sum::<usize>() <= 40 * MOST_BYTES, "{name}: the corpus is large");
    }
}
