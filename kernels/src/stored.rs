//! Weights row by row as files have them, in any format, and how numbers become such.
//!
//! int8: 255 steps of a size for each output, `w = scale * q`, `q` in -127..=127.
//!
//! q4: groups of 32 inputs have 16 steps of one size, `w = scale * q`, `q` in -8..=7, scale an f16: 4.5 bits a weight. These are
//! the fields of llama.cpp's Q4_0; the scale is not the group's greatest weight divided by 8, as there, but of several the one
//! whose steps fit best, each moved to the optimum of least squares for its own rounding.

mod quantising;

use half::f16;

/// Inputs that share a scale in q4.
pub const GROUP: usize = 32;
/// Q4 wants a multiple of this many inputs: then rows and groups are whole words of 8 weights, and the last group may be short.
const Q4_INPUTS: usize = 16;
/// What stands for zero in a nibble.
const NIBBLE_ZERO: f32 = 8.0;

/// How weights are stored. Products are of f32 throughout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightsFormat {
    /// 4 bytes each.
    #[default]
    F32,
    /// 2 bytes each: the nearest f16. Where the weights are f16 in truth, results are those of f32, bit for bit.
    F16,
    /// 1 byte each, and a factor for each output.
    Int8,
    /// Half a byte each, and an f16 factor for each 32 inputs of each output.
    Q4,
}

impl WeightsFormat {
    /// The format that rows of so many inputs get: int8 where q4 cannot be.
    pub fn of_rows(self, inputs: usize) -> Self {
        match self {
            Self::Q4 if !inputs.is_multiple_of(Q4_INPUTS) => Self::Int8,
            format => format,
        }
    }
}

/// A weight matrix, output by output.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredWeight {
    inputs: usize,
    values: StoredValues,
}

/// What a weight matrix consists of.
#[derive(Debug, Clone, PartialEq)]
pub enum StoredValues {
    /// `[outputs, inputs]`
    F32(Vec<f32>),
    /// `[outputs, inputs]`
    F16(Vec<f16>),
    /// Weights in steps, and the size of a step for each output.
    Int8 {
        /// `[outputs, inputs]`
        steps: Vec<i8>,
        /// `[outputs]`
        scales: Vec<f32>,
    },
    /// Weights in steps, and the size of a step for each group.
    Q4 {
        /// `[outputs, inputs / 2]`: steps above -8, two to a byte, the first one in its low half.
        nibbles: Vec<u8>,
        /// `[outputs, inputs / 32]`, rounded up.
        scales: Vec<f16>,
    },
}

impl StoredWeight {
    /// No outputs yet.
    ///
    /// # Panics
    /// If there are no inputs.
    pub fn empty(inputs: usize, format: WeightsFormat) -> Self {
        assert!(inputs > 0, "weights have inputs");
        let values = match format.of_rows(inputs) {
            WeightsFormat::F32 => StoredValues::F32(Vec::new()),
            WeightsFormat::F16 => StoredValues::F16(Vec::new()),
            WeightsFormat::Int8 => StoredValues::Int8 { steps: Vec::new(), scales: Vec::new() },
            WeightsFormat::Q4 => StoredValues::Q4 { nibbles: Vec::new(), scales: Vec::new() },
        };
        Self { inputs, values }
    }

    /// Weights as a file has them.
    ///
    /// # Panics
    /// If they are no whole rows with all their scales.
    pub fn from_values(inputs: usize, values: StoredValues) -> Self {
        let weight = Self { inputs, values };
        let (outputs, is_format) = (weight.outputs(), weight.format() == weight.format().of_rows(inputs));
        let is_whole = match &weight.values {
            StoredValues::F32(values) => values.len() == outputs * inputs,
            StoredValues::F16(values) => values.len() == outputs * inputs,
            StoredValues::Int8 { steps, scales } => {
                steps.len() == outputs * inputs && scales.len() == outputs
            }
            StoredValues::Q4 { nibbles, scales } => {
                nibbles.len() * 2 == outputs * inputs && scales.len() == outputs * inputs.div_ceil(GROUP)
            }
        };
        assert!(is_format && is_whole, "weights are whole rows of {inputs} with their scales");
        weight
    }

