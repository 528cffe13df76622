//! libFuzzer's entry to the target `chat`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| msao_fuzz::chat(bytes));
