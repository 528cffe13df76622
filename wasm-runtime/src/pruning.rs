//! Cuts what is kept out of a picture or a recording, as the wire carries it.
//!
//! It knows masks and grids, not who chose them; the files' formats are the page's.

use msao_models::{
    RgbImage,
    preprocess::{ResizeFilter, resize},
};
use msao_protocol::{ImageGrid, KeptImage};

use crate::messages::RgbaPixels;

const WHITE: [u8; 4] = [255; 4];

/// The kept squares of a picture, which is first brought to the target's square as the target itself would bring it:
/// centre square, Lanczos.
///
/// # Panics
/// If the mask has another number of squares than the grid, or keeps none.
pub(crate) fn prune_image(image: &RgbImage, grid: ImageGrid, mask: &[bool]) -> RgbaPixels {
    assert_eq!(mask.len(), grid.tokens() as usize, "mask of {} squares for {grid:?}", mask.len());
    let kept: Vec<usize> = (0..mask.len()).filter(|&square| mask[square]).collect();
    assert!(!kept.is_empty(), "a picture of no squares");
    let square = resize(&image.center_square(), grid.side_px, grid.side_px, ResizeFilter::Lanczos);
    let (side, tile) = (grid.side_px as usize, grid.tile_px() as usize);
    let columns = kept.len().min(KeptImage::COLUMNS as usize);
    let rows = kept.len().div_ceil(columns);
    let (width, height) = (columns * tile, rows * tile);
    let mut pixels = WHITE.repeat(width * height);
    let per_side = grid.tokens_per_side as usize;
    for (place, square_index) in kept.into_iter().enumerate() {
        let (left, top) = (square_index % per_side * tile, square_index / per_side * tile);
        let (to_left, to_top) = (place % columns * tile, place / columns * tile);
        for row in 0..tile {
            let from = ((top + row) * side + left) * 3;
            let to = ((to_top + row) * width + to_left) * 4;
            let source = square.pixels()[from..from + tile * 3].as_chunks::<3>().0;
            let target = pixels[to..to + tile * 4].as_chunks_mut::<4>().0;
            for (target, &[red, green, blue]) in target.iter_mut().zip(source) {
                *target = [red, green, blue, 255];
            }
        }
    }
    RgbaPixels { width: width as u32, height: height as u32, pixels }
}

/// The kept windows of a recording one behind the other; what lies behind its end is silence.
pub(crate) fn prune_audio(samples: &[f32], window_samples: usize, mask: &[bool]) -> Vec<f32> {
    let mut kept = Vec::with_capacity(mask.iter().filter(|kept| **kept).count() * window_samples);
    for (window, _) in mask.iter().enumerate().filter(|(_, is_kept)| **is_kept) {
        let start = (window * window_samples).min(samples.len());
        let end = (start + window_samples).min(samples.len());
        kept.extend_from_slice(&samples[start..end]);
        kept.resize(kept.len() + window_samples - (end - start), 0.0);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_stand_in_the_masks_order_four_in_a_row() {
        // 6 x 6 pixels in 3 x 3 squares, each square of one red value: its index.
        let pixels = (0..36).flat_map(|at| [at / 6 / 2 * 3 + at % 6 / 2, 7, 9]).collect();
        let image = RgbImage::from_rgb(6, 6, pixels).unwrap();
        let grid = ImageGrid { side_px: 6, tokens_per_side: 3 };
        let mask = [true, false, true, true, true, false, false, true, false];
        let tiles = prune_image(&image, grid, &mask);
        assert_eq!((tiles.width, tiles.height, tiles.pixels.len()), (8, 4, 8 * 4 * 4));
        let red = |x: usize, y: usize| tiles.pixels[(y * 8 + x) * 4];
        assert_eq!([0, 2, 4, 6].map(|x| red(x, 0)), [0, 2, 3, 4]);
        assert_eq!([red(1, 3), red(2, 3)], [7, 255], "white behind the last");
        assert_eq!(tiles.pixels[..4], [0, 7, 9, 255]);

        let one = prune_image(&image, grid, &std::array::from_fn::<_, 9, _>(|square| square == 8));
        assert_eq!((one.width, one.height, one.pixels[0]), (2, 2, 8));
    }

    #[test]
    fn windows_stand_one_behind_the_other() {
        let samples = [1.0, 2.0, 3.0, 4.0, 5.0];
        assert_eq!(prune_audio(&samples, 2, &[true, false, true, true]), [1.0, 2.0, 5.0, 0.0, 0.0, 0.0]);
        assert!(prune_audio(&samples, 2, &[false; 3]).is_empty());
    }
}