    /// Adds outputs, each as near as the format allows; all threads take part where it is worth it.
    ///
    /// # Shapes
    /// - rows: `[outputs, inputs]`
    ///
    /// # Panics
    /// If they are no whole rows.
    pub fn push_rows(&mut self, rows: &[f32]) {
        let inputs = self.inputs;
        assert!(rows.len().is_multiple_of(inputs), "weights are whole rows of {inputs}");
        match &mut self.values {
            StoredValues::F32(values) => values.extend_from_slice(rows),
            StoredValues::F16(values) => values.extend(rows.iter().map(|weight| f16::from_f32(*weight))),
            StoredValues::Int8 { steps, scales } => quantising::push_int8(rows, inputs, steps, scales),
            StoredValues::Q4 { nibbles, scales } => quantising::push_q4(rows, inputs, nibbles, scales),
        }
    }

    /// Adds the outputs of another weight.
    ///
    /// # Panics
    /// If it has other inputs or another format.
    pub fn append(&mut self, other: Self) {
        assert_eq!(self.inputs, other.inputs, "weights that are joined have the same inputs");
        match (&mut self.values, other.values) {
            (StoredValues::F32(values), StoredValues::F32(others)) => values.extend(others),
            (StoredValues::F16(values), StoredValues::F16(others)) => values.extend(others),
            (
                StoredValues::Int8 { steps, scales },
                StoredValues::Int8 { steps: other_steps, scales: other_scales },
            ) => {
                steps.extend(other_steps);
                scales.extend(other_scales);
            }
            (
                StoredValues::Q4 { nibbles, scales },
                StoredValues::Q4 { nibbles: other_nibbles, scales: other_scales },
            ) => {
                nibbles.extend(other_nibbles);
                scales.extend(other_scales);
            }
            _ => panic!("weights that are joined have the same format"),
        }
    }

    /// Width of what goes in.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Width of what comes out.
    pub fn outputs(&self) -> usize {
        match &self.values {
            StoredValues::F32(values) => values.len() / self.inputs,
            StoredValues::F16(values) => values.len() / self.inputs,
            StoredValues::Int8 { scales, .. } => scales.len(),
            StoredValues::Q4 { nibbles, .. } => nibbles.len() * 2 / self.inputs,
        }
    }

    /// What it consists of.
    pub fn values(&self) -> &StoredValues {
        &self.values
    }

    /// How it is stored.
    pub fn format(&self) -> WeightsFormat {
        match self.values {
            StoredValues::F32(_) => WeightsFormat::F32,
            StoredValues::F16(_) => WeightsFormat::F16,
            StoredValues::Int8 { .. } => WeightsFormat::Int8,
            StoredValues::Q4 { .. } => WeightsFormat::Q4,
        }
    }

    /// The numbers that it stands for, `[outputs, inputs]`.
    pub fn dequantised(&self) -> Vec<f32> {
        match &self.values {
            StoredValues::F32(values) => values.clone(),
            StoredValues::F16(values) => values.iter().map(|weight| weight.to_f32()).collect(),
            StoredValues::Int8 { steps, scales } => {
                let rows = steps.chunks_exact(self.inputs).zip(scales);
                rows.flat_map(|(row, scale)| row.iter().map(move |step| f32::from(*step) * scale)).collect()
            }
            StoredValues::Q4 { nibbles, scales } => {
                let rows = nibbles.chunks_exact(self.inputs / 2);
                let groups = rows.flat_map(|row| row.chunks(GROUP / 2)).zip(scales);
                let pair = |byte: u8| [byte & 15, byte >> 4].map(|step| f32::from(step) - NIBBLE_ZERO);
                let weights = |(group, scale): (&[u8], &f16)| -> Vec<f32> {
                    let scale = scale.to_f32();
                    group.iter().flat_map(|byte| pair(*byte)).map(|step| step * scale).collect()
                };
                groups.flat_map(weights).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests;
