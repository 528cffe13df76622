//! Reading golden files and comparing with them.

use std::path::PathBuf;

use burn::tensor::Tensor;

/// Makes the golden files; named in every message about them.
pub(crate) const SCRIPT: &str = "the scripts in models/tests/reference";

pub(crate) fn golden_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

pub(crate) fn read(name: &str) -> Vec<u8> {
    std::fs::read(golden_path(name)).unwrap_or_else(|error| panic!("{name}: {error}; run {SCRIPT}"))
}

pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

/// Largest difference, as a share of the reference's largest value.
pub(crate) fn relative_error(found: &[f32], reference: &[f32]) -> f32 {
    assert_eq!(found.len(), reference.len());
    let largest = reference.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let difference = found.iter().zip(reference).fold(0.0_f32, |worst, (a, b)| worst.max((a - b).abs()));
    assert!(found.iter().all(|value| value.is_finite()));
    difference / largest
}

pub(crate) fn assert_close<const D: usize>(name: &str, found: Tensor<D>, reference: &[f32], tolerance: f32) {
    let error = relative_error(&values(found), reference);
    assert!(error <= tolerance, "{name}: relative error {error:e} above {tolerance:e}");
}
