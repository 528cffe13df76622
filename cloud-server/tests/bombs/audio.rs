//! Recordings whose headers lie, or that are much longer than they look.

use msao_protocol::{Ask, AudioInput, ErrorCode, Media, MediaKind};

use crate::support::ask;
use crate::{Bomb, Fate, bomb};

pub(crate) fn all() -> Vec<Bomb> {
    use ErrorCode::{AudioTooLong, NotAudio, TooLarge, Truncated};
    use Fate::{Ended, Refused};
    let good = Header::default();
    let tone = [100_u8, 30].repeat(4_000);
    let floats = |sample: f32| (0..8_000).flat_map(|_| sample.to_le_bytes()).collect::<Vec<_>>();
    let float = Header { format: 3, bits: 32, ..good };
    let odd = |at: usize, chunk: &[u8]| {
        let mut file = good.file(&tone);
        file.splice(at..at, chunk.iter().copied());
        file
    };
    vec![
        bomb("an hour of silence in 8 MB of Ogg", with(ogg(8_000_000)), Refused(NotAudio)),
        bomb("an hour of silence in 25 MB of Ogg", with(ogg(25_000_000)), Ended(TooLarge)),
        bomb("an hour of WAV", with(good.file(&vec![128; 3_600 * 4_000])), Refused(TooLarge)),
        bomb(
            "an hour that is promised",
            with(Header { data_bytes: Some(3_600 * 8_000), ..good }.file(&tone)),
            Refused(AudioTooLong),
        ),
        bomb(
            "4 GB that are promised",
            with(Header { data_bytes: Some(u32::MAX), ..good }.file(&tone)),
            Refused(AudioTooLong),
        ),
        bomb("2 s of 8 channels at 384 kHz that are promised", with(promised_channels()), Refused(Truncated)),
        bomb("0 Hz", with(Header { rate_hz: 0, ..good }.file(&tone)), Refused(NotAudio)),
        bomb("4 GHz", with(Header { rate_hz: 4_000_000_000, ..good }.file(&tone)), Refused(NotAudio)),
        bomb(
            "65535 channels",
            with(Header { channels: 65_535, block: Some(65_535), ..good }.file(&[1; 65_535 * 4])),
            Refused(NotAudio),
        ),
        bomb(
            "0 channels",
            with(Header { channels: 0, block: Some(0), ..good }.file(&tone)),
            Refused(NotAudio),
        ),
        bomb("0 bits a sample", with(Header { bits: 0, ..good }.file(&tone)), Refused(NotAudio)),
        bomb("a format chunk of 4 GB", with(with_format_bytes(u32::MAX)), Refused(NotAudio)),
        bomb("a list of 4 GB before the sound", with(odd(12, b"LIST\xFF\xFF\xFF\xFF")), Refused(Truncated)),
        bomb("a million empty chunks", with(odd(36, &b"junk\0\0\0\0".repeat(900_000))), Fate::Harmless),
        bomb("samples that are no numbers", with(float.file(&floats(f32::NAN))), Refused(NotAudio)),
        bomb("samples without end", with(float.file(&floats(f32::NEG_INFINITY))), Refused(NotAudio)),
        bomb("samples of 1e38", with(float.file(&floats(1e38))), Refused(NotAudio)),
    ]
}

fn with(bytes: Vec<u8>) -> Ask {
    Ask { audio: Some(AudioInput::Whole(Media { kind: MediaKind::Wav, bytes })), ..ask(1, "what is this?") }
}

pub(crate) fn ogg(bytes: usize) -> Vec<u8> {
    let mut file = b"OggS\0\x02".to_vec();
    file.resize(bytes, 0);
    file
}

fn promised_channels() -> Vec<u8> {
    let header = Header {
        rate_hz: 384_000,
        channels: 8,
        block: Some(8),
        data_bytes: Some(2 * 8 * 384_000),
        ..Header::default()
    };
    header.file(&[128; 800])
}

fn with_format_bytes(bytes: u32) -> Vec<u8> {
    let mut file = Header::default().file(&[128; 800]);
    file[16..20].copy_from_slice(&bytes.to_le_bytes());
    file
}

/// What a WAV file says about itself: 8-bit mono at 8 kHz unless changed.
#[derive(Clone, Copy)]
struct Header {
    format: u16,
    channels: u16,
    rate_hz: u32,
    bits: u16,
    /// Bytes of one sample of all channels; computed unless told.
    block: Option<u16>,
    /// Bytes of sound; those there are unless told.
    data_bytes: Option<u32>,
}

impl Default for Header {
    fn default() -> Self {
        Self { format: 1, channels: 1, rate_hz: 8_000, bits: 8, block: None, data_bytes: None }
    }
}

impl Header {
    fn file(self, sound: &[u8]) -> Vec<u8> {
        let Self { format, channels, rate_hz, bits, block, data_bytes } = self;
        let block = block.unwrap_or(channels * (bits / 8));
        let mut file = b"RIFF".to_vec();
        file.extend((36 + sound.len() as u32).to_le_bytes());
        file.extend(b"WAVEfmt \x10\0\0\0");
        file.extend(format.to_le_bytes());
        file.extend(channels.to_le_bytes());
        file.extend(rate_hz.to_le_bytes());
        file.extend(rate_hz.wrapping_mul(block.into()).to_le_bytes());
        file.extend(block.to_le_bytes());
        file.extend(bits.to_le_bytes());
        file.extend(b"data");
        file.extend(data_bytes.unwrap_or(sound.len() as u32).to_le_bytes());
        file.extend(sound);
        file
    }
}
