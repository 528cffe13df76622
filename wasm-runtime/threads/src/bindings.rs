//! What the engine's Worker and its helpers call; the engine itself is bound by `msao_runtime`.

use js_sys::{Atomics, Int32Array};
use wasm_bindgen::{JsCast, prelude::wasm_bindgen};

// Its bindings are part of this module.
use msao_runtime as _;

thread_local! {
    /// The memory as words. It only grows, and what helpers wait at lies in its beginning.
    static WORDS: Int32Array = Int32Array::new(&wasm_bindgen::memory().unchecked_into::<js_sys::WebAssembly::Memory>().buffer());
}

/// Gets the engine ready for helpers; called once, before any comes. Returns how many may come.
#[wasm_bindgen]
pub fn await_helpers() -> u32 {
    msao_kernels::on_wake(wake);
    msao_kernels::MOST_HELPERS as u32
}

/// How many threads work, the engine's own included.
#[wasm_bindgen]
pub fn threads() -> u32 {
    msao_kernels::threads() as u32
}

fn wake(place: *const i32) {
    // Nobody waiting is no failure, and there is no other.
    let _ = WORDS.with(|words| Atomics::notify(words, place as u32 / size_of::<i32>() as u32));
}

/// The work of a helper: see [`msao_kernels::help`].
///
/// # Safety
/// One Worker may be the helper of this number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msao_help(number: u32) -> *const i32 {
    // SAFETY: the caller's.
    unsafe { msao_kernels::help(number as usize) }
}

/// A helper failed: see [`msao_kernels::helper_failed`].
#[unsafe(no_mangle)]
pub extern "C" fn msao_helper_failed(number: u32) {
    msao_kernels::helper_failed(number as usize);
}
