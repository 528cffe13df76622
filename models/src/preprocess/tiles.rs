//! Splitting a picture, as Idefics3 and SmolVLM do: its longer side is brought to a length, both sides up to multiples of the
//! tower's square, and each square of it is an input of its own, beside the whole picture in one square.
//!
//! Equal to transformers' Pillow processors (`Idefics3ImageProcessorPil`, `SmolVLMImageProcessorPil`), whose resampling is
//! ours to the bit. Its torchvision processors, which 5.23 prefers where torchvision is installed, round otherwise, by up to 2
//! of 255 levels, and resize tall pictures in another order than Pillow 13, which shows in hard edges (13 levels there).

use std::ops::Range;

use super::config::fit_longest_edge;
use super::{ResizeFilter, RgbImage, resize};

/// How a picture is shown to a model: its tiles, which come row by row, and the whole of it behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImageLayout {
    /// Rows of tiles; 0 where the picture is not split.
    pub rows: u32,
    /// Tiles of a row; 0 where the picture is not split.
    pub columns: u32,
}

impl ImageLayout {
    /// A picture that is not split.
    pub const WHOLE: Self = Self { rows: 0, columns: 0 };

    /// Inputs of the vision tower, the whole picture being the last.
    pub fn num_inputs(&self) -> usize {
        (self.rows * self.columns + 1) as usize
    }
}

/// How a checkpoint's pictures are split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiling {
    /// The longer side before it is rounded up to tiles, in pixels; at least 1.
    pub longest_edge: u32,
    /// Side of a tile in pixels; at least 1.
    pub tile: u32,
}

impl Tiling {
    /// Most tiles along a side of any picture.
    pub fn max_per_side(self) -> u32 {
        self.longest_edge.div_ceil(self.tile)
    }

    /// How a picture of this size is split.
    pub fn layout(self, width: u32, height: u32) -> ImageLayout {
        let (_, (width, height)) = self.sizes(width, height);
        let (rows, columns) = (height / self.tile, width / self.tile);
        if (rows, columns) == (1, 1) { ImageLayout::WHOLE } else { ImageLayout { rows, columns } }
    }

    /// The picture in its own size with one grey wherever none of these tiles, row by row of its layout, is made of it: what a
    /// kept tile comes to is the same to the bit, with any filter.
    ///
    /// # Panics
    /// If there are not as many as the layout has.
    #[must_use]
    pub fn paint_over(self, image: &RgbImage, tiles: &[bool]) -> RgbImage {
        let (width, height) = (image.width(), image.height());
        let ImageLayout { rows, columns } = self.layout(width, height);
        assert_eq!(tiles.len(), (rows * columns) as usize, "tiles of a picture of {width}x{height}");
        let ((fit_width, fit_height), (tiled_width, tiled_height)) = self.sizes(width, height);
        // Of a tile's side the source pixels that both resizes read for it.
        let read = |at: u32, [source, fit, tiled]: [u32; 3]| {
            reads(reads(at * self.tile..(at + 1) * self.tile, fit, tiled), source, fit)
        };
        let mut pixels = vec![GREY; image.pixels().len()];
        for (at, _) in (0..).zip(tiles).filter(|(_, kept)| **kept) {
            let across = read(at % columns, [width, fit_width, tiled_width]);
            for y in read(at / columns, [height, fit_height, tiled_height]) {
                let row = y as usize * width as usize;
                let bytes = (row + across.start as usize) * 3..(row + across.end as usize) * 3;
                pixels[bytes.clone()].copy_from_slice(&image.pixels()[bytes]);
            }
        }
        RgbImage::from_parts(width, height, pixels)
    }

    /// The size after the first step, and after the second, which is of whole tiles.
    fn sizes(self, width: u32, height: u32) -> ((u32, u32), (u32, u32)) {
        let (width, height) = fit_longest_edge(width, height, self.longest_edge);
        let aspect_ratio = f64::from(width) / f64::from(height);
        let up = |side: u32| side.max(1).next_multiple_of(self.tile);
        let tiled = if width >= height {
            let tiled_width = up(width);
            (tiled_width, up((f64::from(tiled_width) / aspect_ratio) as u32))
        } else {
            let tiled_height = up(height);
            (up((f64::from(tiled_height) * aspect_ratio) as u32), tiled_height)
        };
        ((width, height), tiled)
    }

    /// The squares of a picture, as many as its layout has inputs.
    pub(super) fn split(self, image: &RgbImage, filter: ResizeFilter) -> Vec<RgbImage> {
        let layout = self.layout(image.width(), image.height());
        let tiled = self.tiled(image, filter);
        if layout == ImageLayout::WHOLE {
            return vec![tiled];
        }
        let places = (0..layout.rows).flat_map(|row| (0..layout.columns).map(move |column| (row, column)));
        let mut squares: Vec<RgbImage> = places.map(|(row, column)| self.cut(&tiled, row, column)).collect();
        squares.push(resize(&tiled, self.tile, self.tile, filter));
        squares
    }

    /// The last of the squares alone: the whole picture.
    pub fn whole(self, image: &RgbImage, filter: ResizeFilter) -> RgbImage {
        resize(&self.tiled(image, filter), self.tile, self.tile, filter)
    }

