//! What stands for the CPU's kernels where no CPU backend is compiled in: nothing is ever made of it.

use std::ops::Range;

use burn::tensor::Tensor;
use msao_kernels::StoredWeight;

use crate::checkpoint::Scope;
use crate::config::TextConfig;
use crate::encoder::{EncoderShape, LayerNames};
use crate::error::ModelError;
use crate::speech::WhisperConfig;

/// A weight matrix in the CPU kernel's own order, of which there is none.
#[derive(Debug)]
pub(crate) enum PackedWeight {}

/// A decoder on a CPU, of which there is none.
#[derive(Debug)]
pub(crate) enum HostDecoder {}

/// The layers of an encoder on a CPU, of which there are none.
#[derive(Debug)]
pub(crate) enum HostEncoder {}

/// A cache on a CPU, of which there is none.
#[derive(Debug, Clone)]
pub(crate) enum HostCache {}

/// A decoder of speech on a CPU; none is ever made. It is no empty type, as the compiler would point out all that cannot be reached then.
#[derive(Debug)]
pub(crate) struct SpeechDecoder(());

/// What was heard on a CPU.
#[derive(Debug)]
pub(crate) struct Heard(());

/// What was written there.
#[derive(Debug)]
pub(crate) struct Written(());

/// New positions of a cache.
#[derive(Debug)]
#[expect(dead_code, reason = "nothing reads what nothing is made of")]
pub(crate) struct HostSegment<'a> {
    pub(crate) cache: &'a mut HostCache,
    pub(crate) batch: usize,
    pub(crate) held: usize,
    pub(crate) rows: usize,
}

impl PackedWeight {
    pub(crate) fn new(weight: &StoredWeight) -> Self {
        unreachable!("no CPU backend is compiled in, yet {:?} is for one", weight.format())
    }

    pub(crate) fn forward(&self, _x: Tensor<2>) -> Tensor<2> {
        match *self {}
    }
}

impl HostCache {
    pub(crate) fn bytes(&self) -> u64 {
        match *self {}
    }

    pub(crate) fn prefix(&self, _positions: usize, _capacity: usize) -> Self {
        match *self {}
    }

    pub(crate) fn resize(&mut self, _positions: usize, _capacity: usize) {
        match *self {}
    }
}

impl HostDecoder {
    pub(crate) fn load(
        _scope: &Scope<'_>,
        _config: &TextConfig,
        _head: Option<&Scope<'_>>,
        _num_positions: usize,
    ) -> Result<Option<Self>, ModelError> {
        Ok(None)
    }

    pub(crate) fn embed(&self, _ids: &[Vec<u32>]) -> Tensor<3> {
        match *self {}
    }

    pub(crate) fn new_cache(&self, _layers: usize, _batch: usize, _capacity: usize) -> HostCache {
        match *self {}
    }

    pub(crate) fn kv_bytes(&self, _layers: usize, _batch: usize, _capacity: usize) -> u64 {
        match *self {}
    }

    pub(crate) fn forward(
        &self,
        _hidden: Tensor<3>,
        _segments: &mut [HostSegment<'_>],
        _layers: Range<usize>,
    ) -> Tensor<3> {
        match *self {}
    }

    pub(crate) fn forward_last(&self, _hidden: Tensor<3>, _segments: &mut [HostSegment<'_>]) -> Tensor<3> {
        match *self {}
    }

    pub(crate) fn logits(&self, _hidden: Tensor<3>) -> Tensor<3> {
        match *self {}
    }
}

impl HostEncoder {
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

    pub(crate) fn forward(&self, _x: Tensor<3>, _layers: Range<usize>) -> Tensor<3> {
        match *self {}
    }
}

impl SpeechDecoder {
    pub(crate) fn load(_scope: &Scope<'_>, _config: &WhisperConfig) -> Result<Self, ModelError> {
        unreachable!("no CPU is opened where no CPU backend is compiled in")
    }

    pub(crate) fn hear(&self, _frames: &[f32]) -> Heard {
        unreachable!("{self:?} is never made")
    }

    pub(crate) fn begin(&self, _capacity: usize) -> Written {
        unreachable!("{self:?} is never made")
    }

    pub(crate) fn forward(&self, _ids: &[u32], _heard: &Heard, _written: &mut Written) -> Vec<f32> {
        unreachable!("{self:?} is never made")
    }

    pub(crate) fn scores(&self, _hidden: &[f32]) -> Vec<f32> {
        unreachable!("{self:?} is never made")
    }
}
