//! Which frames of a clip tell something new: the temporal analysis of MAS without a probe, by pixels alone.
//!
//! A frame is a grid of `n = CELLS_PER_SIDE` by `n` cells, each the mean of its pixels. For frames f and g
//!
//! ```text
//! change(f, g) = max over cells and channels |f - g|          in [0, 1]
//! ```
//!
//! and a frame is kept if it has changed since the last *kept* one by more than a threshold. Means take the noise of a camera away, and the
//! most-changed cell finds what is small. No layer of a tower runs, so a frame that is left out costs a sum over its pixels.
//! Frames that a probe has looked at are compared by [`simhash`](crate::simhash) instead, by the same rule.

/// Cells along each side of a frame. A mark of full contrast half as wide as a cell is noticed wherever it lies.
pub const CELLS_PER_SIDE: usize = 32;

/// The change that tells nothing new, as a share of full contrast: on the pocket world noise, blur and compression of a camera stay
/// below it, and whatever happens above (models/README.md).
pub const MAX_CHANGE: f32 = 0.05;

const CHANNELS: usize = 3;

/// The means of one frame's cells.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameCells {
    /// Width and height in pixels.
    size: [usize; 2],
    /// Row by row, red, green and blue in 0..=1.
    means: Vec<[f32; CHANNELS]>,
}

impl FrameCells {
    /// Of a frame's pixels. Where a side has fewer pixels than cells some cells share one.
    ///
    /// # Shapes
    /// `rgb`: `height * width * 3`, row by row.
    ///
    /// # Panics
    /// If there are other than `width * height` pixels, or none.
    pub fn of(rgb: &[u8], width: u32, height: u32) -> Self {
        let (width, height) = (width as usize, height as usize);
        let (pixels, rest) = rgb.as_chunks::<CHANNELS>();
        assert!(
            rest.is_empty() && pixels.len() == width * height,
            "{} bytes for {width}x{height}",
            rgb.len()
        );
        assert!(!pixels.is_empty(), "a frame of no pixels");
        let cell = |row: usize, column: usize| {
            let (rows, columns) = (part(row, height), part(column, width));
            let count = (rows.len() * columns.len()) as f32;
            let lines = rows.map(|y| &pixels[y * width..][columns.clone()]);
            let sums = lines.flatten().fold([0_u64; CHANNELS], |sums, pixel| {
                std::array::from_fn(|channel| sums[channel] + u64::from(pixel[channel]))
            });
            sums.map(|sum| sum as f32 / (count * f32::from(u8::MAX)))
        };
        let cells = (0..CELLS_PER_SIDE).flat_map(|row| (0..CELLS_PER_SIDE).map(move |column| (row, column)));
        Self { size: [width, height], means: cells.map(|(row, column)| cell(row, column)).collect() }
    }

    /// How much the most-changed cell differs, in 0..=1; infinite for a frame of another size.
    pub fn change(&self, other: &Self) -> f32 {
        if self.size != other.size {
            return f32::INFINITY;
        }
        let both = self.means.as_flattened().iter().zip(other.means.as_flattened());
        both.map(|(one, other)| (one - other).abs()).fold(0.0, f32::max)
    }
}

/// The pixels of part `index` of [`CELLS_PER_SIDE`] along a side, at least one.
fn part(index: usize, side: usize) -> std::ops::Range<usize> {
    let from = index * side / CELLS_PER_SIDE;
    from..((index + 1) * side / CELLS_PER_SIDE).max(from + 1)
}

/// Which frames to keep: the first, then each that has changed by more than `max_change` since the last kept one. Of frames
/// that were kept before, all are.
pub fn kept_frames(frames: &[FrameCells], max_change: f32) -> Vec<bool> {
    keep_changed(frames, |last, next| last.change(next) > max_change)
}

