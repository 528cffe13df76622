//! Parts of a picture or recording, put back where they were cut from.
//!
//! What was not sent is mid-grey or silent. The target does not look there, except at the seams; a draft model beside
//! it, which is given all of it, does.

use msao_models::preprocess::{Pcm, RgbImage, SquareGrid, put_back_windows};
use msao_protocol::{AudioGrid, ErrorCode, ImageGrid, KeepMask, KeptImage};

use super::Refusal;

/// The kept tokens in rising order; `None` if all are kept, which is a whole picture or recording.
type KeptList = Option<Vec<usize>>;

/// Puts tiles into a square of the grid's side.
///
/// # Errors
/// When the picture of tiles is not exactly as large as the mask's tiles make it.
pub(super) fn place_tiles(
    tiles: &RgbImage,
    mask: &KeepMask,
    grid: &ImageGrid,
) -> Result<(RgbImage, KeptList), Refusal> {
    let (side_px, per_side) = (grid.side_px, grid.tokens_per_side);
    let squares = SquareGrid { side_px, per_side, columns: KeptImage::COLUMNS };
    let kept = kept_list(mask);
    let Some(picture) = squares.put_back(tiles, &kept) else {
        let (width, height) = squares.cut_size(mask.kept());
        let (actual_width, actual_height) = (tiles.width(), tiles.height());
        let message = format!(
            "the picture of {} kept tiles has {actual_width}x{actual_height} pixels; {width}x{height} are expected: put tiles of {} pixels {} in a row",
            kept.len(),
            squares.square_px(),
            KeptImage::COLUMNS
        );
        return Err(Refusal::new(ErrorCode::KeptMismatch, message));
    };
    Ok((picture, unless_all(kept, mask)))
}

/// Puts windows into a recording of the grid's length.
///
/// # Errors
/// When the sound has another rate, or not exactly the length that the mask's windows make; only the last window may
/// be cut short, where the recording ended.
pub(super) fn place_windows(
    windows: &Pcm,
    mask: &KeepMask,
    grid: &AudioGrid,
) -> Result<(Pcm, KeptList), Refusal> {
    let mismatch = |message| Refusal::new(ErrorCode::KeptMismatch, message);
    let (rate, expected_rate) = (windows.sample_rate_hz(), grid.sample_rate_hz);
    if rate != expected_rate {
        return Err(mismatch(format!(
            "the kept windows have {rate} samples a second; {expected_rate} are expected: resample before cutting"
        )));
    }
    let (window, kept) = (grid.window_samples as usize, kept_list(mask));
    let (samples, most) = (windows.samples().len(), kept.len() * window);
    if samples > most || samples + window <= most {
        return Err(mismatch(format!(
            "{samples} samples came for {} kept windows of {window}; {most} are expected: send each window whole",
            kept.len()
        )));
    }
    let recording = put_back_windows(windows.samples(), window, &kept, grid.tokens as usize);
    Ok((Pcm::from_mono(rate, recording)?, unless_all(kept, mask)))
}

fn kept_list(mask: &KeepMask) -> Vec<usize> {
    (0..mask.parts()).filter(|&part| mask.is_kept(part)).map(|part| part as usize).collect()
}

fn unless_all(kept: Vec<usize>, mask: &KeepMask) -> KeptList {
    (kept.len() < mask.parts() as usize).then_some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: ImageGrid = ImageGrid { side_px: 6, tokens_per_side: 3 };
    const AUDIO: AudioGrid = AudioGrid { sample_rate_hz: 16_000, window_samples: 4, tokens: 3 };

    fn mask(parts: u32, kept: &[u32]) -> KeepMask {
        KeepMask::new(&(0..parts).map(|part| kept.contains(&part)).collect::<Vec<_>>())
    }

    /// Tiles of 2x2 pixels, each in a grey of its own: 1, 2, 3 and so on.
    fn tiles(columns: u32, rows: u32) -> RgbImage {
        let shade = |y: u32, x: u32| (y / 2 * columns + x / 2 + 1) as u8;
        let pixels = (0..rows * 2).flat_map(|y| (0..columns * 2).flat_map(move |x| [shade(y, x); 3]));
        RgbImage::from_rgb(columns * 2, rows * 2, pixels.collect()).unwrap()
    }

    #[test]
    fn tiles_go_back_to_their_places() {
        let (picture, kept) = place_tiles(&tiles(4, 2), &mask(9, &[0, 2, 3, 5, 8]), &IMAGE).unwrap();
        assert_eq!(kept, Some(vec![0, 2, 3, 5, 8]));
        let shade_of = |token: usize| {
            let (y, x) = (token / 3 * 2 + 1, token % 3 * 2 + 1);
            picture.pixels()[(y * 6 + x) * 3]
        };
        let shades: Vec<u8> = (0..9).map(shade_of).collect();
        assert_eq!(shades, [1, 128, 2, 3, 128, 4, 128, 128, 5]);
        let (_, all) = place_tiles(&tiles(4, 3), &mask(9, &[0, 1, 2, 3, 4, 5, 6, 7, 8]), &IMAGE).unwrap();
        assert_eq!(all, None);
    }

    #[test]
    fn a_picture_of_another_size_is_refused() {
        for (kept, columns, rows) in [(&[0, 1][..], 3, 1), (&[0], 2, 1), (&[0, 1, 2, 3, 4], 5, 1)] {
            let refused = place_tiles(&tiles(columns, rows), &mask(9, kept), &IMAGE).unwrap_err();
            assert_eq!(refused.code, ErrorCode::KeptMismatch);
        }
        let refused = place_tiles(&tiles(3, 1), &mask(9, &[0, 1]), &IMAGE).unwrap_err();
        assert!(refused.message.contains("6x2") && refused.message.contains("4x2"), "{refused}");
    }

    #[test]
    fn windows_go_back_to_their_places_and_the_last_may_be_short() {
        let pcm = |rate, count: u32| Pcm::from_mono(rate, (1..=count).map(|n| n as f32 / 8.0).collect());
        let (recording, kept) = place_windows(&pcm(16_000, 7).unwrap(), &mask(3, &[0, 2]), &AUDIO).unwrap();
        assert_eq!(kept, Some(vec![0, 2]));
        let eighths: Vec<f32> = recording.samples().iter().map(|sample| sample * 8.0).collect();
        assert_eq!(eighths, [1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0, 5.0, 6.0, 7.0, 0.0]);
        for (rate, count, word) in [(8_000, 8, "8000"), (16_000, 4, "4 samples"), (16_000, 9, "9 samples")] {
            let refused = place_windows(&pcm(rate, count).unwrap(), &mask(3, &[0, 2]), &AUDIO).unwrap_err();
            assert_eq!(refused.code, ErrorCode::KeptMismatch);
            assert!(refused.message.contains(word), "{refused}");
        }
    }
}
