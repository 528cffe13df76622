//! libFuzzer's entry to the target `audio`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| msao_fuzz::audio(bytes));
