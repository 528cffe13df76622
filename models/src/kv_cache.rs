//! The key/value cache of the decoder: preallocated, written in place, rolled back by forgetting.
//!
//! It stores what the decoder gives it and knows nothing of tokens. Rows beyond the length are free space: a
//! roll-back only lowers the length, and later writes overwrite what is there.

use burn::tensor::{Device, Tensor};

use crate::config::TextConfig;
use crate::device::{FusedCache, HostCache};

/// Keys and values of all layers for `len` positions of a batch of equally long sequences.
#[derive(Debug, Clone)]
pub struct KvCache {
    storage: Storage,
    num_layers: usize,
    batch: usize,
    len: usize,
    capacity: usize,
}

#[derive(Debug, Clone)]
enum Storage {
    Tensors(Vec<LayerCache>),
    /// In the order of the CPU's kernels.
    Host(HostCache),
    /// In the order of a GPU's kernels.
    Fused(FusedCache),
}

/// One layer's keys and values, each `[batch, kv heads, capacity, head_dim]`.
///
/// `None` only while a write is under way: the write must own the tensor to happen in place.
#[derive(Debug, Clone)]
struct LayerCache {
    keys: Option<Tensor<4>>,
    values: Option<Tensor<4>>,
}

impl KvCache {
    /// An empty cache of `layers` layers for `batch` sequences of up to `capacity` positions.
    pub(crate) fn new(
        config: &TextConfig,
        layers: usize,
        batch: usize,
        capacity: usize,
        device: &Device,
    ) -> Self {
        let shape = [batch, config.num_key_value_heads, capacity, config.head_dim()];
        let zeros = || Some(Tensor::zeros(shape, device));
        let tensors = (0..layers).map(|_| LayerCache { keys: zeros(), values: zeros() }).collect();
        Self { storage: Storage::Tensors(tensors), num_layers: layers, batch, len: 0, capacity }
    }

    /// The same in the order of the CPU's kernels.
    pub(crate) fn host(cache: HostCache, layers: usize, batch: usize, capacity: usize) -> Self {
        Self { storage: Storage::Host(cache), num_layers: layers, batch, len: 0, capacity }
    }

    /// What the CPU's kernels write to.
    ///
    /// # Panics
    /// If the cache is another one.
    pub(crate) fn as_host(&mut self) -> &mut HostCache {
        match &mut self.storage {
            Storage::Host(cache) => cache,
            Storage::Tensors(_) | Storage::Fused(_) => panic!("a decoder on a CPU made this cache"),
        }
    }

    /// The same in the memory of a GPU's kernels.
    pub(crate) fn fused(cache: FusedCache, layers: usize, batch: usize, capacity: usize) -> Self {
        Self { storage: Storage::Fused(cache), num_layers: layers, batch, len: 0, capacity }
    }

    /// What a GPU's kernels write to.
    ///
    /// # Panics
    /// If the cache is another one.
    pub(crate) fn as_fused(&mut self) -> &mut FusedCache {
        match &mut self.storage {
            Storage::Fused(cache) => cache,
            Storage::Tensors(_) | Storage::Host(_) => panic!("a decoder of fused kernels made this cache"),
        }
    }

    /// Positions held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no position is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Layers whose keys and values are held.
    pub fn num_layers(&self) -> usize {
        self.num_layers
    }

    /// Sequences held.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Positions that fit.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes of the keys and values, free space included.
    pub fn bytes(&self) -> u64 {
        let layers = match &self.storage {
            Storage::Tensors(layers) => layers,
            Storage::Host(cache) => return cache.bytes(),
            Storage::Fused(cache) => return cache.bytes(),
        };
        let of = |tensor: &Option<Tensor<4>>| {
            tensor.as_ref().map_or(0, |tensor| tensor.shape().num_elements() * tensor.dtype().size())
        };
        layers.iter().map(|layer| (of(&layer.keys) + of(&layer.values)) as u64).sum()
    }

