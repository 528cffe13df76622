//! Weights on the device as they are stored, and how kernels read them.
//!
//! A row is whole words of 16 bytes, so that one read brings as many weights as the format puts there, and what is added to a sum is of
//! f32 always:
//!
//! | format | a word | behind a row's weights |
//! |---|---|---|
//! | f32 | 4 | |
//! | f16 | 8 | |
//! | int8 | 16, each 128 more than its step | a word with the row's scale |
//! | q4 | 32, each 8 more than its step: a group | words of 8 groups' scales, in f16 |
//!
//! Halves are read by arithmetic, since WebGPU has them only where an adapter offers `shader-f16`. They are exact, subnormal ones too.

use burn::tensor::f16;
use cubecl::prelude::*;
use msao_kernels::{GROUP, StoredValues, StoredWeight};

use super::launch::{Buffer, Launcher};

type Vec4 = Vector<f32, Const<4>>;

/// 16 bytes of weights.
pub(crate) type Word = Vector<u32, Const<4>>;

/// Numbers of 32 bits in a word.
const WORD: usize = 4;
/// Groups whose scales share a word.
const GROUPS: usize = 8;
const INT8_ZERO: u8 = 128;

/// How weights lie in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Packing {
    F32,
    F16,
    Int8,
    Q4,
}

impl Packing {
    /// Vectors of four weights in a word.
    pub(crate) const fn vectors(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::F16 => 2,
            Self::Int8 => 4,
            Self::Q4 => GROUP / 4,
        }
    }

    /// Words of a row with `words` of weights, its scales among them.
    const fn row(self, words: usize) -> usize {
        match self {
            Self::F32 | Self::F16 => words,
            Self::Int8 => words + 1,
            Self::Q4 => words + words.div_ceil(GROUPS),
        }
    }
}

/// A dense layer's weights on the device.
#[derive(Debug, Clone)]
pub(crate) struct Matrix {
    words: Buffer,
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
    pub(crate) packing: Packing,
}

/// Rows too many for one binding: the parts of a matrix, each with its first row.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) parts: Vec<(usize, Matrix)>,
    pub(crate) rows: usize,
}

impl Matrix {
    /// f32 that are on the device, `[outputs, inputs]`, with a multiple of four inputs.
    pub(crate) fn of_values(values: &Buffer, inputs: usize) -> Self {
        assert!(inputs.is_multiple_of(WORD), "rows are whole words");
        let outputs = values.len() / inputs;
        Self { words: values.clone(), outputs, inputs, packing: Packing::F32 }
    }

    /// Brings weights to the device.
    pub(crate) fn upload(weight: &StoredWeight, launcher: &Launcher) -> Self {
        let (outputs, inputs) = (weight.outputs(), weight.inputs());
        let (packing, words) = packed(weight);
        Self { words: launcher.upload_bytes(words.as_bytes()), outputs, inputs, packing }
    }

    /// Words as the kernels take them.
    pub(super) fn argument(&self) -> BufferArg {
        self.words.vectors()
    }
}

impl Table {
    /// Width of a row.
    pub(crate) fn inputs(&self) -> usize {
        self.parts.first().map_or(0, |(_, part)| part.inputs)
    }

    /// Brings weights to the device, in parts of at most `part_bytes`.
    pub(crate) fn upload(weight: &StoredWeight, launcher: &Launcher, part_bytes: usize) -> Self {
        let (rows, inputs) = (weight.outputs(), weight.inputs());
        let (packing, words) = packed(weight);
        let bytes = words.as_bytes();
        let row_bytes = bytes.len() / rows;
        let part_rows = (part_bytes / row_bytes).clamp(1, rows);
        let part = |(index, part): (usize, &[u8])| {
            let words = launcher.upload_bytes(part);
            (index * part_rows, Matrix { words, outputs: part.len() / row_bytes, inputs, packing })
        };
        let parts = bytes.chunks(part_rows * row_bytes).enumerate().map(part).collect();
        Self { parts, rows }
    }
}

/// Weights in words.
enum Words<'a> {
    AsStored(&'a [f32]),
    Packed(Vec<u8>),
}

impl Words<'_> {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::AsStored(values) => f32::as_bytes(values),
            Self::Packed(bytes) => bytes,
        }
    }
}

