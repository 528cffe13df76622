//! Runs what libraries register before `main`, once.
//!
//! A WebAssembly module has no `main`. Where nobody calls its constructors by name, the linker takes each export for a program of its own
//! and runs them all at every call: with the hundreds that CubeCL registers, some milliseconds for each object that JavaScript
//! hands over, and so for each dispatch. A call by name is what tells the linker otherwise.

unsafe extern "C" {
    /// Made by the linker.
    fn __wasm_call_ctors();
}

/// To be called first, when the module is instantiated.
pub(crate) fn run() {
    // SAFETY: constructors only fill registries of their own, and this is the one call, before anything reads those.
    unsafe { __wasm_call_ctors() }
}
