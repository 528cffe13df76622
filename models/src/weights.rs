//! Tensors by name: the headers of all files of weights, and values read one tensor at a time.
//!
//! A header is held against the configuration before a value is read. Dense layers and tables are brought into their format
//! some rows at a time, or taken as they are where the file has them so; of a file that is elsewhere no more than one tensor
//! is in memory, and it hears when the last of those that are wanted has been read.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::Range;

use burn::tensor::{Bytes, DType, Device, Tensor, TensorData, bf16, f16};
use msao_kernels::{GROUP, StoredValues, StoredWeight};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::expected::expected_tensors;
use crate::quantisation::{SCALE_SUFFIX, inputs_of, is_packed, stored_format};
use crate::weight_files::{FileBytes, WeightFiles};
use crate::weights_format::WeightsFormat;

/// What a file begins with: the length of its header.
const LENGTH_BYTES: u64 = 8;
/// Headers name each tensor once; the format itself allows no more.
const MAX_HEADER_BYTES: u64 = 100_000_000;
/// Values that are brought into another format at a time.
const VALUES_AT_A_TIME: usize = 1 << 20;

/// The parsed weights and the device its tensors go to.
pub(crate) struct Weights<'a> {
    files: Vec<OpenFile<'a>>,
    device: &'a Device,
    format: WeightsFormat,
    parameters: Cell<usize>,
}

/// A file whose header has been read.
struct OpenFile<'a> {
    name: &'a str,
    bytes: FileBytes<'a>,
    header: Metadata,
    /// Where the first value stands.
    data_start: u64,
    /// What is wanted of it and has not been read.
    unread: RefCell<BTreeSet<String>>,
}

/// A tensor and the file it is in.
struct Found<'w, 'a> {
    file: &'w OpenFile<'a>,
    tensor: &'w TensorInfo,
}

/// A tensor as a file has it.
enum Stored<'w, 'a> {
    /// F32, F16 or BF16.
    Numbers(Found<'w, 'a>),
    /// Steps and their scales.
    Int8([Found<'w, 'a>; 2]),
    /// Nibbles and their scales.
    Q4([Found<'w, 'a>; 2]),
}

impl<'a> OpenFile<'a> {
    /// Reads the header and checks that the file is as long as it says.
    fn new(name: &'a str, bytes: FileBytes<'a>) -> Result<Self, ModelError> {
        let damaged = |reason: String| ModelError::Weights { file: name.to_owned(), reason };
        let read = |range: Range<u64>| bytes.read(range).map_err(|error| damaged(error.to_string()));
        if bytes.len() < LENGTH_BYTES {
            return Err(damaged(format!("{} bytes are no header", bytes.len())));
        }
        let length = read(0..LENGTH_BYTES)?;
        let length = u64::from_le_bytes(*length.as_array().expect("eight bytes were asked for"));
        if length > MAX_HEADER_BYTES.min(bytes.len() - LENGTH_BYTES) {
            let reason = format!("it has {} bytes, and its header says it is {length} long", bytes.len());
            return Err(damaged(reason));
        }
        let data_start = LENGTH_BYTES + length;
        let header: Metadata = serde_json::from_slice(&read(LENGTH_BYTES..data_start)?)
            .map_err(|error| damaged(error.to_string()))?;
        let end = data_start + header.data_len() as u64;
        if end != bytes.len() {
            return Err(damaged(format!("it has {} bytes, its header speaks of {end}", bytes.len())));
        }
        Ok(Self { name, bytes, header, data_start, unread: RefCell::default() })
    }

    /// Some bytes of a tensor.
    fn read(&self, tensor: &TensorInfo, bytes: Range<usize>) -> Result<Cow<'a, [u8]>, ModelError> {
        let at = |offset: usize| self.data_start + (tensor.data_offsets.0 + offset) as u64;
        self.bytes
            .read(at(bytes.start)..at(bytes.end))
            .map_err(|error| ModelError::Weights { file: self.name.to_owned(), reason: error.to_string() })
    }

    /// Notes that a tensor has been read; the last one lets go of the file.
    fn note_read(&self, name: &str) {
        let mut unread = self.unread.borrow_mut();
        if unread.remove(name) && unread.is_empty() {
            self.bytes.release();
        }
    }
}

