//! What can be wrong with an image or a recording that somebody hands in.

/// A refused image or recording; the message tells a person what to do about it.
///
/// Every variant comes from outside data and is raised before anything expensive happens to it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// Width or height is zero.
    #[error("the image has no pixels ({width}x{height}): take or choose another picture")]
    EmptyImage {
        /// Declared width in pixels.
        width: u32,
        /// Declared height in pixels.
        height: u32,
    },
    /// The pixel buffer does not fit the declared size.
    #[error("a {width}x{height} image needs {expected_bytes} bytes of pixels but has {actual_bytes}")]
    PixelBufferLength {
        /// Declared width in pixels.
        width: u32,
        /// Declared height in pixels.
        height: u32,
        /// Bytes that the declared size needs.
        expected_bytes: u64,
        /// Bytes given.
        actual_bytes: u64,
    },
    /// The picture has more pixels, or a longer side, than the budget allows.
    #[error(
        "the image is {width}x{height}; at most {max_side} pixels a side and {max_pixels} in all are accepted: scale it down"
    )]
    ImageTooLarge {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Longest side accepted.
        max_side: u32,
        /// Most pixels accepted.
        max_pixels: u64,
    },
    /// The file is longer than the budget allows, whatever is in it.
    #[error("the file has {bytes} bytes; at most {max_bytes} are accepted: shorten or compress it")]
    FileTooLarge {
        /// Length of the file.
        bytes: u64,
        /// Longest file accepted.
        max_bytes: u64,
    },
    /// The bytes are no image in a format that we read.
    #[error("this is not an image that can be read here: use PNG, JPEG or WebP")]
    NotAnImage,
    /// The image ends before its last pixel.
    #[error("the image file is cut off: send it again")]
    TruncatedImage,
    /// The file holds several pictures, of which a model would see one.
    #[error(
        "the image is an animation of {frames} pictures: send the ones that matter, each as an image of its own"
    )]
    AnimatedImage {
        /// Pictures that the file announces.
        frames: u32,
    },
    /// The image is of a known format but its contents are invalid.
    #[error("the image file is damaged ({detail}): save it again as PNG or JPEG")]
    DamagedImage {
        /// The decoder's own words.
        detail: String,
    },
    /// There is no sample at all.
    #[error("the recording is empty: record again")]
    EmptyAudio,
    /// Nothing but silence was recorded.
    #[error("the recording is silent (peak {peak_dbfs:.0} dBFS): check that the microphone is on")]
    SilentAudio {
        /// Highest level in the recording, relative to full scale.
        peak_dbfs: f32,
    },
    /// The recording lasts longer than the budget allows.
    #[error("the recording lasts {seconds:.1} s; at most {max_seconds} s are accepted: cut it")]
    AudioTooLong {
        /// Length of the recording.
        seconds: f64,
        /// Longest recording accepted.
        max_seconds: f64,
    },
    /// The sampling rate is outside of what microphones and files use.
    #[error("a sampling rate of {rate_hz} Hz is not supported: use {min_hz} to {max_hz} Hz")]
    UnsupportedSampleRate {
        /// Declared rate.
        rate_hz: u32,
        /// Lowest accepted rate.
        min_hz: u32,
        /// Highest accepted rate.
        max_hz: u32,
    },
    /// A number of channels that cannot be mixed down.
    #[error(
        "{channels} audio channels do not fit {samples} samples: use 1 to {max_channels} interleaved channels"
    )]
    ChannelLayout {
        /// Declared channels.
        channels: usize,
        /// Interleaved samples given.
        samples: usize,
        /// Most channels accepted.
        max_channels: usize,
    },
    /// A sample is NaN or infinite.
    #[error("sample {index} of the recording is not a finite number")]
    NonFiniteSample {
        /// Position of the first such sample.
        index: usize,
    },
    /// The bytes are no WAV file.
    #[error("this is not a WAV file: use uncompressed PCM WAV")]
    NotWav,
    /// The WAV file ends before its last sample.
    #[error("the WAV file is cut off: send it again")]
    TruncatedWav,
    /// A WAV file with an encoding other than integer or float PCM.
    #[error("this kind of WAV file is not supported ({detail}): use 16-bit PCM")]
    UnsupportedWav {
        /// What the header asks for.
        detail: String,
    },
}
