//! Antialiased image resizing, equal to Pillow's to the bit.
//!
//! Checkpoints are trained on pictures that Pillow made smaller, so its arithmetic is part of the model: two
//! passes (rows, then columns) of fixed-point weights with 22 fractional bits, rounded to 8 bits in between.
//! The reference is Pillow's `src/libImaging/Resample.c`.

use std::cell::RefCell;
use std::rc::Rc;

use msao_kernels::share_rows;

use super::RgbImage;

/// The kernel of a resize; names and numbers as in `PIL.Image.Resampling`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResizeFilter {
    /// Windowed sinc over 3 lobes (number 1).
    Lanczos,
    /// Triangle (number 2).
    Bilinear,
    /// Cubic with a = -0.5 (number 3).
    Bicubic,
}

impl ResizeFilter {
    /// The filter behind the `resample` number of a preprocessor_config.json.
    pub fn from_pil_number(number: u64) -> Option<Self> {
        match number {
            1 => Some(Self::Lanczos),
            2 => Some(Self::Bilinear),
            3 => Some(Self::Bicubic),
            _ => None,
        }
    }

    /// Half the kernel's width, in source pixels at scale 1.
    fn support(self) -> f64 {
        match self {
            Self::Lanczos => 3.0,
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        match self {
            Self::Lanczos => {
                if (-3.0..3.0).contains(&x) {
                    sinc(x) * sinc(x / 3.0)
                } else {
                    0.0
                }
            }
            Self::Bilinear => (1.0 - x.abs()).max(0.0),
            Self::Bicubic => {
                const A: f64 = -0.5;
                let x = x.abs();
                if x < 1.0 {
                    ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
                } else if x < 2.0 {
                    (((x - 5.0) * x + 8.0) * x - 4.0) * A
                } else {
                    0.0
                }
            }
        }
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let x = x * std::f64::consts::PI;
    x.sin() / x
}

/// Scales a picture to `width` x `height` without regard to its proportions.
///
/// # Panics
/// When `width` or `height` is zero.
pub fn resize(image: &RgbImage, width: u32, height: u32, filter: ResizeFilter) -> RgbImage {
    assert!(width > 0 && height > 0, "a resize to {width}x{height}");
    let (source_width, source_height) = (image.width() as usize, image.height() as usize);
    let (target_width, target_height) = (width as usize, height as usize);
    let rows = |pixels: &[u8]| -> Option<Vec<u8>> {
        let changes = target_width != source_width;
        changes.then(|| resize_rows(pixels, source_width, &Kernels::of(source_width, target_width, filter)))
    };
    let columns = |pixels: &[u8], width: usize| -> Option<Vec<u8>> {
        let changes = target_height != source_height;
        changes.then(|| resize_columns(pixels, width, &Kernels::of(source_height, target_height, filter)))
    };
    // As Pillow: a pass whose size does not change is skipped, not run with an identity kernel. Since version
    // 13 the columns go first where they shrink by much more than the rows.
    let lost_rows = source_height.saturating_sub(target_height);
    let lost_columns = source_width.saturating_sub(target_width);
    let pixels = if lost_rows > 2 * lost_columns {
        let flattened = columns(image.pixels(), source_width);
        let flattened = flattened.as_deref().unwrap_or(image.pixels());
        rows(flattened).unwrap_or_else(|| flattened.to_vec())
    } else {
        let narrowed = rows(image.pixels());
        let narrowed = narrowed.as_deref().unwrap_or(image.pixels());
        columns(narrowed, target_width).unwrap_or_else(|| narrowed.to_vec())
    };
    RgbImage::from_parts(width, height, pixels)
}

const PRECISION_BITS: u32 = 32 - 8 - 2;

/// For each target position the first source position and its fixed-point weights.
struct Kernels {
    source: usize,
    target: usize,
    filter: ResizeFilter,
    starts: Vec<usize>,
    /// Those of one position behind those of the other.
    weights: Vec<i32>,
    /// Where those of each position end.
    ends: Vec<usize>,
}

thread_local! {
    /// The last kernels: rows and columns of a square share them, and pictures that follow each other are often of one
    /// size. Computing them anew would take as long as a pass.
    static LAST: RefCell<Option<Rc<Kernels>>> = const { RefCell::new(None) };
}

impl Kernels {
    fn of(source: usize, target: usize, filter: ResizeFilter) -> Rc<Self> {
        LAST.with_borrow_mut(|last| match last {
            Some(kept) if (kept.source, kept.target, kept.filter) == (source, target, filter) => kept.clone(),
            _ => last.insert(Rc::new(Self::new(source, target, filter))).clone(),
        })
    }

    fn new(source: usize, target: usize, filter: ResizeFilter) -> Self {
        let scale = source as f64 / target as f64;
        // When enlarging, the kernel keeps its width; when reducing, it grows and so averages.
        let filter_scale = scale.max(1.0);
        let support = filter.support() * filter_scale;
        let mut starts = Vec::with_capacity(target);
        let mut weights = Vec::new();
        let mut ends = Vec::with_capacity(target);
        let mut raw: Vec<f64> = Vec::new();
        for position in 0..target {
            let center = (position as f64 + 0.5) * scale;
            // Casts to integers truncate towards zero, in C as here.
            let start = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(source);
            raw.clear();
            raw.extend((start..end).map(|x| filter.weight((x as f64 - center + 0.5) * (1.0 / filter_scale))));
            let sum: f64 = raw.iter().sum();
            starts.push(start);
            weights.extend(
                raw.iter().map(|weight| fixed_point(if sum == 0.0 { *weight } else { weight / sum })),
            );
            ends.push(weights.len());
        }
        Self { source, target, filter, starts, weights, ends }
    }

    /// Weights of a target position, on average.
    fn taps(&self) -> usize {
        self.weights.len().div_ceil(self.target)
    }

    /// First source position and weights of each target position.
    fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        let begins = [0].into_iter().chain(self.ends.iter().copied());
        let weights = begins.zip(&self.ends).map(|(begin, end)| &self.weights[begin..*end]);
        self.starts.iter().copied().zip(weights)
    }
}

fn fixed_point(weight: f64) -> i32 {
    let scaled = weight * f64::from(1 << PRECISION_BITS);
    (if weight < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32
}

/// Half of the last bit, so that the shift in [`to_byte`] rounds.
const ROUNDING: i32 = 1 << (PRECISION_BITS - 1);

fn to_byte(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

const CHANNELS: usize = 3;
/// Rows that the first pass takes at a time.
const ROWS: usize = 16;
/// Of each weight of a byte.
const OPERATIONS: usize = 2;
/// Sums that stay in registers while weights pass by; the compiler makes vectors of them.
const LANES: usize = ROWS * CHANNELS;

/// The weighted sums of lanes that lie side by side, as bytes.
#[inline(always)]
fn weighted<'a>(lanes: impl Iterator<Item = &'a [u8; LANES]>, weights: &[i32]) -> [u8; LANES] {
    let mut sums = [ROUNDING; LANES];
    for (lanes, weight) in lanes.zip(weights) {
        for (sum, lane) in sums.iter_mut().zip(lanes) {
            *sum += i32::from(*lane) * weight;
        }
    }
    sums.map(to_byte)
}

/// Some rows at a time, turned so that what has the same weight lies side by side.
fn resize_rows(pixels: &[u8], source_width: usize, kernels: &Kernels) -> Vec<u8> {
    let (source_stride, target_stride) = (source_width * CHANNELS, kernels.target * CHANNELS);
    let mut out = vec![0; pixels.len() / source_stride * target_stride];
    share_rows(&mut out, target_stride, OPERATIONS * kernels.taps(), &|first, out| {
        let mut turned = vec![[0; LANES]; source_width];
        let pixels = &pixels[first * source_stride..][..out.len() / target_stride * source_stride];
        let blocks = pixels.chunks(source_stride * ROWS).zip(out.chunks_mut(target_stride * ROWS));
        for (block, out) in blocks {
            for (row, pixels) in block.chunks_exact(source_stride).enumerate() {
                for (column, pixel) in turned.iter_mut().zip(pixels.as_chunks::<CHANNELS>().0) {
                    column.as_chunks_mut::<CHANNELS>().0[row] = *pixel;
                }
            }
            for (position, (start, weights)) in kernels.iter().enumerate() {
                let bytes = weighted(turned[start..].iter(), weights);
                for (row, pixel) in out.chunks_exact_mut(target_stride).zip(bytes.as_chunks::<CHANNELS>().0) {
                    row.as_chunks_mut::<CHANNELS>().0[position] = *pixel;
                }
            }
        }
    });
    out
}

fn resize_columns(pixels: &[u8], width: usize, kernels: &Kernels) -> Vec<u8> {
    let stride = width * CHANNELS;
    let mut out = vec![0; kernels.target * stride];
    share_rows(&mut out, stride, OPERATIONS * kernels.taps(), &|first, out| {
        for ((start, weights), out) in kernels.iter().skip(first).zip(out.chunks_exact_mut(stride)) {
            let rows = pixels[start * stride..].chunks_exact(stride);
            let (blocks, rest) = out.as_chunks_mut::<LANES>();
            let first_of_rest = stride - rest.len();
            for (index, block) in blocks.iter_mut().enumerate() {
                *block = weighted(rows.clone().map(|row| &row.as_chunks().0[index]), weights);
            }
            for (column, byte) in (first_of_rest..).zip(rest) {
                let values = rows.clone().zip(weights).map(|(row, weight)| i32::from(row[column]) * weight);
                *byte = to_byte(ROUNDING + values.sum::<i32>());
            }
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_picture_stays_flat() {
        for filter in [ResizeFilter::Lanczos, ResizeFilter::Bilinear, ResizeFilter::Bicubic] {
            let flat = RgbImage::from_parts(37, 23, [200, 0, 255].repeat(37 * 23));
            for (width, height) in [(1, 1), (37, 5), (100, 23), (64, 64)] {
                let resized = resize(&flat, width, height, filter);
                assert_eq!(resized.pixels(), [200, 0, 255].repeat((width * height) as usize), "{filter:?}");
            }
        }
    }

    /// One sum for each byte, in the order of the books.
    fn plain_pass(pixels: &[u8], width: usize, kernels: &Kernels, is_of_rows: bool) -> Vec<u8> {
        let byte =
            |x: usize, y: usize, channel: usize| i32::from(pixels[(y * width + x) * CHANNELS + channel]);
        let kernel: Vec<(usize, &[i32])> = kernels.iter().collect();
        let lines = pixels.len() / CHANNELS / width;
        let (columns, rows) = if is_of_rows { (kernel.len(), lines) } else { (width, kernel.len()) };
        let mut out = Vec::new();
        for at in 0..columns * rows * CHANNELS {
            let (x, y, channel) = (at / CHANNELS % columns, at / CHANNELS / columns, at % CHANNELS);
            let (start, weights) = kernel[if is_of_rows { x } else { y }];
            let value = |tap: usize| {
                if is_of_rows { byte(start + tap, y, channel) } else { byte(x, start + tap, channel) }
            };
            let sum: i32 = weights.iter().enumerate().map(|(tap, weight)| value(tap) * weight).sum();
            out.push(to_byte(ROUNDING + sum));
        }
        out
    }

    #[test]
    fn lanes_give_the_plain_sums_whatever_is_left_of_them() {
        for (width, height) in [(1, 1), (5, 3), (16, 16), (33, 17), (40, 50), (64, 31)] {
            let pixels: Vec<u8> =
                (0..width * height * CHANNELS).map(|at| ((at * at * 7) >> 3) as u8).collect();
            for filter in [ResizeFilter::Lanczos, ResizeFilter::Bilinear, ResizeFilter::Bicubic] {
                for target in [1, 16, 47, 96] {
                    let rows = Kernels::of(width, target, filter);
                    let found = resize_rows(&pixels, width, &rows);
                    assert!(
                        found == plain_pass(&pixels, width, &rows, true),
                        "{width} to {target}, {filter:?}"
                    );
                    let columns = Kernels::of(height, target, filter);
                    let found = resize_columns(&pixels, width, &columns);
                    assert!(
                        found == plain_pass(&pixels, width, &columns, false),
                        "{height} to {target}, {filter:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_same_size_is_a_copy() {
        let image = RgbImage::from_parts(2, 2, (0..12).collect());
        assert_eq!(resize(&image, 2, 2, ResizeFilter::Lanczos), image);
    }
}
