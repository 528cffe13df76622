//! Pictures as the page captures and encodes them.

use anyhow::Result;
use image::{ExtendedColorType, ImageEncoder, codecs::jpeg::JpegEncoder, codecs::png::PngEncoder};
use msao_models::{
    RgbImage,
    preprocess::{ResizeFilter, resize},
};
use msao_protocol::MediaKind;

/// Above this a PNG is camera noise, and JPEG is sent.
const PNG_BYTES: usize = 48_000;
const JPEG_QUALITY: u8 = 92;
/// Longest side of a picture that is sent, in pixels.
const WHOLE_SIDE_PX: u32 = 256;

/// A format of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    Png,
    Jpeg,
}

impl Codec {
    /// The one for a picture: PNG unless that is large. Squares cut out of it are encoded the same way.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub(crate) fn of(picture: &RgbImage) -> Result<Self> {
        let png = Self::Png.encode(picture)?.len();
        Ok(if png <= PNG_BYTES { Self::Png } else { Self::Jpeg })
    }

    /// A picture as a file.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub(crate) fn encode(self, picture: &RgbImage) -> Result<Vec<u8>> {
        let (pixels, width, height) = (picture.pixels(), picture.width(), picture.height());
        let mut bytes = Vec::new();
        match self {
            Self::Png => {
                PngEncoder::new(&mut bytes).write_image(pixels, width, height, ExtendedColorType::Rgb8)?;
            }
            Self::Jpeg => JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY).write_image(
                pixels,
                width,
                height,
                ExtendedColorType::Rgb8,
            )?,
        }
        Ok(bytes)
    }

    /// What the wire calls it.
    pub(crate) fn kind(self) -> MediaKind {
        match self {
            Self::Png => MediaKind::Png,
            Self::Jpeg => MediaKind::Jpeg,
        }
    }
}

/// The centre square, at most 256 pixels a side: what leaves the page at most.
pub(crate) fn captured(picture: &RgbImage) -> RgbImage {
    let square = picture.center_square();
    let side = square.width().min(WHOLE_SIDE_PX);
    resize(&square, side, side, ResizeFilter::Lanczos)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: u32, height: u32, value: impl FnMut(u32) -> u8) -> RgbImage {
        RgbImage::from_rgb(width, height, (0..width * height * 3).map(value).collect()).unwrap()
    }

    #[test]
    fn noise_is_sent_as_jpeg_and_all_else_without_loss() {
        let mut state = 1_u32;
        let noise = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let (noisy, plain) = (picture(256, 256, noise), picture(256, 256, |at| (at / 768) as u8));
        assert_eq!((Codec::of(&noisy).unwrap(), Codec::of(&plain).unwrap()), (Codec::Jpeg, Codec::Png));
        assert_eq!(Codec::Jpeg.encode(&noisy).unwrap()[..2], [0xff, 0xd8]);
        assert_eq!(Codec::Png.encode(&plain).unwrap()[1..4], *b"PNG");
    }

    #[test]
    fn what_leaves_is_a_square_and_never_enlarged() {
        let sides = |width, height| {
            let picture = captured(&picture(width, height, |at| at as u8));
            (picture.width(), picture.height())
        };
        assert_eq!([sides(640, 480), sides(100, 300), sides(256, 256)], [(256, 256), (100, 100), (256, 256)]);
    }
}
