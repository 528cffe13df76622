//! A picture in memory, as camera, canvas and file decoders deliver it.
//!
//! It knows nothing of file formats (see `decode`) and nothing of any model's input size.

use std::fmt;

use super::MediaError;

/// An RGB picture with 8 bits a channel.
#[derive(Clone, PartialEq, Eq)]
pub struct RgbImage {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

impl fmt::Debug for RgbImage {
    /// Without the pixels, which nobody wants in a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { width, height, pixels: _ } = self;
        formatter
            .debug_struct("RgbImage")
            .field("width", width)
            .field("height", height)
            .finish_non_exhaustive()
    }
}

impl RgbImage {
    /// Longest side accepted, in pixels.
    pub const MAX_SIDE: u32 = 16_384;
    /// Most pixels accepted: above every phone camera's default, 192 MB of RGB.
    pub const MAX_PIXELS: u64 = 64_000_000;

    /// Wraps row-major RGB bytes: `pixels[(y * width + x) * 3 + channel]`.
    ///
    /// # Errors
    /// When a side is zero, the picture is larger than [`Self::MAX_SIDE`] or [`Self::MAX_PIXELS`], or the
    /// buffer does not hold exactly `width * height * 3` bytes.
    pub fn from_rgb(width: u32, height: u32, pixels: Vec<u8>) -> Result<Self, MediaError> {
        check_buffer(width, height, 3, pixels.len())?;
        Ok(Self { width, height, pixels })
    }

    /// Flattens row-major RGBA bytes (straight alpha, as a canvas gives them) onto white.
    ///
    /// # Errors
    /// As [`Self::from_rgb`], for `width * height * 4` bytes.
    pub fn from_rgba(width: u32, height: u32, rgba: &[u8]) -> Result<Self, MediaError> {
        check_buffer(width, height, 4, rgba.len())?;
        let mut pixels = vec![0; rgba.len() / 4 * 3];
        let both = rgba.as_chunks::<4>().0.iter().zip(pixels.as_chunks_mut::<3>().0);
        if rgba.as_chunks::<4>().0.iter().fold(u8::MAX, |all, [.., alpha]| all & alpha) == u8::MAX {
            both.for_each(|(&[red, green, blue, _], pixel)| *pixel = [red, green, blue]);
        } else {
            both.for_each(|(&[red, green, blue, alpha], pixel)| {
                *pixel = [red, green, blue].map(|channel| over_white(channel, alpha));
            });
        }
        Ok(Self { width, height, pixels })
    }

    /// Width in pixels, at least 1.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels, at least 1.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The bytes, `pixels[(y * width + x) * 3 + channel]`.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The bytes, taken out without a copy.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// The largest square around the centre; an odd remainder leaves the extra pixel at the right or bottom.
    pub fn center_square(&self) -> Self {
        let side = self.width.min(self.height);
        let left = ((self.width - side) / 2) as usize;
        let top = ((self.height - side) / 2) as usize;
        let (stride, row_bytes) = (self.width as usize * 3, side as usize * 3);
        let mut pixels = Vec::with_capacity(side as usize * row_bytes);
        for row in self.pixels.chunks_exact(stride).skip(top).take(side as usize) {
            pixels.extend_from_slice(&row[left * 3..left * 3 + row_bytes]);
        }
        Self { width: side, height: side, pixels }
    }

    /// For this module's siblings, whose sizes are right by construction.
    pub(super) fn from_parts(width: u32, height: u32, pixels: Vec<u8>) -> Self {
        assert_eq!(pixels.len(), width as usize * height as usize * 3, "{width}x{height} RGB");
        Self { width, height, pixels }
    }
}

/// Refuses a size that no picture here may have; `max_side` and `max_pixels` are the caller's budget.
pub(super) fn check_size(width: u32, height: u32, max_side: u32, max_pixels: u64) -> Result<(), MediaError> {
    if width == 0 || height == 0 {
        return Err(MediaError::EmptyImage { width, height });
    }
    if width.max(height) > max_side || u64::from(width) * u64::from(height) > max_pixels {
        return Err(MediaError::ImageTooLarge { width, height, max_side, max_pixels });
    }
    Ok(())
}

fn check_buffer(width: u32, height: u32, channels: u64, actual: usize) -> Result<(), MediaError> {
    check_size(width, height, RgbImage::MAX_SIDE, RgbImage::MAX_PIXELS)?;
    let expected_bytes = u64::from(width) * u64::from(height) * channels;
    let actual_bytes = actual as u64;
    if expected_bytes != actual_bytes {
        return Err(MediaError::PixelBufferLength { width, height, expected_bytes, actual_bytes });
    }
    Ok(())
}

fn over_white(channel: u8, alpha: u8) -> u8 {
    let (channel, alpha) = (u32::from(channel), u32::from(alpha));
    // Rounded (channel * alpha + 255 * (255 - alpha)) / 255, which never exceeds 255.
    ((channel * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_does_not_fit_is_refused() {
        assert!(matches!(RgbImage::from_rgb(0, 4, vec![]), Err(MediaError::EmptyImage { .. })));
        assert_eq!(
            RgbImage::from_rgb(2, 2, vec![0; 11]),
            Err(MediaError::PixelBufferLength { width: 2, height: 2, expected_bytes: 12, actual_bytes: 11 })
        );
        let huge = RgbImage::from_rgb(u32::MAX, u32::MAX, vec![]);
        assert!(matches!(huge, Err(MediaError::ImageTooLarge { .. })));
        assert!(matches!(RgbImage::from_rgba(9_000, 9_000, &[]), Err(MediaError::ImageTooLarge { .. })));
    }

    #[test]
    fn alpha_shows_white_behind() {
        let image = RgbImage::from_rgba(3, 1, &[10, 20, 30, 255, 10, 20, 30, 0, 0, 255, 100, 128]);
        let image = image.expect("a valid image");
        assert_eq!(image.pixels(), [10, 20, 30, 255, 255, 255, 127, 255, 177]);
    }

    #[test]
    fn the_square_is_cut_from_the_centre() {
        // Each pixel carries its own coordinates.
        let pixels = (0..3).flat_map(|y| (0..6).flat_map(move |x| [x, y, 0])).collect();
        let square = RgbImage::from_rgb(6, 3, pixels).expect("a valid image").center_square();
        assert_eq!((square.width(), square.height()), (3, 3));
        assert_eq!(square.pixels()[..3], [1, 0, 0]);
        assert_eq!(square.pixels()[24..], [3, 2, 0]);
    }
}
