//! Frames of a video: when they were, which are looked at, which of them are shown.

use msao_protocol::{Clip, ClipSampling, Limits, ModelInfo};

/// Frames of a clip for models that are told no times, as they were trained.
pub const CLIP_FRAMES: usize = 4;
/// Frames that the page shows of a video.
const SHOWN_FRAMES: usize = 4;
/// Longest edge of frames for models that see pictures of one size alone; 0 sends what the device sees.
const AS_SEEN_PX: u32 = 0;

/// When a frame was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since the video's beginning.
    pub at_ms: u32,
    /// The video's length in milliseconds.
    pub duration_ms: u32,
}

/// The clip that pictures of these moments are; `None` for pictures that are no frames of one video.
pub fn clip(moments: impl IntoIterator<Item = Option<Moment>>) -> Option<Clip> {
    let moments: Vec<Moment> = moments.into_iter().collect::<Option<_>>()?;
    let duration_ms = moments.first()?.duration_ms;
    let is_one = moments.iter().all(|moment| moment.duration_ms == duration_ms);
    let clip = Clip { duration_ms, times_ms: moments.iter().map(|moment| moment.at_ms).collect() };
    (is_one && clip.check(moments.len()).is_ok()).then_some(clip)
}

/// How a video is looked at for this model on the server; `None` where there is none, or nobody knows it yet.
pub fn sampling(target: Option<&ModelInfo>, limits: &Limits) -> ClipSampling {
    match target.and_then(|target| target.clips) {
        Some(clips) => ClipSampling { max_frames: clips.max_frames.min(limits.clip_frames), ..clips },
        // However short the video is.
        None => ClipSampling {
            fps: f32::MAX,
            max_frames: limits.images.min(CLIP_FRAMES as u32),
            longest_edge_px: AS_SEEN_PX,
        },
    }
}

/// Positions of the frames that are shown of so many: the first, the last, and some between.
pub fn shown(frames: usize) -> Vec<usize> {
    let count = frames.min(SHOWN_FRAMES);
    (0..count).map(|index| index * (frames - 1) / (count - 1).max(1)).collect()
}

/// What so many pictures are.
pub fn caption(pictures: usize) -> String {
    match pictures {
        0 => String::new(),
        1 => "The picture, as the models see it".to_owned(),
        count if count > SHOWN_FRAMES => {
            format!("A clip of {count} frames, of which {SHOWN_FRAMES} are shown")
        }
        count => format!("A clip of {count} frames, as the models see it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_of_one_video_are_a_clip_and_others_are_not() {
        let at = |at_ms, duration_ms| Some(Moment { at_ms, duration_ms });
        let one = Clip { duration_ms: 900, times_ms: vec![0, 400] };
        assert_eq!(clip([at(0, 900), at(400, 900)]), Some(one));
        assert_eq!(clip([]), None);
        assert_eq!(clip([None, at(400, 900)]), None, "a picture beside a frame");
        assert_eq!(clip([at(0, 900), at(400, 800)]), None, "frames of two videos");
        assert_eq!(clip([at(400, 900), at(0, 900)]), None, "frames in another order");
    }

    #[test]
    fn a_model_that_reads_no_times_gets_few_frames_spread_over_the_video() {
        let sampling = sampling(None, &Limits::default());
        assert_eq!(sampling.times_ms(3_000, 0), [0, 1_000, 2_000, 3_000]);
        assert_eq!(sampling.times_ms(600_000, 0).len(), CLIP_FRAMES);
    }

    #[test]
    fn the_first_and_the_last_frame_are_shown() {
        assert_eq!(shown(0), [0_usize; 0]);
        assert_eq!(shown(1), [0]);
        assert_eq!(shown(3), [0, 1, 2]);
        assert_eq!(shown(20), [0, 6, 12, 19]);
        assert!(caption(20).contains("20 frames"));
    }
}
