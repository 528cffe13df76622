//! When the frames of a video were, and which of them a model looks at.
//!
//! Frames travel as pictures, so a video's container and codec are nothing of this protocol. Who reads the file chooses the
//! frames, by the rule that the model was trained with.

use serde::{Deserialize, Serialize};

use crate::bounded::{MEDIA, at_most};

/// Seconds left out at either end of a video that is longer than all frames together.
const SKIPPED_S: f64 = 1.0;
/// Most frames of any clip; no model here looks at more.
const MOST_FRAMES: u32 = 256;

/// That pictures are the frames of one video, in order of time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clip {
    /// Length of the video in milliseconds.
    pub duration_ms: u32,
    /// When each picture was, in milliseconds since the beginning, none earlier than the one before it.
    #[serde(deserialize_with = "at_most::<{MEDIA}, _, _>")]
    pub times_ms: Vec<u32>,
}

/// Why times are not those of a video's frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClipError {
    /// Not as many times as pictures, or none.
    #[error("{times} times came for {frames} frames of a video; send one time for each frame")]
    Count {
        /// Times given.
        times: usize,
        /// Pictures given.
        frames: usize,
    },
    /// A frame stands before its predecessor.
    #[error(
        "frame {frame} of the video is of an earlier time than the one before it; send frames in order of time"
    )]
    Order {
        /// Position of the frame, from 0.
        frame: usize,
    },
    /// A frame behind the end.
    #[error(
        "a frame is of {time_ms} ms and the video lasts {duration_ms} ms; send the length of the whole video"
    )]
    BehindEnd {
        /// Its time.
        time_ms: u32,
        /// The video's end.
        duration_ms: u32,
    },
}

impl Clip {
    /// Holds the times against the number of pictures, their order and the video's length.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self, frames: usize) -> Result<(), ClipError> {
        let times = self.times_ms.len();
        if times != frames || frames == 0 {
            return Err(ClipError::Count { times, frames });
        }
        if let Some(before) = self.times_ms.windows(2).position(|pair| pair[1] < pair[0]) {
            return Err(ClipError::Order { frame: before + 1 });
        }
        match self.times_ms.last() {
            Some(&time_ms) if time_ms > self.duration_ms => {
                Err(ClipError::BehindEnd { time_ms, duration_ms: self.duration_ms })
            }
            _ => Ok(()),
        }
    }

    /// The same video with these of its frames only; positions that there are not are left out.
    #[must_use]
    pub fn only(&self, frames: impl IntoIterator<Item = usize>) -> Self {
        let times_ms = frames.into_iter().filter_map(|frame| self.times_ms.get(frame).copied()).collect();
        Self { duration_ms: self.duration_ms, times_ms }
    }
}

/// How often a model looks at a video.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClipSampling {
    /// Frames of a second of video.
    pub fps: f32,
    /// Most frames of any video.
    pub max_frames: u32,
    /// Longest edge in pixels beyond which the model gains nothing of a frame.
    pub longest_edge_px: u32,
}

impl ClipSampling {
    /// When to look at a video of this length, in rising order: a frame each `1 / fps` seconds, spread evenly from the first
    /// to the last, at most [`Self::max_frames`]. `frame_ms` is how long one frame is shown, so that the last one is met; 0
    /// where that is not known.
    pub fn times_ms(&self, duration_ms: u32, frame_ms: u32) -> Vec<u32> {
        let duration_s = f64::from(duration_ms) / 1e3;
        let most = self.max_frames.clamp(1, MOST_FRAMES);
        let wanted = (duration_s * f64::from(self.fps)).round_ties_even().clamp(1.0, f64::from(most)) as u32;
        let last_ms = duration_ms.saturating_sub(frame_ms);
        let is_long = duration_s - 2.0 * SKIPPED_S > f64::from(most) * f64::from(self.fps);
        let skipped_ms = if is_long { (SKIPPED_S * 1e3) as u32 } else { 0 };
        let (start, end) = match (skipped_ms, last_ms.min(duration_ms.saturating_sub(skipped_ms))) {
            (start, end) if start < end => (start, end),
            _ => (0, last_ms),
        };
        let step = f64::from(end - start) / f64::from(wanted.saturating_sub(1).max(1));
        let mut times: Vec<u32> =
            (0..wanted).map(|index| start + (f64::from(index) * step).floor() as u32).collect();
        times.dedup();
        times
    }

