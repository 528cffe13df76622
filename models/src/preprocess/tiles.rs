//! Splitting a picture, as Idefics3 and SmolVLM do: its longer side is brought to a length, both sides up to multiples of the
//! tower's square, and each square of it is an input of its own, beside the whole picture in one square.
//!
//! Equal to transformers' Pillow processors (`Idefics3ImageProcessorPil`, `SmolVLMImageProcessorPil`), whose resampling is
//! ours to the bit. Its torchvision processors, which 5.23 prefers where torchvision is installed, round otherwise, by up to 2
//! of 255 levels, and resize tall pictures in another order than Pillow 13, which shows in hard edges (13 levels there).

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
pub(super) struct Tiling {
    /// The longer side before it is rounded up to tiles, in pixels.
    pub(super) longest_edge: u32,
    /// Side of a tile in pixels.
    pub(super) tile: u32,
}

impl Tiling {
    pub(super) fn max_per_side(self) -> u32 {
        self.longest_edge.div_ceil(self.tile)
    }

    pub(super) fn layout(self, width: u32, height: u32) -> ImageLayout {
        let (_, (width, height)) = self.sizes(width, height);
        let (rows, columns) = (height / self.tile, width / self.tile);
        if (rows, columns) == (1, 1) { ImageLayout::WHOLE } else { ImageLayout { rows, columns } }
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
    pub(super) fn whole(self, image: &RgbImage, filter: ResizeFilter) -> RgbImage {
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

#[cfg(test)]
mod tests {
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
}
