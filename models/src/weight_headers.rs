//! The headers of a checkpoint's files of weights, held against its configuration before a value is there: what is fetched
//! from afar is refused in time.

use std::collections::BTreeMap;

use msao_kernels::GROUP;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::error::ModelError;
use crate::quantisation::{SCALE_SUFFIX, inputs_of, is_packed};

/// Bytes in front of a header, which tell its length.
const LENGTH_BYTES: usize = 8;
/// Published headers have some hundred kilobytes; the format itself allows for 100 MB.
const MAX_HEADER_BYTES: u64 = 32 << 20;

/// Which tensor is in which file, of what shape and type.
#[derive(Debug, Default)]
pub struct WeightHeaders {
    tensors: BTreeMap<String, TensorInfo>,
}

impl WeightHeaders {
    /// Bytes from the beginning of a file to the end of its header, by the file's first 8 bytes.
    ///
    /// # Errors
    /// [`ModelError::Weights`] for what is no header, or is longer than any.
    pub fn end_of_header(file: &str, first: [u8; LENGTH_BYTES]) -> Result<u64, ModelError> {
        match u64::from_le_bytes(first) {
            bytes if bytes <= MAX_HEADER_BYTES => Ok(bytes + LENGTH_BYTES as u64),
            bytes => Err(damaged(file, format!("its header has {bytes} bytes; this is no safetensors file"))),
        }
    }

    /// Reads the header in the `head` of a file that has `file_bytes` altogether.
    ///
    /// # Errors
    /// [`ModelError::Weights`] for a header that is no good or speaks of another length.
    pub fn add(&mut self, file: &str, head: &[u8], file_bytes: u64) -> Result<(), ModelError> {
        let first = head.first_chunk().ok_or_else(|| damaged(file, "it has no header".to_owned()))?;
        let end = Self::end_of_header(file, *first)?;
        let json = usize::try_from(end).ok().and_then(|end| head.get(LENGTH_BYTES..end));
        let json = json.ok_or_else(|| damaged(file, "its header is cut".to_owned()))?;
        let header: Metadata =
            serde_json::from_slice(json).map_err(|error| damaged(file, error.to_string()))?;
        let told_bytes = end + header.data_len() as u64;
        if told_bytes != file_bytes {
            let reason = format!("it has {file_bytes} bytes where its header speaks of {told_bytes}");
            return Err(damaged(file, reason));
        }
        let tensors = header.tensors().into_iter().map(|(name, info)| (name, info.clone()));
        self.tensors.extend(tensors);
        Ok(())
    }

    /// Holds them against what a configuration asks for.
    ///
    /// # Errors
    /// Naming the tensor that is missing, of another shape, or stored in a type that is not read.
    pub fn check(&self, expected: impl IntoIterator<Item = (String, Vec<usize>)>) -> Result<(), ModelError> {
        expected.into_iter().try_for_each(|(name, shape)| self.check_one(&name, &shape))
    }

    /// A tensor as published, or as `msao-server convert` packs it.
    fn check_one(&self, name: &str, shape: &[usize]) -> Result<(), ModelError> {
        let is_packed = is_packed(name, shape);
        let scale = format!("{name}{SCALE_SUFFIX}");
        match self.any(name)?.dtype {
            Dtype::F32 | Dtype::F16 | Dtype::BF16 => self.check_shape(name, shape),
            Dtype::I8 if is_packed => {
                self.check_shape(name, shape)?;
                self.check_shape(&scale, &shape[..1])
            }
            Dtype::U8 if is_packed => {
                let inputs = inputs_of(shape);
                self.check_shape(name, &[shape[0], inputs / 2])?;
                self.check_shape(&scale, &[shape[0], inputs.div_ceil(GROUP)])
            }
            other => Err(ModelError::TensorType { name: name.to_owned(), found: format!("{other:?}") }),
        }
    }

    fn any(&self, name: &str) -> Result<&TensorInfo, ModelError> {
        self.tensors.get(name).ok_or_else(|| ModelError::MissingTensor { name: name.to_owned() })
    }

    fn check_shape(&self, name: &str, expected: &[usize]) -> Result<(), ModelError> {
        let found = &self.any(name)?.shape;
        if found == expected {
            return Ok(());
        }
        let (found, expected) = (found.clone(), expected.to_vec());
        Err(ModelError::TensorShape { name: name.to_owned(), found, expected })
    }
}

fn damaged(file: &str, reason: String) -> ModelError {
    ModelError::Weights { file: file.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::TensorView;

    use super::*;

    fn file(dtype: Dtype, shape: &[usize]) -> Vec<u8> {
        let bytes = vec![0; shape.iter().product::<usize>() * dtype.bitsize() / 8];
        let view = TensorView::new(dtype, shape.to_vec(), &bytes).unwrap();
        safetensors::serialize([("a.weight", view)], None).unwrap()
    }

    fn read(file: &[u8], file_bytes: usize) -> Result<WeightHeaders, ModelError> {
        let mut headers = WeightHeaders::default();
        let end = WeightHeaders::end_of_header("f", *file.first_chunk().unwrap())?;
        headers.add("f", &file[..(end as usize).min(file.len())], file_bytes as u64)?;
        Ok(headers)
    }

    #[test]
    fn a_header_alone_tells_whether_the_file_suits() {
        let expected = |shape: &[usize]| [("a.weight".to_owned(), shape.to_vec())];
        let whole = file(Dtype::BF16, &[2, 3]);
        let headers = read(&whole, whole.len()).unwrap();
        headers.check(expected(&[2, 3])).unwrap();
        assert!(matches!(headers.check(expected(&[3, 2])), Err(ModelError::TensorShape { .. })));
        let missing = [("b.weight".to_owned(), vec![1])];
        assert!(matches!(headers.check(missing), Err(ModelError::MissingTensor { .. })));
        let integers = file(Dtype::I64, &[2, 3]);
        let headers = read(&integers, integers.len()).unwrap();
        assert!(matches!(headers.check(expected(&[2, 3])), Err(ModelError::TensorType { .. })));
    }

    #[test]
    fn a_file_of_another_length_or_kind_is_damaged() {
        let whole = file(Dtype::F32, &[4]);
        assert!(read(&whole, whole.len() - 1).is_err());
        assert!(read(&whole[..20], whole.len()).is_err());
        assert!(read(b"<!doctype html><html>", 21).is_err());
        assert!(read(&[8, 0, 0, 0, 0, 0, 0, 0, b'n', b'o'], 10).is_err());
    }
}
