//! What a weight is stored as, and how vectors of it become f32.
//!
//! f16 and int8 become f32 in registers, exactly: only how much memory has to bring differs from f32.

#[cfg(not(target_family = "wasm"))]
use half::f16;
use macerator::{Scalar, Simd, Vector, vload_unaligned};

/// A stored weight.
pub(crate) trait Element: Copy + Default + Send + Sync {
    /// Whether each output has a factor that its sum is multiplied by.
    const IS_SCALED: bool = false;

    /// A vector of weights.
    ///
    /// # Safety
    /// As many values as a vector of `S` has lanes must lie there.
    unsafe fn load<S: Simd>(at: *const Self) -> Vector<S, f32>;
}

impl Element for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(at: *const Self) -> Vector<S, f32> {
        // SAFETY: as the caller's.
        unsafe { vload_unaligned(at) }
    }
}

#[cfg(not(target_family = "wasm"))]
impl Element for f16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(at: *const Self) -> Vector<S, f32> {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_mm_loadu_si128, _mm256_cvtph_ps, _mm256_loadu_si256, _mm512_cvtph_ps};
            // SAFETY: `at` as the caller's; whoever has vectors of 16 or 8 lanes has AVX-512 or AVX2 with F16C.
            match S::lanes32() {
                16 => {
                    return unsafe { from_register::<S, _>(_mm512_cvtph_ps(_mm256_loadu_si256(at.cast()))) };
                }
                8 => return unsafe { from_register::<S, _>(_mm256_cvtph_ps(_mm_loadu_si128(at.cast()))) },
                _ => {}
            }
        }
        // SAFETY: as the caller's.
        unsafe { one_by_one::<S, _>(at, f16::to_f32) }
    }
}

/// Multiplied by its output's factor only after the sum.
#[cfg(not(target_family = "wasm"))]
impl Element for i8 {
    const IS_SCALED: bool = true;

    #[inline(always)]
    unsafe fn load<S: Simd>(at: *const Self) -> Vector<S, f32> {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{
                _mm_loadl_epi64, _mm_loadu_si128, _mm256_cvtepi8_epi32, _mm256_cvtepi32_ps,
                _mm512_cvtepi8_epi32, _mm512_cvtepi32_ps,
            };
            // SAFETY: `at` as the caller's; whoever has vectors of 16 or 8 lanes has AVX-512 or AVX2.
            match S::lanes32() {
                16 => {
                    return unsafe {
                        from_register::<S, _>(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(
                            at.cast(),
                        ))))
                    };
                }
                8 => {
                    return unsafe {
                        from_register::<S, _>(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(
                            at.cast(),
                        ))))
                    };
                }
                _ => {}
            }
        }
        // SAFETY: as the caller's.
        unsafe { one_by_one::<S, _>(at, f32::from) }
    }
}

/// A value in every lane.
#[inline(always)]
pub(crate) fn splat<S: Simd>(value: f32) -> Vector<S, f32> {
    // By its bits: macerator's own for f32 is not always inlined, and then takes the time of ten products.
    value.to_bits().cast_signed().splat::<S>().reinterpret()
}

/// A register of the processor as the vector that it is.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn from_register<S: Simd, R>(register: R) -> Vector<S, f32> {
    assert!(size_of::<R>() == size_of::<Vector<S, f32>>(), "a vector is one register");
    // SAFETY: both are plain bits of the same size.
    unsafe { std::mem::transmute_copy(&register) }
}

/// Left to the compiler, where the processor's own conversion is not called by name.
#[cfg(not(target_family = "wasm"))]
#[inline(always)]
unsafe fn one_by_one<S: Simd, E: Copy>(at: *const E, convert: impl Fn(E) -> f32) -> Vector<S, f32> {
    let mut values = [0.0; 16];
    for (index, value) in values.iter_mut().enumerate().take(S::lanes32()) {
        // SAFETY: as the caller's.
        *value = convert(unsafe { *at.add(index) });
    }
    // SAFETY: no vector has more than 16 lanes.
    unsafe { vload_unaligned(values.as_ptr()) }
}
