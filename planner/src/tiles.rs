//! Which tiles of a picture a question needs: the spatial analysis of MAS where a model sees a picture in tiles beside the
//! whole of it.
//!
//! The whole picture is always kept, and its patches decide before a tile is encoded: a tile covers a rectangle of
//! them, and its mass is what they weigh there. A tile is kept or left out as a whole, since no published
//! checkpoint has learned to look at parts of one. It knows weights of patches, not where they come from.

use crate::mas::kept_patches;

/// Share of the patches' weight that the kept tiles hold together: on the pocket world, which sees no whole picture beside its
/// tiles, it leaves out an eighth at no loss (models/README.md).
pub const TAU_TILES: f64 = 0.95;

/// Which tiles are kept, row by row: the fewest whose patches hold `tau` (in 0..=1) of the whole picture's weight.
///
/// Weights that are negative or no numbers count as 0; where no others are left all tiles are kept.
///
/// # Shapes
/// `patches`: a square of them, row by row; the result: `rows * columns`.
///
/// # Panics
/// If the patches are no square.
pub fn kept_tiles(patches: &[f32], rows: usize, columns: usize, tau: f64) -> Vec<bool> {
    kept_patches(&tile_masses(patches, rows, columns), tau)
}

/// The weight of the patches that each tile covers, those at its edges in part.
///
/// # Shapes and panics
/// As [`kept_tiles`].
pub fn tile_masses(patches: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let side = patches.len().isqrt();
    assert_eq!(side * side, patches.len(), "{} patches are no square", patches.len());
    let (along_rows, along_columns) = (covers(side, rows), covers(side, columns));
    let mass = |row: usize, column: usize| -> f64 {
        let line = |y: usize| -> f64 {
            along_columns[column].iter().map(|&(x, width)| width * weight(patches[y * side + x])).sum()
        };
        along_rows[row].iter().map(|&(y, height)| height * line(y)).sum()
    };
    (0..rows * columns).map(|tile| mass(tile / columns, tile % columns) as f32).collect()
}

fn weight(patch: f32) -> f64 {
    if patch.is_finite() { f64::from(patch.max(0.0)) } else { 0.0 }
}

/// For each of `parts` equal parts of a side of `patches` those that it covers, each with the share of it.
fn covers(patches: usize, parts: usize) -> Vec<Vec<(usize, f64)>> {
    let bounds = move |part: usize| part as f64 * patches as f64 / parts as f64;
    let share = move |patch: usize, part: usize| {
        (bounds(part + 1).min(patch as f64 + 1.0) - bounds(part).max(patch as f64)).max(0.0)
    };
    let of = |part: usize| (0..patches).map(move |patch| (patch, share(patch, part)));
    (0..parts).map(|part| of(part).filter(|(_, share)| *share > 0.0).collect()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tile_weighs_what_lies_under_it() {
        let mut patches = vec![0.0; 16];
        patches[5] = 1.0; // row 1, column 1 of 4 x 4
        assert_eq!(tile_masses(&patches, 2, 2), [1.0, 0.0, 0.0, 0.0]);
        // Of three columns the first holds a third of it, the second two thirds.
        let masses = tile_masses(&patches, 2, 3);
        assert!((masses[0] - 1.0 / 3.0).abs() < 1e-6 && (masses[1] - 2.0 / 3.0).abs() < 1e-6, "{masses:?}");
        assert_eq!(kept_tiles(&patches, 2, 2, 0.9), [true, false, false, false]);
        assert_eq!(kept_tiles(&patches, 2, 3, 0.9), [true, true, false, false, false, false]);
    }

    #[test]
    fn weights_that_say_nothing_keep_all() {
        assert_eq!(kept_tiles(&[0.0; 16], 2, 2, 0.9), [true; 4]);
        assert_eq!(kept_tiles(&[f32::NAN; 16], 2, 2, 0.9), [true; 4]);
        assert_eq!(kept_tiles(&[0.5; 16], 3, 3, 0.9), [true; 9], "eight of nine alike are no 90 %");
    }

    proptest! {
        #[test]
        fn the_tiles_hold_all_the_weight_there_is(
            side in 1..12_usize, rows in 1..6_usize, columns in 1..6_usize, seed in any::<u64>(),
        ) {
            let patches: Vec<f32> = (0..side * side).map(|at| ((seed >> (at % 57)) & 15) as f32).collect();
            let total: f32 = patches.iter().sum();
            let masses = tile_masses(&patches, rows, columns);
            prop_assert!((masses.iter().sum::<f32>() - total).abs() <= 1e-4 * total.max(1.0));
            let kept = kept_tiles(&patches, rows, columns, 0.9);
            let held: f32 = kept.iter().zip(&masses).filter(|(kept, _)| **kept).map(|(_, mass)| mass).sum();
            prop_assert!(held >= 0.9 * total - 1e-3 * total.max(1.0));
        }
    }
}