fn packed(weight: &StoredWeight) -> (Packing, Words<'_>) {
    let (inputs, outputs) = (weight.inputs(), weight.outputs());
    let row_bytes =
        |packing: Packing| packing.row(inputs.div_ceil(WORD * packing.vectors())) * size_of::<u32>() * WORD;
    let rows = |packing, zero: u8, write: &dyn Fn(usize, &mut [u8])| {
        let mut bytes = vec![zero; outputs * row_bytes(packing)];
        bytes.chunks_exact_mut(row_bytes(packing)).enumerate().for_each(|(output, row)| write(output, row));
        (packing, Words::Packed(bytes))
    };
    match weight.values() {
        StoredValues::F32(values) => {
            assert!(inputs.is_multiple_of(WORD), "rows are whole words");
            (Packing::F32, Words::AsStored(values))
        }
        StoredValues::F16(values) => rows(Packing::F16, 0, &|output, row| {
            put_halves(&values[output * inputs..][..inputs], row);
        }),
        StoredValues::Int8 { steps, scales } => rows(Packing::Int8, INT8_ZERO, &|output, row| {
            let own = &steps[output * inputs..][..inputs];
            row.iter_mut().zip(own).for_each(|(byte, step)| *byte = step.cast_unsigned() ^ INT8_ZERO);
            let at = row.len() - size_of::<u32>() * WORD;
            row[at..at + size_of::<f32>()].copy_from_slice(&scales[output].to_le_bytes());
        }),
        // A nibble of 8 is zero.
        StoredValues::Q4 { nibbles, scales } => rows(Packing::Q4, 0x88, &|output, row| {
            row[..inputs / 2].copy_from_slice(&nibbles[output * (inputs / 2)..][..inputs / 2]);
            let groups = inputs.div_ceil(GROUP);
            put_halves(&scales[output * groups..][..groups], &mut row[groups * GROUP / 2..]);
        }),
    }
}

fn put_halves(halves: &[f16], bytes: &mut [u8]) {
    bytes.as_chunks_mut().0.iter_mut().zip(halves).for_each(|(bytes, half)| *bytes = half.to_le_bytes());
}

/// Words of weights in a row of `vectors`.
#[cube]
pub(crate) fn words_of(vectors: usize, #[comptime] packing: Packing) -> usize {
    let each = comptime!(packing.vectors());
    vectors.div_ceil(each)
}

/// Words from one row to the next, where there are `words` of weights.
#[cube]
pub(crate) fn row_of(words: usize, #[comptime] packing: Packing) -> usize {
    match comptime!(packing) {
        Packing::F32 | Packing::F16 => words,
        Packing::Int8 => words + 1,
        Packing::Q4 => words + words.div_ceil(comptime!(GROUPS)),
    }
}

/// The vector `at` of the row that begins at `row` and has `words` of weights.
#[cube]
pub(crate) fn vector_at(
    weights: &[Word],
    row: usize,
    words: usize,
    at: usize,
    #[comptime] packing: Packing,
) -> Vec4 {
    let each = comptime!(packing.vectors());
    let word = at / each;
    let scale = scale_of(weights, row, words, word, packing);
    scaled(unpacked(weights[row + word], at % each, packing), scale, packing)
}

/// What the weights of a word are multiplied by.
#[cube]
pub(crate) fn scale_of(
    weights: &[Word],
    row: usize,
    words: usize,
    word: usize,
    #[comptime] packing: Packing,
) -> f32 {
    match comptime!(packing) {
        Packing::F32 | Packing::F16 => f32::new(1.0),
        Packing::Int8 => f32::reinterpret(weights[row + words].extract(0usize)),
        Packing::Q4 => {
            let group = word % comptime!(GROUPS);
            let pair = component(weights[row + words + word / comptime!(GROUPS)], group / 2);
            half_of(pair >> ((group as u32 % 2) * 16))
        }
    }
}

/// Weights of a vector times their scale.
#[cube]
pub(crate) fn scaled(plain: Vec4, scale: f32, #[comptime] packing: Packing) -> Vec4 {
    match comptime!(packing) {
        Packing::F32 | Packing::F16 => plain,
        Packing::Int8 | Packing::Q4 => plain * Vec4::new(scale),
    }
}

/// One of a word's vectors, without its scale.
#[cube]
pub(crate) fn unpacked(word: Word, part: usize, #[comptime] packing: Packing) -> Vec4 {
    match comptime!(packing) {
        Packing::F32 => Vec4::reinterpret(word),
        Packing::F16 => {
            let low = component(word, part * 2);
            let high = component(word, part * 2 + 1);
            four(half_of(low), half_of(low >> 16), half_of(high), half_of(high >> 16))
        }
        Packing::Int8 => {
            let bytes = component(word, part);
            four(
                f32::cast_from(bytes & 255) - 128.0,
                f32::cast_from((bytes >> 8) & 255) - 128.0,
                f32::cast_from((bytes >> 16) & 255) - 128.0,
                f32::cast_from(bytes >> 24) - 128.0,
            )
        }
        Packing::Q4 => {
            let nibbles = component(word, part / 2) >> ((part as u32 % 2) * 16);
            four(
                f32::cast_from(nibbles & 15) - 8.0,
                f32::cast_from((nibbles >> 4) & 15) - 8.0,
                f32::cast_from((nibbles >> 8) & 15) - 8.0,
                f32::cast_from((nibbles >> 12) & 15) - 8.0,
            )
        }
    }
}

