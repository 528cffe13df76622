//! Parts of pictures and recordings: cut out one behind the other, and put back where they were.
//!
//! A part is what one token of a model sees or hears: a square of a picture's grid, a window of a recording. Edge, server
//! and bench cut and put back with this pair of functions, so that they cannot disagree.

use super::RgbImage;

const CHANNELS: usize = 3;
const WHITE: u8 = 255;
/// Zero after the towers' normalisation around one half.
const MID_GREY: u8 = 128;

/// A square picture in squares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SquareGrid {
    /// Side of the picture in pixels.
    pub side_px: u32,
    /// Squares along a side.
    pub per_side: u32,
    /// Squares in a row of a picture of cut-out squares; fewer squares make one shorter row.
    pub columns: u32,
}

impl SquareGrid {
    /// Side of one square in pixels.
    pub fn square_px(&self) -> u32 {
        self.side_px / self.per_side.max(1)
    }

    /// Width and height in pixels of a picture of so many cut-out squares.
    pub fn cut_size(&self, squares: u32) -> (u32, u32) {
        let side = self.square_px();
        (squares.min(self.columns) * side, squares.div_ceil(self.columns.max(1)) * side)
    }

    /// The squares with these indices, row by row of the grid, on white.
    ///
    /// # Panics
    /// If the picture has another side, no square is kept, or one is outside of the grid.
    pub fn cut(&self, picture: &RgbImage, kept: &[usize]) -> RgbImage {
        assert_eq!(
            (picture.width(), picture.height()),
            (self.side_px, self.side_px),
            "a square of the grid's side"
        );
        let (width, height) = self.cut_size(kept.len() as u32);
        let mut pixels = vec![WHITE; width as usize * height as usize * CHANNELS];
        self.for_each_row(kept, width, |whole, cut, bytes| {
            pixels[cut..cut + bytes].copy_from_slice(&picture.pixels()[whole..whole + bytes]);
        });
        RgbImage::from_rgb(width, height, pixels).expect("at least one square was cut")
    }

    /// The picture with its cut-out squares where they were and mid-grey elsewhere; `None` if the picture of squares is
    /// not of [`Self::cut_size`].
    ///
    /// # Panics
    /// If an index is outside of the grid.
    pub fn put_back(&self, squares: &RgbImage, kept: &[usize]) -> Option<RgbImage> {
        let (width, height) = self.cut_size(kept.len() as u32);
        if (squares.width(), squares.height()) != (width, height) {
            return None;
        }
        let side = self.side_px as usize;
        let mut pixels = vec![MID_GREY; side * side * CHANNELS];
        self.for_each_row(kept, width, |whole, cut, bytes| {
            pixels[whole..whole + bytes].copy_from_slice(&squares.pixels()[cut..cut + bytes]);
        });
        RgbImage::from_rgb(self.side_px, self.side_px, pixels).ok()
    }

    /// Calls `work` with the offsets of each row of pixels of each kept square, in the whole picture and in the cut one of
    /// this width, and with its bytes.
    fn for_each_row(&self, kept: &[usize], cut_width_px: u32, mut work: impl FnMut(usize, usize, usize)) {
        let (square, columns) = (self.square_px() as usize, self.columns as usize);
        let (side, per_side) = (self.side_px as usize, self.per_side as usize);
        for (place, &index) in kept.iter().enumerate() {
            assert!(index < per_side * per_side, "square {index} of {}", per_side * per_side);
            for row in 0..square {
                let whole = (index / per_side * square + row) * side + index % per_side * square;
                let cut = (place / columns * square + row) * cut_width_px as usize + place % columns * square;
                work(whole * CHANNELS, cut * CHANNELS, square * CHANNELS);
            }
        }
    }
}

/// The windows with these indices one behind the other; what lies behind the recording's end is silence.
pub fn cut_windows(samples: &[f32], window_samples: usize, kept: &[usize]) -> Vec<f32> {
    let mut windows = Vec::with_capacity(kept.len() * window_samples);
    for &window in kept {
        let start = (window * window_samples).min(samples.len());
        let end = (start + window_samples).min(samples.len());
        windows.extend_from_slice(&samples[start..end]);
        windows.resize(windows.len() + window_samples - (end - start), 0.0);
    }
    windows
}

/// A recording of `count` windows with these ones where they were and silence elsewhere. The last window may be short.
///
/// # Panics
/// If a window is outside of the recording.
pub fn put_back_windows(windows: &[f32], window_samples: usize, kept: &[usize], count: usize) -> Vec<f32> {
    let mut recording = vec![0.0; count * window_samples];
    for (&place, heard) in kept.iter().zip(windows.chunks(window_samples.max(1))) {
        recording[place * window_samples..place * window_samples + heard.len()].copy_from_slice(heard);
    }
    recording
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: SquareGrid = SquareGrid { side_px: 6, per_side: 3, columns: 4 };

    /// 6 x 6 pixels in 3 x 3 squares, each square of one red value: its index.
    fn picture() -> RgbImage {
        let pixels = (0..36).flat_map(|at| [at / 6 / 2 * 3 + at % 6 / 2, 7, 9]).collect();
        RgbImage::from_rgb(6, 6, pixels).unwrap()
    }

    #[test]
    fn squares_stand_in_order_four_in_a_row_on_white() {
        let cut = GRID.cut(&picture(), &[0, 2, 3, 4, 7]);
        assert_eq!((cut.width(), cut.height()), (8, 4));
        let red = |x: usize, y: usize| cut.pixels()[(y * 8 + x) * 3];
        assert_eq!([0, 2, 4, 6].map(|x| red(x, 0)), [0, 2, 3, 4]);
        assert_eq!([red(1, 3), red(2, 3)], [7, 255], "white behind the last");
        let one = GRID.cut(&picture(), &[8]);
        assert_eq!((one.width(), one.height(), one.pixels()[0]), (2, 2, 8));
    }

    #[test]
    fn windows_stand_one_behind_the_other() {
        let samples = [1.0, 2.0, 3.0, 4.0, 5.0];
        assert_eq!(cut_windows(&samples, 2, &[0, 2, 3]), [1.0, 2.0, 5.0, 0.0, 0.0, 0.0]);
        assert!(cut_windows(&samples, 2, &[]).is_empty());
        assert_eq!(put_back_windows(&[8.0, 9.0, 7.0], 2, &[0, 2], 3), [8.0, 9.0, 0.0, 0.0, 7.0, 0.0]);
    }

    #[test]
    fn what_is_cut_out_can_be_put_back() {
        for mask in 1..1_usize << 9 {
            let kept: Vec<usize> = (0..9).filter(|square| mask & (1 << square) != 0).collect();
            let back = GRID.put_back(&GRID.cut(&picture(), &kept), &kept).unwrap();
            for (at, (now, before)) in back.pixels().iter().zip(picture().pixels()).enumerate() {
                let square = at / 3 / 6 / 2 * 3 + at / 3 % 6 / 2;
                assert_eq!(*now, if kept.contains(&square) { *before } else { MID_GREY }, "{kept:?} at {at}");
            }
        }
        let five = GRID.cut(&picture(), &[0, 1, 2, 3, 4]);
        assert_eq!(GRID.put_back(&five, &[0, 1, 2, 3]), None);
    }
}
