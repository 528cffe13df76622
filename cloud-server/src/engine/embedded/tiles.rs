//! The server's own choice of tiles: of pictures that nobody has looked at before, for clients without an edge.
//!
//! The early layers of the target's own tower look at the whole picture, and tiles in which little stands out are never
//! encoded (`msao_planner::tiles`). Whatever is chosen is what the target answers from: drafts are verified on it, and a
//! prompt that is read again gets the same, since the choice knows nothing but the picture.
//!
//! Pictures of earlier turns stay whole: a later question may be about anything in them.

use msao_models::{Assistant, RgbImage};
use msao_planner::tiles::{TAU_TILES, kept_tiles};
use sha2::{Digest as _, Sha256};

use super::content::Digest;
use super::pipeline::Decoding;
use crate::engine::EngineError;

/// Leaves tiles out of the last question's pictures where they are split, and none was left out before. Returns the operations
/// that choosing took.
///
/// # Errors
/// When the device fails.
pub(super) fn prune(target: &Assistant, media: &mut Decoding) -> Result<u64, EngineError> {
    let prompt = &mut media.prompt;
    let (images, audio) = (prompt.images.len(), usize::from(prompt.audio.is_some()));
    // Digests are in the order of turns, pictures first.
    let first = media.digests.len() - images - audio;
    let mut flops = 0;
    for index in 0..images {
        let layout = target.image_layout(prompt, index);
        if layout.num_inputs() == 1
            || prompt.kept.image(index).is_some()
            || prompt.given_whole(index).is_some()
        {
            continue;
        }
        flops += target.saliency_flops();
        let tiles = choose(target, &prompt.images[index], [layout.rows, layout.columns])?;
        if tiles.iter().all(|kept| *kept) {
            continue;
        }
        prompt.kept.images.resize(images, None);
        prompt.kept.images[index] = Some(target.tokens_of_tiles(&tiles));
        let digest = &mut media.digests[first + index];
        *digest = with_tiles(digest, &tiles);
    }
    Ok(flops)
}

fn choose(target: &Assistant, image: &RgbImage, [rows, columns]: [u32; 2]) -> Result<Vec<bool>, EngineError> {
    let patches = pollster::block_on(target.saliency(image))?;
    Ok(kept_tiles(&patches, rows as usize, columns as usize, TAU_TILES))
}

/// The digest of a picture of which these tiles are kept.
fn with_tiles(digest: &Digest, tiles: &[bool]) -> Digest {
    let mut hasher = Sha256::new();
    hasher.update(b"tiles");
    hasher.update(digest);
    hasher.update(tiles.iter().map(|kept| u8::from(*kept)).collect::<Vec<u8>>());
    hasher.finalize().into()
}