/// Keeps the first frame and each that differs from the last *kept* one, so that slow drift is noticed once it has added up.
pub(crate) fn keep_changed<Frame>(
    frames: impl IntoIterator<Item = Frame>,
    differs: impl Fn(&Frame, &Frame) -> bool,
) -> Vec<bool> {
    let mut last_kept: Option<Frame> = None;
    let mut is_kept = |frame: Frame| {
        let kept = last_kept.as_ref().is_none_or(|last| differs(last, &frame));
        if kept {
            last_kept = Some(frame);
        }
        kept
    };
    frames.into_iter().map(&mut is_kept).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::SplitMix64;

    const SIDE: usize = 128;

    fn frame(pixel: impl Fn(usize, usize) -> u8) -> FrameCells {
        let rgb: Vec<u8> = (0..SIDE * SIDE).flat_map(|at| [pixel(at % SIDE, at / SIDE); 3]).collect();
        FrameCells::of(&rgb, SIDE as u32, SIDE as u32)
    }

    #[test]
    fn a_cell_is_the_mean_of_its_pixels() {
        // Two by two pixels a cell.
        let rgb: Vec<u8> = (0..64 * 64).flat_map(|at| [if at % 2 == 0 { 255 } else { 0 }, 51, 0]).collect();
        let cells = FrameCells::of(&rgb, 64, 64);
        assert_eq!(cells.means, [[0.5, 0.2, 0.0]; CELLS_PER_SIDE * CELLS_PER_SIDE]);
        let one = FrameCells::of(&[255, 0, 51], 1, 1);
        assert_eq!(one.means, [[1.0, 0.0, 0.2]; CELLS_PER_SIDE * CELLS_PER_SIDE]);
    }

    #[test]
    fn noise_tells_nothing_and_a_small_mark_does_wherever_it_is() {
        let mut rng = SplitMix64::new(7);
        let noise: Vec<f64> = (0..SIDE * SIDE).map(|_| 5.0 * rng.normal()).collect();
        let still = frame(|_, _| 128);
        let noisy = frame(|x, y| (128.0 + noise[y * SIDE + x]) as u8);
        assert_eq!(kept_frames(&[still.clone(), noisy, still.clone()], MAX_CHANGE), [true, false, false]);
        // Half as wide as a cell of four pixels; at worst a quarter of it lies in each of four cells.
        let dark = frame(|_, _| 0);
        for at in 40..44 {
            let mark = |x: usize, y: usize| (at..at + 2).contains(&x) && (at..at + 2).contains(&y);
            let marked = frame(|x, y| if mark(x, y) { 255 } else { 0 });
            assert_eq!(kept_frames(&[dark.clone(), marked], MAX_CHANGE), [true, true], "at {at}");
        }
        let faint = frame(|x, y| if x < 2 && y < 2 { 40 } else { 0 });
        assert_eq!(kept_frames(&[dark, faint], MAX_CHANGE), [true, false]);
    }

    #[test]
    fn what_comes_back_is_new_again_and_slow_drift_is_noticed() {
        let of = |value: u8| frame(move |_, _| value);
        let frames = [of(0), of(0), of(200), of(200), of(0)];
        assert_eq!(kept_frames(&frames, MAX_CHANGE), [true, false, true, false, true]);
        let drift: Vec<FrameCells> = (0..26).map(of).collect();
        let kept = kept_frames(&drift, MAX_CHANGE);
        assert_eq!(kept.iter().filter(|kept| **kept).count(), 2, "{kept:?}");
        assert!(kept[13], "more than 5 % of 255: {kept:?}");
    }

    #[test]
    fn frames_of_another_size_are_new() {
        let frames = [(8, 8), (8, 8), (8, 16), (16, 8)]
            .map(|(w, h)| FrameCells::of(&vec![9; (w * h * 3) as usize], w, h));
        assert_eq!(kept_frames(&frames, MAX_CHANGE), [true, false, true, true]);
        assert!(kept_frames(&[], MAX_CHANGE).is_empty());
    }

    proptest! {
        #[test]
        fn the_first_is_kept_and_so_is_all_that_was_kept_before(
            values in proptest::collection::vec(any::<[u8; 12]>(), 1..20), max_change in 0.0_f32..1.0,
        ) {
            let frames: Vec<FrameCells> = values.iter().map(|rgb| FrameCells::of(rgb, 2, 2)).collect();
            let kept = kept_frames(&frames, max_change);
            prop_assert!(kept[0]);
            let again: Vec<FrameCells> =
                frames.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(frame, _)| frame.clone()).collect();
            prop_assert!(kept_frames(&again, max_change).iter().all(|kept| *kept));
            // What is left out is within the threshold of the kept frame before it.
            let mut last = &frames[0];
            for (frame, kept) in frames.iter().zip(&kept) {
                if *kept { last = frame } else { prop_assert!(last.change(frame) <= max_change) }
            }
        }
    }
}
