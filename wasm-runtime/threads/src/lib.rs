//! The Wasm SIMD engine, linked for several threads: the same code on a shared memory, with helpers for its products.
//!
//! `xtask/src/engines.rs` links it with atomic instructions from the parts that the plain engine is made of. The standard library
//! among them was compiled for one thread, and stays so: all of it belongs to the engine's Worker. Helpers run the tasks of
//! products (`msao_kernels::help`), which use two things from outside: atomics, and the allocator, which is locked here.
//! Compiling the standard library anew would need its source, which the stable toolchain comes without, and minutes.
//!
//! A helper (`js/helper.js`) knows the exports `msao_*` only, and none of the glue. Natively this crate is empty.

#[cfg(target_arch = "wasm32")]
mod allocator;
#[cfg(target_arch = "wasm32")]
pub mod bindings;