#[cube]
fn four(first: f32, second: f32, third: f32, fourth: f32) -> Vec4 {
    let mut vector = Vec4::new(first);
    vector.insert(1usize, second);
    vector.insert(2usize, third);
    vector.insert(3usize, fourth);
    vector
}

/// A component of a word; some devices would put the word into memory to index it.
#[cube]
fn component(word: Word, index: usize) -> u32 {
    let low = select(index == 0, word.extract(0usize), word.extract(1usize));
    let high = select(index == 2, word.extract(2usize), word.extract(3usize));
    select(index < 2, low, high)
}

/// The half in the lower bits of `bits`.
#[cube]
fn half_of(bits: u32) -> f32 {
    let shifted = (bits & 0x7fff) << 13;
    // Another bias of the exponent; a subnormal half is what is over the least normal one with an exponent of its own.
    let normal = f32::reinterpret(shifted + 0x3800_0000);
    let subnormal = f32::reinterpret(shifted + 0x3880_0000) - 6.103_515_6e-5;
    let value = select(bits & 0x7c00 == 0, subnormal, normal);
    select(bits & 0x8000 == 0, value, -value)
}

#[cfg(all(test, feature = "vulkan"))]
mod tests {
    use msao_kernels::WeightsFormat;

    use super::super::bridge;
    use super::*;
    use crate::device::{self, DeviceKind};

    /// Numbers of all sizes, subnormal halves among them.
    fn numbers(count: usize) -> Vec<f32> {
        (0..count).map(|at| ((at * 7919 % 1013) as f32 - 506.0) * 2.0_f32.powi(-((at % 30) as i32))).collect()
    }

    /// Needs `MSAO_VULKAN=1`, as tests/device_parity.rs does.
    #[test]
    fn rows_come_back_as_they_were_stored_and_multiply_so_in_parts_of_any_size() {
        if std::env::var("MSAO_VULKAN").as_deref() != Ok("1") {
            eprintln!("SKIPPED: set MSAO_VULKAN=1 on a machine with a GPU");
            return;
        }
        let gpu = pollster::block_on(device::open(DeviceKind::Vulkan)).unwrap();
        let launcher = bridge::launcher_of(&gpu).unwrap();
        let read = |buffer: &Buffer| -> Vec<f32> {
            let bytes = launcher.client().read_one(buffer.handle().clone()).unwrap();
            f32::from_bytes(&bytes).to_vec()
        };
        for (format, inputs) in [
            (WeightsFormat::F32, 20),
            (WeightsFormat::F16, 20),
            (WeightsFormat::Int8, 20),
            (WeightsFormat::Q4, 48),
            (WeightsFormat::Q4, 512),
        ] {
            let rows = 37;
            let mut weight = StoredWeight::empty(inputs, format);
            weight.push_rows(&numbers(rows * inputs));
            let expected = weight.dequantised();
            let ids: Vec<u32> = (0..rows as u32).rev().collect();
            let handle = launcher.upload_words(&ids).handle().clone();
            let x = numbers(3 * inputs);
            let on_device = launcher.upload(&x);
            for part_bytes in [usize::MAX, 1_000, 1] {
                let table = Table::upload(&weight, &launcher, part_bytes);
                assert_eq!(table.parts.len() > 1, part_bytes < usize::MAX);
                let found = read(&launcher.embed(&table, &handle, rows));
                let mut reversed: Vec<&[f32]> = found.chunks(inputs).collect();
                reversed.reverse();
                assert_eq!(reversed.concat(), expected, "{format:?} {inputs} {part_bytes}");
                let scores = read(&launcher.logits(&table, &on_device));
                for (at, score) in scores.iter().enumerate() {
                    let (row, output) = (&x[at / rows * inputs..], &expected[at % rows * inputs..]);
                    let terms = row
                        .iter()
                        .zip(output)
                        .take(inputs)
                        .map(|(x, weight)| f64::from(*x) * f64::from(*weight));
                    let (sum, size) =
                        terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
                    assert!(
                        (f64::from(*score) - sum).abs() <= 1e-5 * size + 1e-6,
                        "{format:?} {inputs}: {score} {sum}"
                    );
                }
                let tiled = launcher.empty(3 * table.parts[0].1.outputs);
                let ending = super::super::tiled::Ending {
                    adds: false,
                    activation: super::super::tiled::Activation::None,
                };
                launcher.multiply_tiles(&on_device, &table.parts[0].1, None, &tiled, ending);
                for (at, score) in read(&tiled).iter().enumerate() {
                    let outputs = table.parts[0].1.outputs;
                    let same = scores[at / outputs * rows + at % outputs];
                    assert!(
                        (score - same).abs() <= 1e-4 * (1.0 + same.abs()),
                        "{format:?} {inputs} in tiles: {score} {same}"
                    );
                }
            }
        }
    }
}