    /// A copy of the first `len` positions with room for `capacity`.
    ///
    /// # Panics
    /// If fewer positions are held, or they do not fit.
    pub(crate) fn prefix(&self, len: usize, capacity: usize) -> Self {
        assert!(len <= self.len && len <= capacity, "{len} of {} positions into {capacity}", self.len);
        let copy = |tensor: &Option<Tensor<4>>| tensor.as_ref().map(|tensor| resized(tensor, capacity));
        let copy = |layer: &LayerCache| LayerCache { keys: copy(&layer.keys), values: copy(&layer.values) };
        let storage = match &self.storage {
            Storage::Tensors(layers) => Storage::Tensors(layers.iter().map(copy).collect()),
            Storage::Host(cache) => Storage::Host(cache.prefix(len, capacity)),
            Storage::Fused(cache) => Storage::Fused(cache.prefix(len, capacity)),
        };
        Self { storage, num_layers: self.num_layers, batch: self.batch, len, capacity }
    }

    /// Changes the room to `capacity`, tensor by tensor, so that hardly more than the larger of both is in use.
    ///
    /// # Panics
    /// If more positions are held.
    pub(crate) fn resize(&mut self, capacity: usize) {
        assert!(self.len <= capacity, "{} positions into {capacity}", self.len);
        match &mut self.storage {
            Storage::Tensors(layers) => {
                for slot in layers.iter_mut().flat_map(|layer| [&mut layer.keys, &mut layer.values]) {
                    *slot = slot.take().map(|tensor| resized(&tensor, capacity));
                }
            }
            Storage::Host(cache) => cache.resize(self.len, capacity),
            Storage::Fused(cache) => *cache = cache.prefix(self.len, capacity),
        }
        self.capacity = capacity;
    }

    /// Forgets all positions from `len` on.
    ///
    /// # Panics
    /// If fewer positions are held.
    pub fn truncate(&mut self, len: usize) {
        assert!(len <= self.len, "cannot truncate a cache of {} positions to {len}", self.len);
        self.len = len;
    }

    /// Counts positions that every layer has written by [`Self::write`].
    pub(crate) fn advance(&mut self, positions: usize) {
        self.len += positions;
        assert!(self.len <= self.capacity, "cache of {} positions overflows to {}", self.capacity, self.len);
    }

    /// Writes one layer's keys and values behind the held positions, and returns the first `window` positions.
    ///
    /// # Shapes
    /// - keys, values: `[batch, kv heads, new, head_dim]`
    /// - output: two of `[batch, kv heads, window, head_dim]`
    pub(crate) fn write(
        &mut self,
        layer: usize,
        keys: Tensor<4>,
        values: Tensor<4>,
        window: usize,
    ) -> (Tensor<4>, Tensor<4>) {
        let (start, capacity) = (self.len, self.capacity);
        let Storage::Tensors(layers) = &mut self.storage else {
            panic!("a decoder of tensor operations made this cache");
        };
        let cache = &mut layers[layer];
        let write = |slot: &mut Option<Tensor<4>>, new: Tensor<4>| {
            let [batch, heads, count, head_dim] = new.dims();
            let old = slot.take().expect("the cache is whole between writes");
            let whole = old.slice_assign([0..batch, 0..heads, start..start + count, 0..head_dim], new);
            *slot = Some(whole.clone());
            if window == capacity { whole } else { whole.narrow(2, 0, window) }
        };
        (write(&mut cache.keys, keys), write(&mut cache.values, values))
    }
}

/// The positions of one tensor that fit, in one of `capacity`. What is free is copied too: so a GPU, whose capacities are
/// few, sees few shapes.
fn resized(tensor: &Tensor<4>, capacity: usize) -> Tensor<4> {
    let [batch, heads, old, head_dim] = tensor.dims();
    if old == capacity {
        // Copied once one of the two is written.
        return tensor.clone();
    }
    let (kept, device) = (old.min(capacity), tensor.device());
    let room = Tensor::zeros([batch, heads, capacity, head_dim], &device);
    room.slice_assign([0..batch, 0..heads, 0..kept, 0..head_dim], tensor.clone().narrow(2, 0, kept))
}
