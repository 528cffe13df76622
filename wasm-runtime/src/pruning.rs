//! Cuts what is kept out of a picture or a recording, as the wire carries it.
//!
//! It knows masks and grids, not who chose them; the files' formats are the page's.

use msao_models::{
    RgbImage,
    preprocess::{ResizeFilter, SquareGrid, cut_windows, resize},
};
use msao_protocol::{ImageGrid, KeptImage};

use crate::{messages::RgbaPixels, tiles::rgba};

/// The kept squares of a picture, which is first brought to the target's square as the target itself would bring it:
/// centre square, Lanczos.
///
/// # Panics
/// If the mask has another number of squares than the grid, or keeps none.
pub(crate) fn prune_image(image: &RgbImage, grid: ImageGrid, mask: &[bool]) -> RgbaPixels {
    assert_eq!(mask.len(), grid.tokens() as usize, "mask of {} squares for {grid:?}", mask.len());
    let square = resize(&image.center_square(), grid.side_px, grid.side_px, ResizeFilter::Lanczos);
    let (side_px, per_side) = (grid.side_px, grid.tokens_per_side);
    let squares = SquareGrid { side_px, per_side, columns: KeptImage::COLUMNS };
    let cut = squares.cut(&square, &indices(mask));
    rgba(&cut)
}

/// The kept windows of a recording one behind the other; what lies behind its end is silence.
pub(crate) fn prune_audio(samples: &[f32], window_samples: usize, mask: &[bool]) -> Vec<f32> {
    cut_windows(samples, window_samples, &indices(mask))
}

fn indices(mask: &[bool]) -> Vec<usize> {
    (0..mask.len()).filter(|&part| mask[part]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_picture_is_brought_to_the_grid_first() {
        // Left half black, right half white; of 12 x 8 the middle 8 x 8 counts.
        let pixels = (0..96).flat_map(|at| [if at % 12 < 6 { 0 } else { 255 }; 3]).collect();
        let image = RgbImage::from_rgb(12, 8, pixels).unwrap();
        let grid = ImageGrid { side_px: 4, tokens_per_side: 2 };
        let tiles = prune_image(&image, grid, &[false, true, true, false]);
        assert_eq!((tiles.width, tiles.height, tiles.pixels.len()), (4, 2, 4 * 2 * 4));
        let corner = |x: usize| &tiles.pixels[x * 4..x * 4 + 4];
        assert!(
            corner(1)[0] > 230 && corner(2)[0] < 25,
            "right upper square, then left lower one: {tiles:?}"
        );
        assert_eq!(corner(0)[3], 255);
    }
}
