//! What a prompt holds, exactly, so that two that begin alike are told apart where they begin to differ.
//!
//! Token ids do not tell: all pictures have the same placeholders. So each stretch of placeholders stands for the digest of
//! its file and mask. Files that differ are different contents, though their pixels may be alike.

use std::ops::Range;

use msao_models::text::PromptTokens;
use msao_protocol::{Ask, AudioInput, Clip, ImageInput, KeepMask, TiledImage};
use sha2::{Digest as _, Sha256};

/// SHA-256 of one medium: its kind, its mask and its bytes.
pub(super) type Digest = [u8; 32];

/// A prompt's tokens and media.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Content {
    ids: Vec<u32>,
    /// In the order of their places.
    media: Vec<(Range<usize>, Digest)>,
}

impl Content {
    /// The content of a prompt laid out as `tokens`, whose media have these digests in order.
    pub(super) fn new(tokens: PromptTokens, digests: &[Digest]) -> Self {
        let PromptTokens { ids, mut image_spans, audio_spans, image_inputs: _ } = tokens;
        image_spans.extend(audio_spans);
        image_spans.sort_by_key(|span| span.start);
        Self { ids, media: image_spans.into_iter().zip(digests.iter().copied()).collect() }
    }

    /// Tokens of the prompt.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The same with the answer's tokens behind it.
    pub(super) fn with_answer(mut self, tokens: &[u32]) -> Self {
        self.ids.extend_from_slice(tokens);
        self
    }

    /// How many tokens both begin with; never a part of a medium.
    pub(super) fn common_beginning(&self, other: &Self) -> usize {
        let alike = self.ids.iter().zip(&other.ids).take_while(|(own, other)| own == other).count();
        let mut others = other.media.iter();
        let before = self.media.iter().take_while(|(span, _)| span.start < alike);
        let differs = before.filter(|own| others.next() != Some(*own)).map(|(span, _)| span.start).next();
        self.beginning_within(differs.unwrap_or(alike))
    }

    /// The longest beginning of at most `tokens` that ends in no medium.
    pub(super) fn beginning_within(&self, tokens: usize) -> usize {
        let cut = self.media.iter().find(|(span, _)| span.start < tokens && tokens < span.end);
        cut.map_or(tokens, |(span, _)| span.start)
    }
}

/// The digests of a question's media in the order in which the prompt has them: turn by turn, pictures first.
pub(super) fn digests(ask: &Ask) -> Vec<Digest> {
    let earlier = ask.history.iter().map(|turn| (&turn.images, &turn.clip, &turn.audio));
    let turns = earlier.chain([(&ask.images, &ask.clip, &ask.audio)]);
    let of_turn = |(images, clip, audio): (&Vec<ImageInput>, &Option<Clip>, &Option<AudioInput>)| {
        // Frames of a video are not split as pictures are.
        let kind = if clip.is_some() { b'f' } else { b'v' };
        let pictures = images.iter().map(move |image| of_image(kind, image));
        pictures.chain(audio.iter().map(of_audio)).collect::<Vec<_>>()
    };
    turns.flat_map(of_turn).collect()
}

fn of_image(kind: u8, image: &ImageInput) -> Digest {
    let mask = match image {
        ImageInput::Whole(_) => None,
        ImageInput::Kept(kept) => Some(&kept.mask),
        ImageInput::Tiles(tiled) => return of_tiles(tiled),
    };
    digest(kind, mask, &image.media().bytes)
}

/// Two files, each by a digest of its own, so that no byte of the one can pass for one of the other.
fn of_tiles(tiled: &TiledImage) -> Digest {
    let mut files = digest(b't', Some(&tiled.mask), &tiled.picture.bytes).to_vec();
    files.extend(digest(b't', None, &tiled.whole.bytes));
    files.extend([tiled.rows, tiled.columns]);
    digest(b't', None, &files)
}

fn of_audio(audio: &AudioInput) -> Digest {
    let mask = match audio {
        AudioInput::Whole(_) => None,
        AudioInput::Kept(kept) => Some(&kept.mask),
    };
    digest(b'a', mask, &audio.media().bytes)
}

