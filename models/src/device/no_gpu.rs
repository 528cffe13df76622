//! What stands for the fused kernels where no GPU backend is compiled in: nothing is ever made of it.

use std::ops::Range;

use burn::tensor::Tensor;

use crate::checkpoint::Scope;
use crate::config::TextConfig;
use crate::encoder::{EncoderShape, LayerNames};
use crate::error::ModelError;

/// Never called: no weight is on a GPU.
pub(crate) fn product(_x: Tensor<2>, _weight: Tensor<2>) -> Tensor<2> {
    unreachable!("no GPU backend is compiled in")
}

/// A decoder on a GPU, of which there is none.
#[derive(Debug)]
pub(crate) enum FusedDecoder {}

/// The layers of an encoder on a GPU, of which there are none.
#[derive(Debug)]
pub(crate) enum GpuEncoder {}

/// A cache on a GPU, of which there is none.
#[derive(Debug, Clone)]
pub(crate) struct FusedCache;

/// New positions of a cache.
#[derive(Debug)]
#[expect(dead_code, reason = "nothing reads what nothing is made of")]
pub(crate) struct FusedSegment<'a> {
    pub(crate) cache: &'a mut FusedCache,
    pub(crate) held: usize,
    pub(crate) rows: usize,
}

impl FusedCache {
    pub(crate) fn bytes(&self) -> u64 {
        unreachable!("no GPU backend is compiled in")
    }

    pub(crate) fn prefix(&self, _positions: usize, _capacity: usize) -> Self {
        unreachable!("no GPU backend is compiled in")
    }
}

impl GpuEncoder {
    pub(crate) fn load(
        _scope: &Scope<'_>,
        _shape: &EncoderShape,
        _names: &LayerNames,
    ) -> Result<Option<Self>, ModelError> {
        Ok(None)
    }

    pub(crate) fn len(&self) -> usize {
        match *self {}
    }

    pub(crate) fn forward(
        &self,
        _x: Tensor<3>,
        _layers: Range<usize>,
        _mask: Option<&Tensor<4>>,
    ) -> Tensor<3> {
        match *self {}
    }
}

impl FusedDecoder {
    pub(crate) fn load(
        _scope: &Scope<'_>,
        _config: &TextConfig,
        _head: Option<&Scope<'_>>,
        _num_positions: usize,
    ) -> Result<Option<Self>, ModelError> {
        Ok(None)
    }

    pub(crate) fn new_cache(&self, _batch: usize, _capacity: usize) -> FusedCache {
        match *self {}
    }

    pub(crate) fn forward(
        &self,
        _hidden: Tensor<3>,
        _segments: &mut [FusedSegment<'_>],
        _layers: Range<usize>,
    ) -> Tensor<3> {
        match *self {}
    }

    pub(crate) fn embed(&self, _ids: &[u32]) -> Tensor<3> {
        match *self {}
    }

    pub(crate) fn score(&self, _ids: &[u32], _segments: &mut [FusedSegment<'_>]) -> Tensor<3> {
        match *self {}
    }

    pub(crate) fn logits(&self, _hidden: Tensor<3>) -> Tensor<3> {
        match *self {}
    }
}
