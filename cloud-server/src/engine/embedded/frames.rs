//! The server's own choice of frames: of videos that nobody has looked at before, for clients without an edge.
//!
//! Frames in whose pixels nothing has changed since the last kept one (`msao_planner::frames`) are left out before anything is
//! encoded. The prompt is that of a video that was looked at less often: kept frames have their own times, what is left out
//! has neither a picture nor a line, and its length is the video's. So a clip whose frames say nothing new is read as the others
//! sent alone are, token for token, and either goes on from what is kept of the other.
//!
//! Videos of earlier turns stay whole, as their pictures do ([`tiles`](super::tiles)).

use msao_models::{Prompt, Splitting};
use msao_planner::frames::{FrameCells, MAX_CHANGE, kept_frames};

use super::pipeline::Decoding;

/// Leaves frames out of the last question's video, where its sender left none out. Returns the operations that choosing took.
pub(super) fn prune(media: &mut Decoding) -> u64 {
    let prompt = &mut media.prompt;
    let frames = prompt.images.len();
    if frames < 2 || prompt.clip.is_none() || was_looked_at(prompt) {
        return 0;
    }
    let cells =
        prompt.images.iter().map(|frame| FrameCells::of(frame.pixels(), frame.width(), frame.height()));
    let kept = kept_frames(&cells.collect::<Vec<_>>(), MAX_CHANGE);
    // One addition for each of a pixel's channels.
    let flops = prompt.images.iter().map(|frame| frame.pixels().len() as u64).sum();
    // Digests are in the order of turns, pictures first.
    let first = media.digests.len() - frames - usize::from(prompt.audio.is_some());
    let mut digest = 0..;
    media.digests.retain(|_| {
        let frame = digest.next().and_then(|place: usize| place.checked_sub(first));
        frame.and_then(|frame| kept.get(frame)).is_none_or(|kept| *kept)
    });
    prompt.retain_images(&kept);
    media.left_out_frames = frames - prompt.images.len();
    flops
}

/// Whether a device has chosen what is sent of it.
fn was_looked_at(prompt: &Prompt) -> bool {
    prompt.splitting == Splitting::Never || prompt.kept.images.iter().any(Option::is_some)
}