    /// The picture at the size that is cut into tiles.
    fn tiled(self, image: &RgbImage, filter: ResizeFilter) -> RgbImage {
        let ((width, height), (tiled_width, tiled_height)) = self.sizes(image.width(), image.height());
        resize(&resize(image, width, height, filter), tiled_width, tiled_height, filter)
    }

    fn cut(self, image: &RgbImage, row: u32, column: u32) -> RgbImage {
        let (tile, stride) = (self.tile as usize, image.width() as usize * 3);
        let start = row as usize * tile * stride + column as usize * tile * 3;
        let rows = (0..tile).map(|y| &image.pixels()[start + y * stride..][..tile * 3]);
        RgbImage::from_parts(self.tile, self.tile, rows.flatten().copied().collect())
    }
}

/// Zero after the towers' normalisation around one half.
const GREY: u8 = 128;

/// The positions of `source` that a resize to `target` reads for those of `range`, and a few more.
fn reads(range: Range<u32>, source: u32, target: u32) -> Range<u32> {
    /// Half the width of the widest filter, Lanczos.
    const SUPPORT: f64 = 3.0;
    if source == target {
        return range;
    }
    let scale = f64::from(source) / f64::from(target);
    let support = SUPPORT * scale.max(1.0) + 1.0;
    let center = |at: u32| (f64::from(at) + 0.5) * scale;
    let start = (center(range.start) - support).floor().max(0.0) as u32;
    let end = (center(range.end - 1) + support).ceil() as u32;
    start..end.min(source)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SMOLVLM: Tiling = Tiling { longest_edge: 2_048, tile: 512 };

    #[test]
    fn no_picture_has_more_tiles_than_said() {
        for width in [1, 2, 3, 100, 511, 512, 513, 2_047, 2_048, 2_049, 16_384] {
            for height in [1, 2, 3, 100, 511, 512, 513, 2_047, 2_048, 2_049, 16_384] {
                let ImageLayout { rows, columns } = SMOLVLM.layout(width, height);
                assert!(
                    rows.max(columns) == SMOLVLM.max_per_side() && rows.min(columns) > 0,
                    "{width}x{height}"
                );
            }
        }
    }

    #[test]
    fn tiles_are_the_picture_s_own_squares() {
        // Of the tiled size already, so that no step changes a pixel.
        let tiling = Tiling { longest_edge: 8, tile: 4 };
        let pixels = (0..4).flat_map(|y| (0..8).flat_map(move |x| [x, y, 0])).collect();
        let image = RgbImage::from_parts(8, 4, pixels);
        let squares = tiling.split(&image, ResizeFilter::Lanczos);
        assert_eq!(squares.len(), tiling.layout(8, 4).num_inputs());
        assert_eq!((&squares[0].pixels()[..3], &squares[1].pixels()[..3]), (&[0, 0, 0][..], &[4, 0, 0][..]));
        assert_eq!(squares[1].pixels()[45..], [7, 3, 0]);
        assert_eq!(tiling.whole(&image, ResizeFilter::Lanczos), squares[2]);
    }

    proptest! {
        #[test]
        fn kept_tiles_of_a_painted_picture_are_the_picture_s_own(
            width in 1..90_u32, height in 1..90_u32, longest_edge in 9..60_u32, mask in any::<u64>(), seed in any::<u64>(),
        ) {
            let tiling = Tiling { longest_edge, tile: 8 };
            let noise = |at: u32| (u64::from(at + 1).wrapping_mul(seed | 1) >> 40) as u8;
            let image = RgbImage::from_parts(width, height, (0..width * height * 3).map(noise).collect());
            let ImageLayout { rows, columns } = tiling.layout(width, height);
            let kept: Vec<bool> = (0..rows * columns).map(|tile| mask & (1 << (tile % 64)) != 0).collect();
            let painted = tiling.paint_over(&image, &kept);
            for filter in [ResizeFilter::Lanczos, ResizeFilter::Bicubic] {
                let (given, after) = (tiling.split(&image, filter), tiling.split(&painted, filter));
                for (tile, _) in kept.iter().enumerate().filter(|(_, kept)| **kept) {
                    prop_assert!(given[tile] == after[tile], "tile {} of {}x{}", tile, rows, columns);
                }
            }
        }
    }

    #[test]
    fn nothing_of_a_tile_that_is_left_out_and_far_from_others_is_in_the_picture() {
        let image = RgbImage::from_parts(64, 64, vec![200; 64 * 64 * 3]);
        let tiling = Tiling { longest_edge: 64, tile: 16 };
        let mut kept = [false; 16];
        kept[0] = true;
        let painted = tiling.paint_over(&image, &kept);
        let is_grey = |x: usize, y: usize| painted.pixels()[(y * 64 + x) * 3] == GREY;
        assert!(!is_grey(0, 0) && !is_grey(15, 15));
        assert!(
            (16..64).all(|at| is_grey(at, 0) && is_grey(0, at) && is_grey(at, at)),
            "no resize, no margin"
        );
    }
}
