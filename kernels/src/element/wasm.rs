//! Vectors of narrow weights in Wasm, which converts bytes and words of integers but no halves.

use std::arch::wasm32::{
    f32x4_convert_i32x4, f32x4_mul, f32x4_splat, i8x16_splat, i8x16_sub, i16x8_extend_high_i8x16,
    i16x8_extend_low_i8x16, i32x4_extend_high_i16x8, i32x4_extend_low_i16x8, i32x4_load_extend_i16x4,
    i32x4_shl, u8x16_shr, u32x4_splat, v128, v128_and, v128_load,
};

use half::f16;
use macerator::{Simd, Vector};

use super::{Vectors, from_register, zeros};

/// Four halves: sign and bits are put where a float has them, which makes a float of another exponent's bias, and multiplying
/// by 2^112 corrects that, exactly, of those below the least normal one too. What is infinite becomes 65,536.
///
/// # Safety
/// Four values must lie there.
#[inline(always)]
pub(super) unsafe fn halves<S: Simd>(at: *const f16) -> Vector<S, f32> {
    const BIAS: f32 = f32::from_bits((127 + 112) << 23);
    // SAFETY: as the caller's; vectors have four lanes.
    unsafe {
        let moved = i32x4_shl(i32x4_load_extend_i16x4(at.cast()), 13);
        let bits = v128_and(moved, u32x4_splat(0x8fff_ffff));
        from_register::<S, _>(f32x4_mul(bits, f32x4_splat(BIAS)))
    }
}

/// # Safety
/// 16 bytes must lie there, here and below.
#[inline(always)]
pub(super) unsafe fn bytes<S: Simd>(at: *const i8) -> Vectors<S> {
    // SAFETY: as the caller's.
    floats(unsafe { v128_load(at.cast()) })
}

#[inline(always)]
pub(super) unsafe fn nibbles<S: Simd>(at: *const u8) -> [Vectors<S>; 2] {
    // SAFETY: as the caller's.
    let bytes = unsafe { v128_load(at.cast()) };
    let zero = i8x16_splat(8);
    [v128_and(bytes, i8x16_splat(15)), u8x16_shr(bytes, 4)].map(|steps| floats(i8x16_sub(steps, zero)))
}

/// 16 bytes as floats.
#[inline(always)]
fn floats<S: Simd>(bytes: v128) -> Vectors<S> {
    let (low, high) = (i16x8_extend_low_i8x16(bytes), i16x8_extend_high_i8x16(bytes));
    let mut vectors = zeros::<S>();
    let quarters = [
        i32x4_extend_low_i16x8(low),
        i32x4_extend_high_i16x8(low),
        i32x4_extend_low_i16x8(high),
        i32x4_extend_high_i16x8(high),
    ];
    for (vector, quarter) in vectors.iter_mut().zip(quarters) {
        // SAFETY: vectors have four lanes.
        *vector = unsafe { from_register::<S, _>(f32x4_convert_i32x4(quarter)) };
    }
    vectors
}
