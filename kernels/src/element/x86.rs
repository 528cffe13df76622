//! Vectors of narrow weights by the instructions of AVX-512 and AVX2; none where vectors are narrower.

use std::arch::x86_64::{
    _mm_loadl_epi64, _mm_loadu_si128, _mm256_and_si256, _mm256_cvtepi8_epi32, _mm256_cvtepi32_ps,
    _mm256_cvtepu8_epi32, _mm256_cvtph_ps, _mm256_loadu_si256, _mm256_set1_epi32, _mm256_srli_epi32,
    _mm256_sub_epi32, _mm512_cvtepi8_epi32, _mm512_cvtepi32_ps, _mm512_cvtepu8_epi32, _mm512_cvtph_ps,
    _mm512_permutexvar_ps, _mm512_setr_ps, _mm512_srli_epi32,
};

use half::f16;
use macerator::{Simd, Vector};

use super::from_register;

/// # Safety
/// As many values must lie there as a vector has lanes, here and below.
#[inline(always)]
pub(super) unsafe fn halves<S: Simd>(at: *const f16) -> Option<Vector<S, f32>> {
    // SAFETY: `at` as the caller's; whoever has vectors of 16 or 8 lanes has AVX-512 or AVX2 with F16C.
    match S::lanes32() {
        16 => Some(unsafe { from_register::<S, _>(_mm512_cvtph_ps(_mm256_loadu_si256(at.cast()))) }),
        8 => Some(unsafe { from_register::<S, _>(_mm256_cvtph_ps(_mm_loadu_si128(at.cast()))) }),
        _ => None,
    }
}

#[inline(always)]
pub(super) unsafe fn bytes<S: Simd>(at: *const i8) -> Option<Vector<S, f32>> {
    // SAFETY: `at` as the caller's; whoever has vectors of 16 or 8 lanes has AVX-512 or AVX2.
    match S::lanes32() {
        16 => Some(unsafe {
            from_register::<S, _>(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(at.cast()))))
        }),
        8 => Some(unsafe {
            from_register::<S, _>(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(at.cast()))))
        }),
        _ => None,
    }
}

#[inline(always)]
pub(super) unsafe fn nibbles<S: Simd>(at: *const u8) -> Option<[Vector<S, f32>; 2]> {
    // SAFETY: as above.
    match S::lanes32() {
        16 => Some(unsafe {
            let steps =
                _mm512_setr_ps(-8., -7., -6., -5., -4., -3., -2., -1., 0., 1., 2., 3., 4., 5., 6., 7.);
            let bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(at.cast()));
            // Only the low four bits of an index count.
            [bytes, _mm512_srli_epi32::<4>(bytes)]
                .map(|index| from_register::<S, _>(_mm512_permutexvar_ps(index, steps)))
        }),
        8 => Some(unsafe {
            let bytes = _mm256_cvtepu8_epi32(_mm_loadl_epi64(at.cast()));
            let zero = _mm256_set1_epi32(8);
            [_mm256_and_si256(bytes, _mm256_set1_epi32(15)), _mm256_srli_epi32::<4>(bytes)]
                .map(|step| from_register::<S, _>(_mm256_cvtepi32_ps(_mm256_sub_epi32(step, zero))))
        }),
        _ => None,
    }
}
