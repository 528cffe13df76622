//! libFuzzer's entry to the target `wire`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| msao_fuzz::wire(bytes));
