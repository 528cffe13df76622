//! What a weight is stored as, and how a panel of it becomes f32.
//!
//! Everything becomes f32 in registers, exactly (q4: a step times its group's scale): only how much memory has to bring
//! differs from f32 weights of the same values.

use half::f16;
use macerator::{Scalar, Simd, Vector, vload_unaligned};

use crate::stored::GROUP;
use crate::tile::{Line, PANEL};

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;
#[cfg(target_arch = "x86_64")]
mod x86;

/// Vectors of a panel at most, with a lane for each weight.
type Vectors<S> = [Vector<S, f32>; PANEL];

/// A stored weight, or two.
pub(crate) trait Element: Copy + Default + Send + Sync {
    /// Inputs whose weights are in one line: 1, or 2 that share its elements.
    const INPUTS: usize = 1;
    /// Whether each output has a factor that its sum is multiplied by.
    const IS_SCALED: bool = false;
    /// Inputs that share a line of scales; 0 where there are none.
    const GROUP: usize = 0;
    /// The same as f32, with the scales of groups in it: a sum comes to the same bits.
    type Wide: Element;

    /// The weights of a panel for each of the line's inputs, before any scale of a group; the first `PANEL / lanes` vectors of
    /// each array count.
    ///
    /// # Safety
    /// A line must lie there.
    unsafe fn load<S: Simd>(at: *const Line<Self>) -> [Vectors<S>; 2];
}

/// Two inputs' weights in steps above -8, the first one in the low half.
#[derive(Debug, Clone, Copy, Default)]
#[repr(transparent)]
pub(crate) struct Nibbles(pub(crate) u8);

/// An f32 that is multiplied by its output's factor only after the sum.
#[derive(Debug, Clone, Copy, Default)]
#[repr(transparent)]
pub(crate) struct Unscaled(f32);

impl Element for f32 {
    type Wide = Self;

    #[inline(always)]
    unsafe fn load<S: Simd>(at: *const Line<Self>) -> [Vectors<S>; 2] {
        // SAFETY: a line has a panel's weights.
        one_input(|first| unsafe { vload_unaligned(at.cast::<f32>().add(first)) })
    }
}

impl Element for Unscaled {
    const IS_SCALED: bool = true;
    type Wide = Self;

    #[inline(always)]
    unsafe fn load<S: Simd>(at: *const Line<Self>) -> [Vectors<S>; 2] {
        // SAFETY: as the caller's; it is an f32.
        unsafe { f32::load::<S>(at.cast()) }
    }
}

impl Element for f16 {
    type Wide = f32;

    #[inline(always)]
    unsafe fn load<S: Simd>(at: *const Line<Self>) -> [Vectors<S>; 2] {
        let at = at.cast::<Self>();
        // SAFETY: a line has a panel's weights.
        one_input(|first| unsafe { halves::<S>(at.add(first)) })
    }
}

/// Multiplied by its output's factor only after the sum.
impl Element for i8 {
    const IS_SCALED: bool = true;
    type Wide = Unscaled;

    #[inline(always)]
    unsafe fn load<S: Simd>(at: *const Line<Self>) -> [Vectors<S>; 2] {
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        // SAFETY: a line has 16 bytes.
        return [unsafe { wasm::bytes::<S>(at.cast()) }, zeros()];
        #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
        {
            let at = at.cast::<Self>();
            // SAFETY: a line has a panel's weights.
            one_input(|first| unsafe { bytes::<S>(at.add(first)) })
        }
    }
}

impl Element for Nibbles {
    const INPUTS: usize = 2;
    const GROUP: usize = GROUP;
    type Wide = f32;

