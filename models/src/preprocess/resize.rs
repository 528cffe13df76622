//! Antialiased image resizing, equal to Pillow's to the bit.
//!
//! Checkpoints are trained on pictures that Pillow made smaller, so its arithmetic is part of the model: two
//! passes (rows, then columns) of fixed-point weights with 22 fractional bits, rounded to 8 bits in between.
//! The reference is Pillow's `src/libImaging/Resample.c`.

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
        changes.then(|| resize_rows(pixels, source_width, &Kernels::new(source_width, target_width, filter)))
    };
    let columns = |pixels: &[u8], width: usize| -> Option<Vec<u8>> {
        let changes = target_height != source_height;
        changes.then(|| resize_columns(pixels, width, &Kernels::new(source_height, target_height, filter)))
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
    starts: Vec<usize>,
    weights: Vec<Vec<i32>>,
}

impl Kernels {
    fn new(source: usize, target: usize, filter: ResizeFilter) -> Self {
        let scale = source as f64 / target as f64;
        // When enlarging, the kernel keeps its width; when reducing, it grows and so averages.
        let filter_scale = scale.max(1.0);
        let support = filter.support() * filter_scale;
        let mut starts = Vec::with_capacity(target);
        let mut weights = Vec::with_capacity(target);
        for position in 0..target {
            let center = (position as f64 + 0.5) * scale;
            // Casts to integers truncate towards zero, in C as here.
            let start = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(source);
            let raw: Vec<f64> = (start..end)
                .map(|x| filter.weight((x as f64 - center + 0.5) * (1.0 / filter_scale)))
                .collect();
            let sum: f64 = raw.iter().sum();
            starts.push(start);
            weights.push(
                raw.iter()
                    .map(|weight| fixed_point(if sum == 0.0 { *weight } else { weight / sum }))
                    .collect(),
            );
        }
        Self { starts, weights }
    }

    fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        self.starts.iter().copied().zip(self.weights.iter().map(Vec::as_slice))
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

fn resize_rows(pixels: &[u8], source_width: usize, kernels: &Kernels) -> Vec<u8> {
    let rows = pixels.len() / (source_width * 3);
    let mut out = Vec::with_capacity(rows * kernels.starts.len() * 3);
    for row in pixels.chunks_exact(source_width * 3) {
        for (start, weights) in kernels.iter() {
            let mut sums = [ROUNDING; 3];
            for (pixel, weight) in row[start * 3..].as_chunks::<3>().0.iter().zip(weights) {
                for (sum, channel) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(*channel) * weight;
                }
            }
            out.extend(sums.map(to_byte));
        }
    }
    out
}

fn resize_columns(pixels: &[u8], width: usize, kernels: &Kernels) -> Vec<u8> {
    let stride = width * 3;
    let mut out = Vec::with_capacity(kernels.starts.len() * stride);
    let mut sums = vec![ROUNDING; stride];
    for (start, weights) in kernels.iter() {
        sums.fill(ROUNDING);
        for (row, weight) in pixels[start * stride..].chunks_exact(stride).zip(weights) {
            for (sum, channel) in sums.iter_mut().zip(row) {
                *sum += i32::from(*channel) * weight;
            }
        }
        out.extend(sums.iter().map(|&sum| to_byte(sum)));
    }
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

    #[test]
    fn the_same_size_is_a_copy() {
        let image = RgbImage::from_parts(2, 2, (0..12).collect());
        assert_eq!(resize(&image, 2, 2, ResizeFilter::Lanczos), image);
    }
}
