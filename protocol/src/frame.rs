//! Frames: a message as the bytes of one binary WebSocket message.
//!
//! | bytes | meaning |
//! |---|---|
//! | 0..4 | `MSAO` |
//! | 4 | [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION) |
//! | 5..8 | zero |
//! | 8..12 | payload length, little-endian `u32` |
//! | 12.. | payload, postcard |
//!
//! The length repeats what the WebSocket knows, so that a proxy that splits or joins messages is found out.

use serde::{Serialize, de::DeserializeOwned};

use crate::{FrameError, PROTOCOL_VERSION};

const MAGIC: [u8; 4] = *b"MSAO";
/// Bytes before the payload.
pub const HEADER_BYTES: usize = 12;

/// Encodes a message.
///
/// # Errors
/// [`FrameError::Payload`] if serde fails, which none of this crate's own types does.
///
/// # Panics
/// If the payload exceeds 4 GiB.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[4] = PROTOCOL_VERSION;
    let mut bytes = postcard::to_extend(message, bytes)?;
    let length = u32::try_from(bytes.len() - HEADER_BYTES).expect("a message is far below 4 GiB");
    bytes[8..HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
    Ok(bytes)
}

/// Decodes a message. Memory used is bounded by the length of `bytes`.
///
/// # Errors
/// Any [`FrameError`]; the caller's state is untouched.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FrameError> {
    if bytes.len() < HEADER_BYTES {
        return Err(FrameError::Truncated { expected: HEADER_BYTES, actual: bytes.len() });
    }
    let (header, payload) = bytes.split_at(HEADER_BYTES);
    if header[..4] != MAGIC {
        return Err(FrameError::BadMagic);
    }
    if header[4] != PROTOCOL_VERSION {
        return Err(FrameError::UnsupportedVersion(header[4]));
    }
    let length = u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize;
    let (expected, actual) = (HEADER_BYTES + length, bytes.len());
    match payload.len().cmp(&length) {
        std::cmp::Ordering::Less => Err(FrameError::Truncated { expected, actual }),
        std::cmp::Ordering::Greater => Err(FrameError::TrailingBytes { expected, actual }),
        std::cmp::Ordering::Equal => Ok(postcard::from_bytes(payload)?),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Ask, AudioInput, ClientMessage, Clip, ErrorCode, ErrorReport, ImageInput, KeepMask, Media, MediaKind,
        ServerMessage, Speculation, TiledImage, Turn,
    };

    fn ask(question: String, bytes: Vec<u8>) -> ClientMessage {
        ClientMessage::Ask(Ask {
            request_id: 7,
            images: vec![
                ImageInput::Whole(Media { kind: MediaKind::Png, bytes: bytes.clone() }),
                ImageInput::Tiles(TiledImage {
                    rows: 2,
                    columns: 3,
                    mask: KeepMask::new(&[true, false, true, false, true, true]),
                    picture: Media { kind: MediaKind::Jpeg, bytes: bytes.clone() },
                    whole: Media { kind: MediaKind::Png, bytes: bytes.clone() },
                }),
            ],
            clip: Some(Clip { duration_ms: 2_000, times_ms: vec![1_000] }),
            audio: Some(AudioInput::Whole(Media { kind: MediaKind::Wav, bytes })),
            history: vec![Turn {
                images: vec![],
                clip: None,
                audio: None,
                question: question.clone(),
                answer: question.chars().rev().collect(),
            }],
            question,
            continues: None,
            pending: vec![],
            max_new_tokens: 64,
            sampling: None,
            speculation: Speculation::None,
        })
    }

    #[test]
    fn every_cut_of_a_frame_is_refused() {
        let bytes = encode(&ask("what color is the star?".into(), vec![1, 2, 3])).unwrap();
        for end in 0..bytes.len() {
            assert!(
                matches!(decode::<ClientMessage>(&bytes[..end]), Err(FrameError::Truncated { .. })),
                "cut at {end}"
            );
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(matches!(decode::<ClientMessage>(&longer), Err(FrameError::TrailingBytes { .. })));
    }

    #[test]
    fn another_version_is_named() {
        let mut bytes = encode(&ClientMessage::Ping { nonce: 1 }).unwrap();
        bytes[4] = 9;
        let error = decode::<ClientMessage>(&bytes).unwrap_err();
        assert_eq!(error, FrameError::UnsupportedVersion(9));
        assert_eq!(error.code(), ErrorCode::UnsupportedVersion);
    }

    #[test]
    fn a_payload_that_announces_more_than_it_holds_allocates_nothing_of_it() {
        // postcard: variant `Hello`, then a string of 2^31 bytes of which one is there.
        let mut bytes = encode(&ClientMessage::Ping { nonce: 0 }).unwrap();
        bytes.truncate(HEADER_BYTES);
        bytes.extend([0, 0x80, 0x80, 0x80, 0x80, 0x08, b'x']);
        let length = (bytes.len() - HEADER_BYTES) as u32;
        bytes[8..12].copy_from_slice(&length.to_le_bytes());
        assert!(matches!(decode::<ClientMessage>(&bytes), Err(FrameError::Payload(_))));
    }

    proptest! {
        #[test]
        fn client_messages_round_trip(question in ".*", media in proptest::collection::vec(any::<u8>(), 0..512)) {
            let message = ask(question, media);
            prop_assert_eq!(decode::<ClientMessage>(&encode(&message).unwrap()).unwrap(), message);
        }

        #[test]
        fn error_reports_round_trip(request_id in any::<Option<u32>>(), text in ".*", retry in any::<Option<u32>>()) {
            let message = ServerMessage::Error(ErrorReport {
                request_id,
                code: ErrorCode::Busy,
                message: text,
                retry_after_ms: retry,
            });
            prop_assert_eq!(decode::<ServerMessage>(&encode(&message).unwrap()).unwrap(), message);
        }

        #[test]
        fn any_bytes_decode_or_fail_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = decode::<ClientMessage>(&bytes);
            let mut framed = encode(&ClientMessage::Ping { nonce: 0 }).unwrap();
            framed.truncate(HEADER_BYTES);
            framed[8..12].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
            framed.extend(bytes);
            let _ = decode::<ClientMessage>(&framed);
            let _ = decode::<ServerMessage>(&framed);
        }
    }
}
