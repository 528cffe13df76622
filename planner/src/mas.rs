//! Modality Activation Sparsity: how little of a modality a question needs.
//!
//! For modality m with relevance r (probability that the answer changes without m) and density d (share of it
//! that is kept):
//!
//! ```text
//! d   = kept share of patches * kept share of frames
//! MAS = 1 - r * d                                      in [0, 1]
//! ```
//!
//! after *MSAO* (arXiv 2604.02945); the exact form is this project's. This module scores plain probabilities:
//! it knows no encoder and no probe. A score that is broken (NaN) counts as "needed", never as a reason to
//! discard.

use msao_protocol::ModalityAction;

/// The largest threshold below which a modality may be dropped: no setting lets the plan drop something that
/// matters to more than one question in ten.
pub const MAX_DROP_BELOW: f64 = 0.1;

/// The threshold in use: no needed modality of 8,216 held-out questions was below it (models/README.md). It does not adapt:
/// to learn what a dropped modality was worth it would have to be sent after all.
pub const DROP_BELOW: f64 = 0.05;

/// Parts of a modality and how many of them were kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Parts kept, at most `parts`.
    pub kept: u32,
    /// Parts in all; 0 where the modality has no parts of this kind.
    pub parts: u32,
}

impl Kept {
    /// Counts a mask.
    pub fn of(mask: &[bool]) -> Self {
        Self { kept: mask.iter().map(|kept| u32::from(*kept)).sum(), parts: mask.len() as u32 }
    }

    /// Kept share in 0..=1; 1 where there are no parts of this kind, since then nothing was left out.
    pub fn share(self) -> f64 {
        if self.parts == 0 { 1.0 } else { (f64::from(self.kept) / f64::from(self.parts)).min(1.0) }
    }
}

/// Density `d = spatial share * temporal share`, in 0..=1.
pub fn density(spatial: Kept, temporal: Kept) -> f64 {
    spatial.share() * temporal.share()
}

/// `MAS = 1 - r * d`, clamped to 0..=1; NaN in either counts as 1, that is, as needed.
pub fn mas(relevance: f64, density: f64) -> f64 {
    1.0 - needed(relevance) * needed(density)
}

/// A share or probability, where what is no number counts as 1.
pub(crate) fn needed(share: f64) -> f64 {
    if share.is_nan() { 1.0 } else { share.clamp(0.0, 1.0) }
}

/// The smallest set of patches whose probabilities sum to at least `tau_s` (in 0..=1) of the whole: the
/// spatial analysis.
///
/// Patches of equal probability enter in order of their index. At least one patch is kept, if there is one.
/// Negative and non-finite probabilities count as 0; if nothing else is left, the scores say nothing and all
/// patches are kept.
pub fn kept_patches(probabilities: &[f32], tau_s: f64) -> Vec<bool> {
    let mass: Vec<f64> =
        probabilities.iter().map(|p| if p.is_finite() { f64::from(p.max(0.0)) } else { 0.0 }).collect();
    let total: f64 = mass.iter().sum();
    if total <= 0.0 || tau_s.is_nan() {
        return vec![true; mass.len()];
    }
    let mut order: Vec<usize> = (0..mass.len()).collect();
    order.sort_by(|&left, &right| mass[right].total_cmp(&mass[left])); // stable: equals stay in order of index
    let mut kept = vec![false; mass.len()];
    let mut cumulative = 0.0;
    for patch in order {
        // A patch without mass adds nothing, whatever rounding has left of the last bit of the sum.
        if cumulative >= tau_s.min(1.0) * total && cumulative > 0.0 || mass[patch] == 0.0 {
            break;
        }
        kept[patch] = true;
        cumulative += mass[patch];
    }
    kept
}

