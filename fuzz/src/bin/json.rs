//! libFuzzer's entry to the target `json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| msao_fuzz::json(bytes));
