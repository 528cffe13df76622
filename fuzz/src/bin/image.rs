//! libFuzzer's entry to the target `image`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| msao_fuzz::image(bytes));
