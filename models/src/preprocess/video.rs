//! Which frames of a video SmolVLM2 looks at, and when they were, as `SmolVLMVideoProcessor` has it.
//!
//! Frames are then pictures that are not split. How a video file is read is not known here.

use serde::Deserialize;

/// Seconds that are left out at either end of a long video.
const SKIPPED_S: f64 = 1.0;

/// How often frames are looked at (`video_sampling`).
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct VideoSampling {
    /// Frames of a second of video.
    pub fps: f64,
    /// Most frames of any video.
    pub max_frames: usize,
}

impl Default for VideoSampling {
    fn default() -> Self {
        Self { fps: 1.0, max_frames: 64 }
    }
}

/// That pictures are frames of one video.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Clip {
    /// Length of the video in seconds.
    pub duration_s: f64,
    /// When each frame was, in seconds since the beginning.
    pub times_s: Vec<f64>,
}

impl VideoSampling {
    /// The frames to look at of a video of `total` frames, `fps` of them a second, in rising order.
    pub fn frames(&self, total: usize, fps: f64, duration_s: f64) -> Vec<usize> {
        if total == 0 {
            return Vec::new();
        }
        let last = total - 1;
        let wanted =
            (self.fps * duration_s).round_ties_even().clamp(1.0, self.max_frames.max(1) as f64) as usize;
        let (mut start, mut end) = (0, last);
        // As published: the comparison is of seconds with frames times their rate.
        if duration_s - 2.0 * SKIPPED_S > self.max_frames as f64 * self.fps {
            start = (SKIPPED_S * fps) as usize;
            end = ((total as f64 - SKIPPED_S * fps).max(0.0) as usize).min(last);
        }
        if start >= end {
            (start, end) = (0, last);
        }
        let step = (end - start) as f64 / wanted.saturating_sub(1).max(1) as f64;
        let mut frames: Vec<usize> =
            (0..wanted).map(|index| (index as f64 * step + start as f64).floor() as usize).collect();
        if wanted > 1 {
            frames[wanted - 1] = end;
        }
        frames.dedup();
        frames
    }
}

impl Clip {
    /// What a video of `fps` frames a second tells of these frames.
    pub fn of(frames: &[usize], fps: f64, duration_s: f64) -> Self {
        Self { duration_s, times_s: frames.iter().map(|&frame| frame as f64 / fps).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_rise_within_the_video_and_the_bound() {
        let sampling = VideoSampling { fps: 1.0, max_frames: 8 };
        for total in [1, 2, 7, 24, 25, 250, 10_000] {
            for fps in [0.5, 1.0, 24.0, 29.97] {
                let frames = sampling.frames(total, fps, total as f64 / fps);
                assert!(!frames.is_empty() && frames.len() <= 8, "{total} at {fps}");
                assert!(frames.is_sorted_by(|a, b| a < b) && frames.iter().all(|&frame| frame < total));
            }
        }
        assert!(sampling.frames(0, 24.0, 0.0).is_empty());
    }
}