impl<'a> Found<'_, 'a> {
    fn bytes(&self) -> usize {
        self.tensor.data_offsets.1 - self.tensor.data_offsets.0
    }

    fn read(&self) -> Result<Cow<'a, [u8]>, ModelError> {
        self.file.read(self.tensor, 0..self.bytes())
    }
}

impl<'a> Weights<'a> {
    /// Checks each file's header and extent, and that they hold what their index says; no tensor is read yet.
    pub(crate) fn parse(files: &'a WeightFiles, device: &'a Device) -> Result<Self, ModelError> {
        let opened = files.iter().map(|file| OpenFile::new(&file.name, file.bytes()));
        let weights = Self::of(opened.collect::<Result<_, _>>()?, device);
        for (tensor, place) in files.places() {
            let file = weights.files.iter().find(|file| file.name == place);
            if file.is_none_or(|file| file.header.info(tensor).is_none()) {
                let reason = format!("it has no tensor `{tensor}`, which the index says it has");
                return Err(ModelError::Weights { file: place.clone(), reason });
            }
        }
        Ok(weights)
    }

    /// As [`Self::parse`] for one file at hand.
    pub(crate) fn parse_one(bytes: &'a [u8], device: &'a Device) -> Result<Self, ModelError> {
        Ok(Self::of(vec![OpenFile::new("model.safetensors", FileBytes::Here(bytes))?], device))
    }

    fn of(files: Vec<OpenFile<'a>>, device: &'a Device) -> Self {
        Self { files, device, format: WeightsFormat::F32, parameters: Cell::new(0) }
    }

    /// Has the dense layers keep their weights in this format.
    pub(crate) fn kept_as(mut self, format: WeightsFormat) -> Self {
        self.format = format;
        self
    }

    /// Holds the headers against everything that a configuration asks for, before a value is read.
    pub(crate) fn check(&self, config: &ModelConfig) -> Result<(), ModelError> {
        self.check_tensors(expected_tensors(config))
    }

    /// As [`Self::check`] for tensors by name.
    pub(crate) fn check_tensors(&self, tensors: Vec<(String, Vec<usize>)>) -> Result<(), ModelError> {
        for (name, shape) in tensors {
            match self.find(&name, &shape)? {
                Stored::Numbers(found) => found.file.unread.borrow_mut().insert(name),
                Stored::Int8([values, scales]) | Stored::Q4([values, scales]) => {
                    scales.file.unread.borrow_mut().insert(scale_name(&name));
                    values.file.unread.borrow_mut().insert(name)
                }
            };
        }
        Ok(())
    }

