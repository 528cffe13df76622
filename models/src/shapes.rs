//! Which tensor shapes a device may see.
//!
//! On a GPU tensor operations are compiled and tuned for every new shape, which takes seconds: shapes are few there,
//! padded and masked, and [`warm_up`](crate::Assistant::warm_up) runs each once. A CPU pays for padding and not for
//! shapes, and so do the fused kernels of a decoder on a GPU.

use burn::tensor::Device;

use crate::device;

/// Cache capacities on a GPU are multiples of this many positions.
const CAPACITY_STEP: usize = 512;
/// Up to here row counts on a GPU are powers of two; a cache has this much room for padding at its end.
pub(crate) const MAX_STEP_ROWS: usize = 16;
/// Prefill lengths on a GPU are multiples of this many positions.
const PREFILL_STEP: usize = 128;

/// How a device wants its shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShapePolicy {
    /// Exact shapes (CPU).
    Exact,
    /// Few, padded shapes (GPU).
    Padded,
    /// Few, padded shapes in the towers, exact ones in the decoder (GPU with fused kernels).
    Fused,
}

impl ShapePolicy {
    /// The policy for a device.
    pub fn for_device(device: &Device) -> Self {
        if device::is_cpu(device) { Self::Exact } else { Self::Padded }
    }

    /// Positions to allocate for a sequence of up to `positions`.
    pub fn capacity(self, positions: usize) -> usize {
        match self {
            Self::Exact | Self::Fused => positions,
            Self::Padded => (positions + MAX_STEP_ROWS).next_multiple_of(CAPACITY_STEP),
        }
    }

    /// Rows to run for `count` new positions: powers of two up to 16, then multiples of a prefill step.
    pub fn rows(self, count: usize) -> usize {
        match self {
            Self::Exact | Self::Fused => count,
            Self::Padded if count <= MAX_STEP_ROWS => count.next_power_of_two(),
            Self::Padded => count.next_multiple_of(PREFILL_STEP),
        }
    }

    /// Cache positions that attention looks at when `held` are in use: a view of the held ones on the CPU; all of
    /// them on a GPU, where cutting would copy and change shapes.
    pub fn window(self, held: usize, capacity: usize) -> usize {
        match self {
            Self::Exact | Self::Fused => held,
            Self::Padded => capacity,
        }
    }

    /// Images to run together for `count` images.
    pub fn images(self, count: usize) -> usize {
        match self {
            Self::Exact => count,
            Self::Padded | Self::Fused if count <= 1 => count,
            Self::Padded | Self::Fused => count.next_multiple_of(4),
        }
    }

    /// Every row count that sequences of up to `max_positions` may run with on this device, or one for each of its
    /// kernels; empty for a CPU.
    pub fn all_rows(self, max_positions: usize) -> Vec<usize> {
        match self {
            Self::Exact => Vec::new(),
            Self::Fused => vec![1, 2, 4, 8],
            Self::Padded => [1, 2, 4, 8, 16]
                .into_iter()
                .chain((1..).map(|step| step * PREFILL_STEP))
                .take_while(|&rows| rows <= max_positions)
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ShapePolicy::{Exact, Padded};

    #[test]
    fn a_cpu_runs_exact_shapes() {
        assert_eq!((Exact.rows(7), Exact.capacity(300), Exact.window(9, 64)), (7, 300, 9));
        assert!(Exact.all_rows(1024).is_empty());
    }

    #[test]
    fn every_padded_row_count_is_warmed_up() {
        let warmed = Padded.all_rows(512);
        assert!((1..=512).all(|count| warmed.contains(&Padded.rows(count))));
        assert_eq!(warmed.len(), 9);
    }
}