    /// Which of a video's frames, of which these are the times, a model looks at: those nearest to where it would look.
    pub fn choose(&self, clip: &Clip) -> Vec<usize> {
        let times = &clip.times_ms;
        let frame_ms = match times.last().zip(times.first()) {
            Some((last, first)) if times.len() > 1 => (last - first) / (times.len() as u32 - 1),
            _ => 0,
        };
        let mut chosen: Vec<usize> = self
            .times_ms(clip.duration_ms, frame_ms)
            .into_iter()
            .filter_map(|wanted| (0..times.len()).min_by_key(|&frame| times[frame].abs_diff(wanted)))
            .collect();
        chosen.dedup();
        chosen
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAMPLING: ClipSampling = ClipSampling { fps: 1.0, max_frames: 64, longest_edge_px: 512 };

    #[test]
    fn times_are_as_many_as_frames_and_rise_within_the_video() {
        let clip = |times_ms: &[u32]| Clip { duration_ms: 2_000, times_ms: times_ms.to_vec() };
        assert_eq!(clip(&[0, 1_000, 1_000, 2_000]).check(4), Ok(()));
        assert_eq!(clip(&[0, 1]).check(3), Err(ClipError::Count { times: 2, frames: 3 }));
        assert_eq!(clip(&[]).check(0), Err(ClipError::Count { times: 0, frames: 0 }));
        assert_eq!(clip(&[0, 5, 4]).check(3), Err(ClipError::Order { frame: 2 }));
        let behind = ClipError::BehindEnd { time_ms: 2_001, duration_ms: 2_000 };
        assert_eq!(clip(&[0, 2_001]).check(2), Err(behind));
    }

    #[test]
    fn a_frame_a_second_from_the_first_to_the_last() {
        assert_eq!(SAMPLING.times_ms(3_000, 0), [0, 1_500, 3_000]);
        assert_eq!(SAMPLING.times_ms(400, 40), [0]);
        let long = SAMPLING.times_ms(600_000, 40);
        assert_eq!((long.len(), long[0], long[63]), (64, 1_000, 599_000));
    }

    #[test]
    fn of_more_frames_those_are_chosen_that_the_model_looks_at() {
        let clip = Clip { duration_ms: 4_000, times_ms: (0..16).map(|frame| frame * 250).collect() };
        assert_eq!(SAMPLING.choose(&clip), [0, 5, 10, 15]);
        let sparse = Clip { duration_ms: 60_000, times_ms: vec![0, 30_000] };
        assert_eq!(SAMPLING.choose(&sparse), [0, 1]);
    }

    proptest! {
        #[test]
        fn what_is_looked_at_is_in_the_video_rises_and_is_bounded(
            (duration_ms, frame_ms) in (any::<u32>(), 0_u32..5_000),
            fps in 0.01_f32..60.0,
            max_frames in any::<u32>(),
        ) {
            let sampling = ClipSampling { fps, max_frames, longest_edge_px: 0 };
            let times = sampling.times_ms(duration_ms, frame_ms);
            prop_assert!(!times.is_empty() && times.len() <= max_frames.clamp(1, MOST_FRAMES) as usize);
            prop_assert!(times.is_sorted_by(|one, next| one < next));
            prop_assert_eq!(Clip { duration_ms, times_ms: times.clone() }.check(times.len()), Ok(()));
        }

        #[test]
        fn chosen_frames_are_there_and_rise(
            mut times_ms in proptest::collection::vec(0_u32..100_000, 1..200),
            max_frames in 1_u32..70,
        ) {
            times_ms.sort_unstable();
            let clip = Clip { duration_ms: 100_000, times_ms };
            let chosen = ClipSampling { max_frames, ..SAMPLING }.choose(&clip);
            prop_assert!(!chosen.is_empty() && chosen.len() <= max_frames as usize);
            prop_assert!(chosen.is_sorted_by(|one, next| one < next));
            prop_assert_eq!(clip.only(chosen.iter().copied()).check(chosen.len()), Ok(()));
        }
    }
}