    /// The tensors below a name such as `model.text_model`.
    pub(crate) fn scope(&self, prefix: &str) -> Scope<'_> {
        Scope { weights: self, prefix: prefix.to_owned() }
    }

    /// The tensors at the root of the tree, such as `lm_head.weight`.
    pub(crate) fn root(&self) -> Scope<'_> {
        self.scope("")
    }

    /// Number of values in the tensors taken so far.
    pub(crate) fn num_parameters(&self) -> usize {
        self.parameters.get()
    }

    fn any(&self, name: &str) -> Result<Found<'_, 'a>, ModelError> {
        let mut found =
            self.files.iter().filter_map(|file| Some(Found { file, tensor: file.header.info(name)? }));
        found.next().ok_or_else(|| ModelError::MissingTensor { name: name.to_owned() })
    }

    /// A tensor of exactly this shape, in a type that is read here.
    fn find(&self, name: &str, shape: &[usize]) -> Result<Stored<'_, 'a>, ModelError> {
        let found = self.any(name)?;
        let is_packed = is_packed(name, shape);
        match found.tensor.dtype {
            Dtype::F32 | Dtype::F16 | Dtype::BF16 => {
                check_shape(name, &found, shape)?;
                Ok(Stored::Numbers(found))
            }
            Dtype::I8 if is_packed => {
                check_shape(name, &found, shape)?;
                let scales = self.scales(name, Dtype::F32, &shape[..1])?;
                Ok(Stored::Int8([found, scales]))
            }
            Dtype::U8 if is_packed && inputs_of(shape).is_multiple_of(16) => {
                let [outputs, inputs] = [shape[0], inputs_of(shape)];
                check_shape(name, &found, &[outputs, inputs / 2])?;
                let scales = self.scales(name, Dtype::F16, &[outputs, inputs.div_ceil(GROUP)])?;
                Ok(Stored::Q4([found, scales]))
            }
            other => Err(ModelError::TensorType { name: name.to_owned(), found: format!("{other:?}") }),
        }
    }

    /// The scales of a tensor.
    fn scales(&self, name: &str, dtype: Dtype, shape: &[usize]) -> Result<Found<'_, 'a>, ModelError> {
        let name = scale_name(name);
        let found = self.any(&name)?;
        check_shape(&name, &found, shape)?;
        if found.tensor.dtype != dtype {
            return Err(ModelError::TensorType { name, found: format!("{:?}", found.tensor.dtype) });
        }
        Ok(found)
    }

    /// A tensor's numbers, whatever it is stored as.
    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        let values = match self.find(name, shape)? {
            Stored::Numbers(found) => {
                let values = floats(found.tensor.dtype, &found.read()?);
                found.file.note_read(name);
                values
            }
            packed => self.as_stored(name, shape, packed)?.dequantised(),
        };
        self.parameters.set(self.parameters.get() + values.len());
        Ok(values)
    }

    /// What a tensor of numbers is stored as, and bytes of one.
    pub(crate) fn type_of(&self, name: &str, shape: &[usize]) -> Result<(&'static str, usize), ModelError> {
        let Stored::Numbers(found) = self.find(name, shape)? else {
            unreachable!("`{name}` is never packed");
        };
        Ok(match found.tensor.dtype {
            Dtype::F16 => ("F16", 2),
            Dtype::BF16 => ("BF16", 2),
            _ => ("F32", 4),
        })
    }

    /// The bytes of a tensor of numbers as its file has them.
    pub(crate) fn raw(&self, name: &str, shape: &[usize]) -> Result<Cow<'a, [u8]>, ModelError> {
        let Stored::Numbers(found) = self.find(name, shape)? else {
            unreachable!("`{name}` is never packed");
        };
        let bytes = found.read()?;
        found.file.note_read(name);
        Ok(bytes)
    }

    /// A dense layer's weights or a table in its format.
    fn dense(&self, name: &str, shape: &[usize], format: WeightsFormat) -> Result<StoredWeight, ModelError> {
        let inputs = inputs_of(shape);
        let mut weight = StoredWeight::empty(inputs, stored_format(name, shape, format));
        match self.find(name, shape)? {
            Stored::Numbers(found) => {
                let (bytes, dtype) = (found.bytes(), found.tensor.dtype);
                let rows = (VALUES_AT_A_TIME / inputs).max(1);
                let step = rows * inputs * dtype.bitsize() / 8;
                for start in (0..bytes).step_by(step) {
                    let part = found.file.read(found.tensor, start..bytes.min(start + step))?;
                    weight.push_rows(&floats(dtype, &part));
                }
                found.file.note_read(name);
            }
            packed => {
                let stored = self.as_stored(name, shape, packed)?;
                if stored.format() == weight.format() {
                    weight = stored;
                } else {
                    weight.push_rows(&stored.dequantised());
                }
            }
        }
        self.parameters.set(self.parameters.get() + shape.iter().product::<usize>());
        Ok(weight)
    }

    /// A packed tensor as its file has it.
    fn as_stored(
        &self,
        name: &str,
        shape: &[usize],
        stored: Stored<'_, 'a>,
    ) -> Result<StoredWeight, ModelError> {
        let (found, scales) = match &stored {
            Stored::Numbers(_) => unreachable!("numbers are read as such"),
            Stored::Int8([values, scales]) | Stored::Q4([values, scales]) => (values, scales),
        };
        let (values, scale_bytes) = (found.read()?, scales.read()?);
        found.file.note_read(name);
        scales.file.note_read(&scale_name(name));
        let values = match stored {
            Stored::Q4(_) => StoredValues::Q4 {
                nibbles: values.into_owned(),
                scales: scale_bytes.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes)).collect(),
            },
            _ => StoredValues::Int8 {
                steps: values.iter().map(|step| step.cast_signed()).collect(),
                scales: floats(Dtype::F32, &scale_bytes),
            },
        };
        Ok(StoredWeight::from_values(inputs_of(shape), values))
    }
}

