//! Which windows of a recording hold energy or change: the temporal analysis of MAS for sound.
//!
//! ```text
//! floor = min(10th percentile of the levels, highest_floor)
//! keep window i  iff  level_i > floor + margin,
//!                or   change_i > factor * median change  and  level_i is not silence
//! ```
//!
//! each kept window with its neighbours (hangover), so that soft onsets and endings stay. The percentile is
//! the usual minimum-statistics idea (Martin 2001) in its plainest form: the quietest tenth is noise. Where
//! speech fills the recording there is no such tenth; `highest_floor` keeps loud sound from being taken for
//! noise. The module knows levels, not samples: who calls measures them.

/// What one window of sound is like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AudioWindow {
    /// Root mean square in decibels of full scale: 0 is the loudest, silence is far below. NaN and -inf are
    /// silence.
    pub level_dbfs: f64,
    /// How much the spectrum differs from the window before, such as spectral flux; at least 0, any unit.
    pub change: f64,
}

/// When a window counts as empty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AudioRules {
    /// Levels at or below this are silence, in dBFS.
    pub silence_dbfs: f64,
    /// The noise floor is never taken to be above this, in dBFS.
    pub highest_floor_dbfs: f64,
    /// A window this much above the floor holds energy, in decibels.
    pub margin_db: f64,
    /// A window whose change is more than this many times the median change holds change.
    pub change_factor: f64,
    /// Windows kept before and after each that holds something.
    pub hangover: usize,
}

impl Default for AudioRules {
    /// For speech into a laptop's microphone, in windows of some 100 ms.
    fn default() -> Self {
        Self {
            silence_dbfs: -65.0,
            highest_floor_dbfs: -40.0,
            margin_db: 6.0,
            change_factor: 3.0,
            hangover: 1,
        }
    }
}

/// Which windows were kept, and on what ground.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptWindows {
    /// One entry for each window, in order of time. All `false` only if [`Self::silent`].
    pub kept: Vec<bool>,
    /// No window is above the level of silence.
    pub silent: bool,
    /// The noise floor used, in dBFS; the level of silence where all is silent.
    pub floor_dbfs: f64,
}

/// Share of windows that are taken to be noise.
const FLOOR_PERCENTILE: f64 = 0.1;

/// Chooses the windows to keep. A recording that is not silent but in which no window stands out (a steady
/// tone) is kept whole: what it is cannot be told from its level.
pub fn kept_windows(windows: &[AudioWindow], rules: &AudioRules) -> KeptWindows {
    let is_silence =
        |window: &AudioWindow| window.level_dbfs.is_nan() || window.level_dbfs <= rules.silence_dbfs;
    if windows.iter().all(is_silence) {
        return KeptWindows {
            kept: vec![false; windows.len()],
            silent: true,
            floor_dbfs: rules.silence_dbfs,
        };
    }
    let levels = windows.iter().map(|window| window.level_dbfs.max(rules.silence_dbfs)); // NaN becomes silence
    let floor_dbfs = percentile(levels, FLOOR_PERCENTILE).min(rules.highest_floor_dbfs);
    let usual_change =
        percentile(windows.iter().map(|window| window.change).filter(|change| change.is_finite()), 0.5);
    let holds_something: Vec<bool> = windows
        .iter()
        .map(|window| {
            let energy = window.level_dbfs > floor_dbfs + rules.margin_db;
            let change = window.change > rules.change_factor * usual_change;
            !is_silence(window) && (energy || change)
        })
        .collect();
    let kept = if holds_something.contains(&true) {
        (0..windows.len())
            .map(|window| {
                let (first, last) = (window.saturating_sub(rules.hangover), window + rules.hangover);
                holds_something[first..=last.min(windows.len() - 1)].contains(&true)
            })
            .collect()
    } else {
        vec![true; windows.len()]
    };
    KeptWindows { kept, silent: false, floor_dbfs }
}

/// The value below which `share` of the values lie (nearest rank); 0 of none.
fn percentile(values: impl Iterator<Item = f64>, share: f64) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let rank = (share * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn levels(levels: &[f64]) -> Vec<AudioWindow> {
        levels.iter().map(|&level_dbfs| AudioWindow { level_dbfs, change: 1.0 }).collect()
    }

    fn kept(windows: &[AudioWindow]) -> KeptWindows {
        kept_windows(windows, &AudioRules::default())
    }

    #[test]
    fn a_word_in_noise_is_kept_with_its_neighbours() {
        let result = kept(&levels(&[-55.0, -54.0, -55.0, -20.0, -22.0, -54.0, -55.0, -56.0]));
        assert_eq!(result.kept, [false, false, true, true, true, true, false, false]);
        assert_eq!((result.silent, result.floor_dbfs), (false, -56.0));
    }

    #[test]
    fn silence_is_dropped_and_called_so() {
        let result = kept(&levels(&[-90.0, f64::NEG_INFINITY, f64::NAN]));
        assert_eq!((result.kept, result.silent), (vec![false; 3], true));
        assert!(kept(&[]).silent);
    }

    #[test]
    fn speech_without_a_pause_is_kept_whole() {
        let result = kept(&levels(&[-20.0, -10.0, -20.0, -20.0, -20.0, -19.0, -20.0]));
        assert_eq!((result.kept, result.floor_dbfs), (vec![true; 7], -40.0));
    }

    #[test]
    fn a_soft_steady_sound_is_kept_whole() {
        let result = kept(&levels(&[-50.0; 5]));
        assert_eq!((result.kept, result.silent), (vec![true; 5], false));
    }

    #[test]
    fn a_soft_click_is_found_by_its_change() {
        let mut windows = levels(&[-55.0, -54.0, -55.0, -53.0, -55.0, -54.0]);
        windows[3].change = 10.0;
        assert_eq!(kept(&windows).kept, [false, false, true, true, true, false]);
    }

    #[test]
    fn change_within_silence_is_none() {
        let mut windows = levels(&[-90.0, -90.0, -90.0, -90.0, -20.0]);
        windows[1].change = 10.0;
        assert_eq!(kept(&windows).kept, [false, false, false, true, true]);
    }

    proptest! {
        #[test]
        fn only_silence_is_dropped_whole(
            windows in proptest::collection::vec((-100.0..0.0_f64, 0.0..10.0_f64), 0..40),
        ) {
            let windows: Vec<AudioWindow> =
                windows.iter().map(|&(level_dbfs, change)| AudioWindow { level_dbfs, change }).collect();
            let result = kept(&windows);
            prop_assert_eq!(result.kept.len(), windows.len());
            prop_assert_eq!(!result.kept.contains(&true), result.silent);
            prop_assert_eq!(result.silent, windows.iter().all(|window| window.level_dbfs <= -65.0));
            for (window, kept) in windows.iter().zip(&result.kept) {
                prop_assert!(*kept || window.level_dbfs <= result.floor_dbfs + 6.0, "loud windows stay");
            }
        }
    }
}