    #[inline(always)]
    unsafe fn load<S: Simd>(at: *const Line<Self>) -> [Vectors<S>; 2] {
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        // SAFETY: a line has 16 bytes.
        return unsafe { wasm::nibbles::<S>(at.cast()) };
        #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
        {
            let at = at.cast::<u8>();
            let [mut first, mut second] = [zeros::<S>(); 2];
            let places = first.iter_mut().zip(&mut second).take(PANEL / S::lanes32());
            for (index, (first, second)) in places.enumerate() {
                // SAFETY: a line has a panel's weights.
                [*first, *second] = unsafe { nibbles::<S>(at.add(index * S::lanes32())) };
            }
            [first, second]
        }
    }
}

/// A vector of f16 weights.
///
/// # Safety
/// As many must lie there as a vector has lanes.
#[inline(always)]
pub(crate) unsafe fn halves<S: Simd>(at: *const f16) -> Vector<S, f32> {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as the caller's.
    if let Some(vector) = unsafe { x86::halves::<S>(at) } {
        return vector;
    }
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    // SAFETY: as the caller's.
    return unsafe { wasm::halves::<S>(at) };
    #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
    // SAFETY: as the caller's.
    unsafe {
        one_by_one::<S, _>(at, f16::to_f32)
    }
}

/// A vector of int8 weights.
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
#[inline(always)]
unsafe fn bytes<S: Simd>(at: *const i8) -> Vector<S, f32> {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as the caller's.
    if let Some(vector) = unsafe { x86::bytes::<S>(at) } {
        return vector;
    }
    // SAFETY: as the caller's.
    unsafe { one_by_one::<S, _>(at, f32::from) }
}

/// The low and the high halves of a vector of bytes, as steps.
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
#[inline(always)]
unsafe fn nibbles<S: Simd>(at: *const u8) -> [Vector<S, f32>; 2] {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as the caller's.
    if let Some(vectors) = unsafe { x86::nibbles::<S>(at) } {
        return vectors;
    }
    // SAFETY: as the caller's.
    unsafe {
        [
            one_by_one::<S, _>(at, |byte| f32::from(byte & 15) - 8.0),
            one_by_one::<S, _>(at, |byte| f32::from(byte >> 4) - 8.0),
        ]
    }
}

/// Vectors of a panel's weights from where each begins.
#[inline(always)]
fn one_input<S: Simd>(load: impl Fn(usize) -> Vector<S, f32>) -> [Vectors<S>; 2] {
    let mut vectors = zeros::<S>();
    for (index, vector) in vectors.iter_mut().enumerate().take(PANEL / S::lanes32()) {
        *vector = load(index * S::lanes32());
    }
    [vectors, zeros()]
}

#[inline(always)]
fn zeros<S: Simd>() -> Vectors<S> {
    [splat(0.0); PANEL]
}

/// A value in every lane.
#[inline(always)]
pub(crate) fn splat<S: Simd>(value: f32) -> Vector<S, f32> {
    // By its bits: macerator's own for f32 is not always inlined, and then takes the time of ten products.
    value.to_bits().cast_signed().splat::<S>().reinterpret()
}

/// A register of the processor as the vector that it is.
#[cfg(any(target_arch = "x86_64", target_arch = "wasm32"))]
#[inline(always)]
unsafe fn from_register<S: Simd, R>(register: R) -> Vector<S, f32> {
    assert!(size_of::<R>() == size_of::<Vector<S, f32>>(), "a vector is one register");
    // SAFETY: both are plain bits of the same size.
    unsafe { std::mem::transmute_copy(&register) }
}

/// Left to the compiler, where the processor's own conversion is not called by name.
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
#[inline(always)]
unsafe fn one_by_one<S: Simd, E: Copy>(at: *const E, convert: impl Fn(E) -> f32) -> Vector<S, f32> {
    let mut values = [0.0; PANEL];
    for (index, value) in values.iter_mut().enumerate().take(S::lanes32()) {
        // SAFETY: as the caller's.
        *value = convert(unsafe { *at.add(index) });
    }
    // SAFETY: no vector has more lanes than a panel.
    unsafe { vload_unaligned(values.as_ptr()) }
}