fn scale_name(name: &str) -> String {
    format!("{name}{SCALE_SUFFIX}")
}

fn check_shape(name: &str, found: &Found<'_, '_>, shape: &[usize]) -> Result<(), ModelError> {
    if found.tensor.shape == shape {
        return Ok(());
    }
    Err(ModelError::TensorShape {
        name: name.to_owned(),
        found: found.tensor.shape.clone(),
        expected: shape.to_vec(),
    })
}

/// Values of one of the types that [`Weights::find`] lets through.
fn floats(dtype: Dtype, data: &[u8]) -> Vec<f32> {
    match dtype {
        Dtype::F16 => data.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect(),
        Dtype::BF16 => data.as_chunks().0.iter().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect(),
        _ => data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
    }
}

/// A place in the checkpoint's tree of names.
pub(crate) struct Scope<'a> {
    weights: &'a Weights<'a>,
    prefix: String,
}

impl Scope<'_> {
    /// The scope below this one.
    pub(crate) fn child(&self, name: &str) -> Self {
        Self { weights: self.weights, prefix: self.full_name(name) }
    }

    fn full_name(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}.{name}", self.prefix) }
    }

    /// One tensor of exactly this shape.
    pub(crate) fn tensor<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
    ) -> Result<Tensor<D>, ModelError> {
        let values = self.values(name, &shape)?;
        let data = TensorData::from_bytes(Bytes::from_elems(values), shape, DType::F32);
        Ok(Tensor::from_data(data, self.weights.device))
    }

    /// The values of one tensor of exactly this shape, which never go to the device: a browser cannot read them back at
    /// once.
    pub(crate) fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        self.weights.values(&self.full_name(name), shape)
    }

    /// A dense layer's weights or a table, in its format.
    ///
    /// # Shapes
    /// - shape: `[outputs, inputs]`, or further dimensions of inputs
    pub(crate) fn dense(&self, name: &str, shape: &[usize]) -> Result<StoredWeight, ModelError> {
        self.weights.dense(&self.full_name(name), shape, self.weights_format())
    }

    /// Layers over the same inputs as one, each with its outputs.
    pub(crate) fn dense_joined(
        &self,
        layers: &[(&str, usize)],
        inputs: usize,
    ) -> Result<StoredWeight, ModelError> {
        let mut layers = layers.iter().map(|(name, outputs)| self.dense(name, &[*outputs, inputs]));
        let mut joined = layers.next().expect("there is a layer to join")?;
        for layer in layers {
            joined.append(layer?);
        }
        Ok(joined)
    }

    /// How dense layers keep their weights.
    pub(crate) fn weights_format(&self) -> WeightsFormat {
        self.weights.format
    }

    /// The device that the tensors go to.
    pub(crate) fn device(&self) -> &Device {
        self.weights.device
    }
}
