//! Tensors by name: the headers of all files of weights, and values read one tensor at a time.
//!
//! A header is held against the configuration before a value is read. Of a file that is elsewhere no more than one tensor
//! is in memory, and it hears when the last of those that are wanted has been read.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::Range;

use burn::tensor::{Bytes, DType, Device, Tensor, TensorData, bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::expected::expected_tensors;
use crate::weight_files::{FileBytes, WeightFiles};
use crate::weights_format::WeightsFormat;

/// What a file begins with: the length of its header.
const LENGTH_BYTES: u64 = 8;
/// Headers name each tensor once; the format itself allows no more.
const MAX_HEADER_BYTES: u64 = 100_000_000;

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

    fn read(&self, tensor: &TensorInfo) -> Result<Cow<'a, [u8]>, ModelError> {
        let at = |offset: usize| self.data_start + offset as u64;
        let (start, end) = tensor.data_offsets;
        self.bytes
            .read(at(start)..at(end))
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
        for (name, shape) in expected_tensors(config) {
            let (file, _) = self.find(&name, &shape)?;
            file.unread.borrow_mut().insert(name);
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

    /// A tensor of exactly this shape, in a type that is read here.
    fn find(&self, name: &str, shape: &[usize]) -> Result<(&OpenFile<'a>, &TensorInfo), ModelError> {
        let found = self.files.iter().find_map(|file| Some((file, file.header.info(name)?)));
        let (file, tensor) = found.ok_or_else(|| ModelError::MissingTensor { name: name.to_owned() })?;
        if tensor.shape != shape {
            return Err(ModelError::TensorShape {
                name: name.to_owned(),
                found: tensor.shape.clone(),
                expected: shape.to_vec(),
            });
        }
        match tensor.dtype {
            Dtype::F32 | Dtype::F16 | Dtype::BF16 => Ok((file, tensor)),
            other => Err(ModelError::TensorType { name: name.to_owned(), found: format!("{other:?}") }),
        }
    }

    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        let (file, tensor) = self.find(name, shape)?;
        let values = floats(tensor.dtype, &file.read(tensor)?);
        file.note_read(name);
        self.parameters.set(self.parameters.get() + values.len());
        Ok(values)
    }
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

    /// How dense layers keep their weights.
    pub(crate) fn weights_format(&self) -> WeightsFormat {
        self.weights.format
    }

    /// The device that the tensors go to.
    pub(crate) fn device(&self) -> &Device {
        self.weights.device
    }
}