/// Carries a square mask from the edge's grid of patches to the target's: a target cell is kept iff it
/// overlaps, with positive area, a kept edge cell grown by `margin` edge cells on every side.
///
/// # Shapes
/// `mask`: `edge_side * edge_side`, row by row; the result: `target_side * target_side`.
///
/// # Panics
/// If the mask does not have `edge_side * edge_side` cells, or `margin` is negative or NaN.
pub fn project_mask(mask: &[bool], edge_side: usize, target_side: usize, margin: f64) -> Vec<bool> {
    assert_eq!(mask.len(), edge_side * edge_side, "mask of {} cells, grid of {edge_side}^2", mask.len());
    assert!(margin >= 0.0, "margin {margin}");
    // Both grids in units of 1 / (edge_side * target_side): products of small integers, exact in f64.
    let (edge_cell, target_cell) = (target_side as f64, edge_side as f64);
    let overlaps = |edge: usize, target: usize| {
        let (edge, target) = (edge as f64, target as f64);
        (edge - margin) * edge_cell < (target + 1.0) * target_cell
            && target * target_cell < (edge + 1.0 + margin) * edge_cell
    };
    let reach: Vec<Vec<usize>> = (0..target_side)
        .map(|target| (0..edge_side).filter(|&edge| overlaps(edge, target)).collect())
        .collect();
    (0..target_side * target_side)
        .map(|cell| {
            let (rows, columns) = (&reach[cell / target_side], &reach[cell % target_side]);
            rows.iter().any(|row| columns.iter().any(|column| mask[row * edge_side + column]))
        })
        .collect()
}

/// What may happen to a modality when the cloud answers, the one that discards least first; empty where the
/// cloud must not answer at all, because the question needs what must not leave the device.
///
/// Relevance below `drop_below` (at most [`MAX_DROP_BELOW`]): it is dropped, locked or not. Otherwise it is
/// sent, whole or pruned.
pub fn cloud_actions(relevance: f64, drop_below: f64, locked: bool) -> &'static [ModalityAction] {
    match (is_needed(relevance, drop_below), locked) {
        (false, _) => &[ModalityAction::Drop],
        (true, true) => &[],
        (true, false) => &[ModalityAction::Whole, ModalityAction::Pruned],
    }
}

/// What happens to a modality when the edge answers alone; no lock forbids anything here.
pub fn edge_action(relevance: f64, drop_below: f64) -> ModalityAction {
    if is_needed(relevance, drop_below) { ModalityAction::Edge } else { ModalityAction::Drop }
}

