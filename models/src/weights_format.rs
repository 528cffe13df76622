//! How the dense layers' weights are kept in the CPU's memory, as named on a command line.

use std::fmt;
use std::str::FromStr;

use crate::error::ModelError;

/// How the dense layers' weights are kept in memory on a CPU; sums are of f32 throughout. On a GPU all are f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightsFormat {
    /// 4 bytes each: what the checkpoint says, whatever it is stored as.
    #[default]
    F32,
    /// 2 bytes each. Checkpoints stored as F16 give the results of f32, bit for bit; others are rounded.
    F16,
    /// 1 byte each, rounded to 255 steps of each output's own size.
    Int8,
}

impl WeightsFormat {
    const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Int8];

    /// Bytes of one weight.
    pub fn bytes_per_weight(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::Int8 => 1,
        }
    }
}

impl fmt::Display for WeightsFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
        })
    }
}

impl FromStr for WeightsFormat {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        let named = Self::ALL.into_iter().find(|format| format.to_string() == name);
        named.ok_or_else(|| ModelError::UnknownFormat(name.to_owned()))
    }
}

#[cfg(feature = "flex")]
impl From<WeightsFormat> for msao_kernels::WeightsFormat {
    fn from(format: WeightsFormat) -> Self {
        match format {
            WeightsFormat::F32 => Self::F32,
            WeightsFormat::F16 => Self::F16,
            WeightsFormat::Int8 => Self::Int8,
        }
    }
}
