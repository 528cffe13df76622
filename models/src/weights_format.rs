//! How weights are kept in memory, as named on a command line.

use std::fmt;
use std::str::FromStr;

use crate::config::ModelConfig;
use crate::error::ModelError;

/// How dense layers and tables are kept in memory; sums are of f32 throughout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightsFormat {
    /// As the checkpoint says: the format that it was converted to, else f32.
    #[default]
    Stored,
    /// 4 bytes each: what the checkpoint says, whatever it is stored as.
    F32,
    /// 2 bytes each. Checkpoints stored as F16 give the results of f32, bit for bit; others are rounded.
    F16,
    /// 1 byte each, rounded to 255 steps of each output's own size.
    Int8,
    /// 4.5 bits each: 16 steps for each 32 inputs of an output. Tables are int8.
    Q4,
}

impl WeightsFormat {
    /// All formats, from the largest on.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::Int8, Self::Q4];

    /// What [`Self::Stored`] means for a checkpoint.
    ///
    /// # Errors
    /// [`ModelError::Config`] for a checkpoint that somebody else quantised.
    pub fn for_checkpoint(self, config: &ModelConfig) -> Result<Self, ModelError> {
        match (self, &config.quantization) {
            (Self::Stored, Some(quantization)) => quantization.format(),
            (Self::Stored, None) => Ok(Self::F32),
            (format, _) => Ok(format),
        }
    }

    /// The next smaller one.
    pub fn smaller(self) -> Option<Self> {
        Self::ALL.into_iter().skip_while(|format| *format != self).nth(1)
    }

    /// The largest of the smaller ones that `fits`.
    pub(crate) fn smaller_where(self, fits: impl Fn(Self) -> bool) -> Option<Self> {
        std::iter::successors(self.smaller(), |format| format.smaller()).find(|format| fits(*format))
    }
}

impl fmt::Display for WeightsFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Stored => "stored",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
            Self::Q4 => "q4",
        })
    }
}

impl FromStr for WeightsFormat {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        let mut formats = Self::ALL.into_iter().chain([Self::Stored]);
        let named = formats.find(|format| format.to_string() == name);
        named.ok_or_else(|| ModelError::UnknownFormat(name.to_owned()))
    }
}

impl From<WeightsFormat> for msao_kernels::WeightsFormat {
    fn from(format: WeightsFormat) -> Self {
        match format {
            WeightsFormat::Stored | WeightsFormat::F32 => Self::F32,
            WeightsFormat::F16 => Self::F16,
            WeightsFormat::Int8 => Self::Int8,
            WeightsFormat::Q4 => Self::Q4,
        }
    }
}