/// Whether the question needs the modality: `r >= drop_below`, with `drop_below` held to [`MAX_DROP_BELOW`].
pub fn is_needed(relevance: f64, drop_below: f64) -> bool {
    // A NaN threshold becomes MAX_DROP_BELOW by `min`; a NaN relevance becomes 1.
    needed(relevance) >= drop_below.min(MAX_DROP_BELOW)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn indices(mask: &[bool]) -> Vec<usize> {
        (0..mask.len()).filter(|&index| mask[index]).collect()
    }

    #[test]
    fn the_smallest_set_with_enough_mass_is_kept() {
        assert_eq!(indices(&kept_patches(&[0.1, 0.5, 0.1, 0.3], 0.8)), [1, 3]);
        assert_eq!(indices(&kept_patches(&[0.1, 0.5, 0.1, 0.3], 0.81)), [0, 1, 3]);
        assert_eq!(indices(&kept_patches(&[0.25; 4], 0.5)), [0, 1], "ties enter by index");
        assert_eq!(indices(&kept_patches(&[0.0, 1.0], 0.0)), [1], "one patch is always kept");
    }

    #[test]
    fn broken_scores_discard_nothing() {
        assert_eq!(kept_patches(&[f32::NAN, -1.0, 0.0], 0.5), [true; 3]);
        assert_eq!(indices(&kept_patches(&[f32::NAN, 0.2, f32::INFINITY, 0.1], 1.0)), [1, 3]);
        assert!(kept_patches(&[], 0.5).is_empty());
        assert_eq!(mas(f64::NAN, 0.5), 0.5);
        assert_eq!(cloud_actions(f64::NAN, 0.05, true), []);
    }

    #[test]
    fn mas_is_one_minus_relevant_density() {
        let density = density(Kept { kept: 16, parts: 64 }, Kept { kept: 1, parts: 2 });
        assert_eq!(density, 0.125);
        assert_eq!(mas(0.8, density), 0.9);
        assert_eq!(Kept::of(&[]).share(), 1.0);
        assert_eq!(Kept::of(&[true, false]), Kept { kept: 1, parts: 2 });
    }

    #[test]
    fn no_setting_drops_what_matters() {
        assert!(is_needed(0.1, 0.9), "a threshold above the maximum is held to it");
        assert!(!is_needed(0.09, 0.9));
        assert_eq!(cloud_actions(0.01, 0.05, true), [ModalityAction::Drop]);
        assert_eq!(cloud_actions(0.5, 0.05, true), []);
        assert_eq!(edge_action(0.5, 0.05), ModalityAction::Edge);
    }

    #[test]
    fn a_cell_maps_to_those_it_overlaps() {
        let mut mask = vec![false; 16];
        mask[5] = true; // row 1, column 1 of 4 x 4
        assert_eq!(indices(&project_mask(&mask, 4, 2, 0.0)), [0]);
        assert_eq!(indices(&project_mask(&mask, 4, 8, 0.0)), [18, 19, 26, 27]);
        assert_eq!(indices(&project_mask(&mask, 4, 3, 0.0)), [0, 1, 3, 4], "2/4 of the way crosses 1/3");
        assert_eq!(indices(&project_mask(&mask, 4, 4, 0.0)), [5], "touching edges have no area");
        assert_eq!(indices(&project_mask(&mask, 4, 4, 0.5)), [0, 1, 2, 4, 5, 6, 8, 9, 10]);
    }

    proptest! {
        #[test]
        fn the_kept_set_is_enough_and_no_smaller_one_is(
            probabilities in proptest::collection::vec(0.001_f32..1.0, 1..12), tau_s in 0.0..1.0_f64,
        ) {
            let kept = kept_patches(&probabilities, tau_s);
            let total: f64 = probabilities.iter().copied().map(f64::from).sum();
            let mass_of = |set: u32| -> f64 {
                let chosen = (0..probabilities.len()).filter(|i| set & (1 << i) != 0);
                chosen.map(|i| f64::from(probabilities[i])).sum()
            };
            let kept_set: u32 = indices(&kept).iter().map(|i| 1 << i).sum();
            prop_assert!(mass_of(kept_set) >= tau_s * total - 1e-9);
            for set in 1_u32..(1 << probabilities.len()) {
                if set.count_ones() < kept_set.count_ones() {
                    prop_assert!(mass_of(set) < tau_s * total + 1e-9);
                }
            }
        }

        #[test]
        fn the_kept_set_grows_with_tau(
            probabilities in proptest::collection::vec(0.0_f32..1.0, 0..40), low in 0.0..1.0_f64,
            more in 0.0..1.0_f64,
        ) {
            let (small, large) = (kept_patches(&probabilities, low), kept_patches(&probabilities, low + more));
            prop_assert!(small.iter().zip(&large).all(|(small, large)| *large || !small));
        }

        #[test]
        fn projection_covers_every_kept_point(
            edge_side in 1..9_usize, target_side in 1..9_usize, seed in any::<u64>(),
            x in 0.0..1.0_f64, y in 0.0..1.0_f64,
        ) {
            let mask: Vec<bool> = (0..edge_side * edge_side).map(|cell| seed >> (cell % 64) & 1 == 1).collect();
            let cell = |side: usize| (y * side as f64) as usize * side + (x * side as f64) as usize;
            let projected = project_mask(&mask, edge_side, target_side, 0.0);
            prop_assert!(!mask[cell(edge_side)] || projected[cell(target_side)]);
            if edge_side == target_side {
                prop_assert_eq!(&projected, &mask);
            }
            // Nothing is kept without a reason: projecting an empty mask keeps nothing.
            prop_assert!(!project_mask(&vec![false; mask.len()], edge_side, target_side, 1.0).contains(&true));
        }

        #[test]
        fn mas_stays_in_range_and_falls_with_relevance(
            r in 0.0..1.0_f64, more in 0.0..1.0_f64, d in 0.0..1.0_f64,
        ) {
            prop_assert!((0.0..=1.0).contains(&mas(r, d)));
            prop_assert!(mas(r + more, d) <= mas(r, d));
        }
    }
}
