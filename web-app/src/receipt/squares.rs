//! Which parts of pictures and sound were kept, and how much each mattered.

use msao_protocol::{KeepMask, ModalityAction, ModalityPlanReceipt};

/// Which squares of each given frame left the device, row by row; the side of the grid with them. `None` where nothing
/// scored the pictures.
pub fn sent_squares(one: &ModalityPlanReceipt, frames: usize) -> Option<(u32, Vec<Vec<bool>>)> {
    let kept_frames = one.kept.frames.kept();
    let per_frame = one.kept.patches.parts().checked_div(kept_frames)?;
    let side = per_frame.isqrt();
    if side == 0 || side * side != per_frame {
        return None;
    }
    let mut before = 0;
    let squares = (0..frames as u32).map(|frame| {
        let first = before * per_frame;
        let is_kept = one.kept.frames.is_kept(frame);
        before += u32::from(is_kept);
        (first..first + per_frame)
            .map(|square| match one.action {
                ModalityAction::Whole => true,
                ModalityAction::Pruned => is_kept && one.kept.patches.is_kept(square),
                ModalityAction::Drop | ModalityAction::Edge => false,
            })
            .collect()
    });
    Some((side, squares.collect()))
}

/// The patches of one picture and how much each mattered: the probability, in 0..=1, that it decides the answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Heat {
    /// Patches along a side.
    pub side: u32,
    /// Row by row.
    pub probabilities: Vec<f32>,
}

impl Heat {
    /// What the probe said of one picture; `None` if that is no square.
    pub fn of(probabilities: &[f32]) -> Option<Self> {
        let count = u32::try_from(probabilities.len()).ok()?;
        let side = count.isqrt();
        (side > 0 && side * side == count).then(|| Self { side, probabilities: probabilities.to_vec() })
    }

    /// Probability relative to the highest one, so that differences show where all are small; 0..=1.
    pub fn intensities(&self) -> Vec<f32> {
        let highest = self.probabilities.iter().copied().fold(0.0, f32::max);
        let relative = |one: &f32| if highest > 0.0 { (one / highest).clamp(0.0, 1.0) } else { 0.0 };
        self.probabilities.iter().map(relative).collect()
    }
}

/// One window of sound on a strip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SoundWindow {
    /// Its loudest sample relative to the recording's, in 0..=1.
    pub level: f32,
    /// It left the device.
    pub sent: bool,
    /// The question needs it, by the scores.
    pub kept: bool,
}

/// The windows of a recording, in order of time. `window_samples` is a window's length; windows past the end of
/// `samples` are silent. Empty where nothing scored the sound.
pub fn sound_windows(one: &ModalityPlanReceipt, samples: &[f32], window_samples: usize) -> Vec<SoundWindow> {
    let mask: &KeepMask = &one.kept.windows;
    let loudest = samples.iter().fold(0.0_f32, |loudest, sample| loudest.max(sample.abs()));
    let window = |index: u32| {
        let start = (index as usize * window_samples).min(samples.len());
        let end = (start + window_samples).min(samples.len());
        let peak = samples[start..end].iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
        let kept = mask.is_kept(index);
        SoundWindow {
            level: if loudest > 0.0 { peak / loudest } else { 0.0 },
            kept,
            sent: match one.action {
                ModalityAction::Whole => true,
                ModalityAction::Pruned => kept,
                ModalityAction::Drop | ModalityAction::Edge => false,
            },
        }
    };
    // No longer than the mask's own bytes tell: what announces more holds nothing of it.
    (0..mask.parts().min(MOST_WINDOWS)).map(window).collect()
}

/// Windows that are drawn at most: beyond those of any recording that is taken.
const MOST_WINDOWS: u32 = 2_048;

#[cfg(test)]
mod tests {
    use msao_protocol::KeptParts;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::receipt::fixtures::pruned;

    #[test]
    fn the_squares_that_left_are_those_of_the_kept_frames() {
        let (side, frames) = sent_squares(&pruned(), 2).unwrap();
        assert_eq!(side, 2);
        assert_eq!(frames, [vec![false; 4], vec![true, false, false, false]]);
        let dropped = ModalityPlanReceipt { action: ModalityAction::Drop, ..pruned() };
        assert!(sent_squares(&dropped, 2).unwrap().1.concat().iter().all(|sent| !sent));
        let unscored = ModalityPlanReceipt { kept: KeptParts::default(), ..pruned() };
        assert_eq!(sent_squares(&unscored, 1), None);
    }

    #[test]
    fn windows_past_the_end_are_silent_and_only_kept_ones_left() {
        let sound = ModalityPlanReceipt {
            kept: KeptParts { windows: KeepMask::new(&[false, true, false]), ..KeptParts::default() },
            ..pruned()
        };
        let windows = sound_windows(&sound, &[0.1, -0.2, 0.4], 2);
        let levels: Vec<_> = windows.iter().map(|window| window.level).collect();
        assert_eq!(levels, [0.5, 1.0, 0.0]);
        assert_eq!(windows.iter().filter(|window| window.sent).count(), 1);
        let whole = ModalityPlanReceipt { action: ModalityAction::Whole, ..sound };
        assert!(sound_windows(&whole, &[0.4], 2).iter().all(|window| window.sent));
    }

    #[test]
    fn only_squares_are_a_picture() {
        assert_eq!(Heat::of(&[0.5; 9]).map(|heat| heat.side), Some(3));
        assert_eq!((Heat::of(&[0.5; 8]), Heat::of(&[])), (None, None));
    }

    proptest! {
        #[test]
        fn as_many_windows_are_kept_as_the_mask_says(kept in proptest::collection::vec(any::<bool>(), 0..80)) {
            let mask = KeepMask::new(&kept);
            let sound = ModalityPlanReceipt {
                kept: KeptParts { windows: mask.clone(), ..KeptParts::default() },
                ..pruned()
            };
            let windows = sound_windows(&sound, &[0.5; 100], 7);
            prop_assert_eq!(windows.iter().filter(|window| window.kept).count(), mask.kept() as usize);
        }

        #[test]
        fn the_hottest_patch_is_at_the_top_of_the_scale(patches in proptest::collection::vec(0.001_f32..1.0, 16)) {
            let intensities = Heat::of(&patches).unwrap().intensities();
            prop_assert!(intensities.iter().all(|one| (0.0..=1.0).contains(one)));
            prop_assert_eq!(intensities.iter().copied().fold(0.0, f32::max), 1.0);
        }
    }
}