fn digest(kind: u8, mask: Option<&KeepMask>, bytes: &[u8]) -> Digest {
    let mut hasher = Sha256::new();
    hasher.update([kind, u8::from(mask.is_some())]);
    if let Some(mask) = mask {
        hasher.update(mask.parts().to_le_bytes());
        hasher.update((0..mask.parts()).map(|part| u8::from(mask.is_kept(part))).collect::<Vec<u8>>());
    }
    hasher.update(bytes);
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use msao_planner::SplitMix64;
    use msao_protocol::{KeptImage, Media, MediaKind};

    use super::*;

    fn content(ids: &[u32], media: &[(Range<usize>, u8)]) -> Content {
        let media = media.iter().map(|(span, digest)| (span.clone(), [*digest; 32])).collect();
        Content { ids: ids.to_vec(), media }
    }

    #[test]
    fn another_picture_ends_what_is_common_where_it_begins() {
        let one = content(&[1, 5, 5, 2, 5, 5, 3], &[(1..3, 7), (4..6, 8)]);
        assert_eq!(one.common_beginning(&one), 7);
        let longer = one.clone().with_answer(&[9, 9]);
        assert_eq!((one.common_beginning(&longer), longer.common_beginning(&one)), (7, 7));
        let second_differs = content(&[1, 5, 5, 2, 5, 5, 3], &[(1..3, 7), (4..6, 9)]);
        assert_eq!(one.common_beginning(&second_differs), 4);
        let first_is_longer = content(&[1, 5, 5, 5, 5, 5, 3], &[(1..6, 7)]);
        assert_eq!(one.common_beginning(&first_is_longer), 1);
        assert_eq!(first_is_longer.common_beginning(&one), 1);
        let cut = content(&[1, 5, 5, 2, 5], &[(1..3, 7), (4..5, 8)]);
        assert_eq!(one.common_beginning(&cut), 4);
    }

    #[test]
    fn masks_and_kinds_are_content_too() {
        let media = || Media { kind: MediaKind::Png, bytes: vec![1, 2, 3] };
        let kept = |mask: &[bool]| {
            of_image(b'v', &ImageInput::Kept(KeptImage { mask: KeepMask::new(mask), tiles: media() }))
        };
        let tiles = |rows: u8, mask: &[bool], whole: u8| {
            let whole = Media { kind: MediaKind::Png, bytes: vec![whole] };
            let (mask, columns) = (KeepMask::new(mask), 2 / rows);
            of_image(b'v', &ImageInput::Tiles(TiledImage { rows, columns, mask, picture: media(), whole }))
        };
        let all = [
            tiles(1, &[true, false], 1),
            tiles(1, &[true, false], 2),
            tiles(1, &[true, true], 1),
            tiles(2, &[true, false], 1),
            of_image(b'v', &ImageInput::Whole(media())),
            of_image(b'f', &ImageInput::Whole(media())),
            of_audio(&AudioInput::Whole(media())),
            kept(&[true, false]),
            kept(&[false, true]),
            kept(&[true, false, false]),
        ];
        for (index, digest) in all.iter().enumerate() {
            assert!(!all[..index].contains(digest), "{index}");
        }
        assert_eq!(kept(&[true, false]), all[7]);
    }

    /// Up to the common beginning both hold the same, and right behind it they do not.
    #[test]
    fn a_common_beginning_is_common_and_longest() {
        let mut rng = SplitMix64::new(5);
        let mut below = move |limit: f64| (rng.uniform() * limit) as u32;
        // Each 0 is the placeholder of a medium of one token.
        let mut random = || {
            let ids: Vec<u32> = (0..below(12.0)).map(|_| below(3.0)).collect();
            let places = ids.iter().enumerate().filter(|(_, id)| **id == 0).map(|(at, _)| at);
            let media: Vec<_> = places.map(|at| (at..at + 1, below(2.0) as u8)).collect();
            content(&ids, &media)
        };
        let at = |content: &Content, place: usize| {
            let medium =
                content.media.iter().find(|(span, _)| span.contains(&place)).map(|(_, digest)| *digest);
            content.ids.get(place).map(|id| (*id, medium))
        };
        for _ in 0..20_000 {
            let (one, other) = (random(), random());
            let common = one.common_beginning(&other);
            assert_eq!(common, other.common_beginning(&one), "{one:?} {other:?}");
            assert!((0..common).all(|place| at(&one, place) == at(&other, place)), "{one:?} {other:?}");
            let is_longest = common == one.len().min(other.len()) || at(&one, common) != at(&other, common);
            assert!(is_longest, "{one:?} {other:?}");
        }
    }
}
