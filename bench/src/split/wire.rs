//! What the two halves say to each other over one TCP connection.
//!
//! A message is a frame of `msao_protocol`: magic, version, length, postcard. The length is held to a budget before
//! anything is read by it.

use std::io::{self, Read, Write};

use half::f16;
use msao_models::ModelConfig;
use msao_protocol::{
    FrameError,
    frame::{self, HEADER_BYTES},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;

/// Bytes of a frame that are no hidden values, with room.
const ENVELOPE_BYTES: usize = 64;
/// A token or a refusal.
pub(super) const DOWN_BUDGET_BYTES: usize = 4096;

/// From the edge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum FromEdge {
    /// A question begins; one before it is over.
    Prompt {
        /// Layers that the edge runs.
        layers: u16,
        /// Positions of prompt and longest answer together.
        positions: u32,
        /// Hidden values of the prompt.
        rows: Rows,
    },
    /// The last token's hidden values.
    Row(Rows),
}

/// From the cloud.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum FromCloud {
    /// What follows the last position.
    Token {
        /// The token, the end token too.
        id: u32,
        /// Microseconds that the layers and the head took.
        compute_us: u32,
    },
    /// The question cannot be answered; the connection stays.
    Refused {
        /// Why, and what to do.
        reason: String,
    },
}

/// Hidden values of some positions, position by position, as 16-bit floats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Rows(Vec<u8>);

/// What goes wrong on the connection.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum WireError {
    /// The connection broke.
    #[error("the connection between the halves broke: {0}")]
    Io(#[from] io::Error),
    /// The frame is none, or another version's.
    #[error("{0}; run both halves from the same build")]
    Frame(#[from] FrameError),
    /// A frame is larger than anything the peer has to say.
    #[error(
        "a frame of {bytes} bytes exceeds the budget of {budget}; load the same checkpoint on both sides"
    )]
    TooLarge {
        /// What its header says.
        bytes: usize,
        /// What is read at most.
        budget: usize,
    },
}

impl Rows {
    /// Rounds values to the nearest 16-bit float.
    pub(super) fn of(values: &[f32]) -> Self {
        Self(values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect())
    }

    /// The values; an odd byte at the end is left out, and shows as a cut row.
    pub(super) fn values(&self) -> Vec<f32> {
        self.0.as_chunks().0.iter().map(|&bytes| f16::from_le_bytes(bytes).to_f32()).collect()
    }
}

/// Bytes of one position's hidden values on the wire.
pub(super) fn row_bytes(config: &ModelConfig) -> usize {
    config.text_config.hidden_size * size_of::<f16>()
}

/// The largest frame that an edge has a reason to send: all positions that the target can hold.
pub(super) fn up_budget_bytes(config: &ModelConfig) -> usize {
    config.text_config.max_position_embeddings * row_bytes(config) + ENVELOPE_BYTES
}

/// Sends a message and returns its bytes.
///
/// # Errors
/// [`WireError`]
pub(super) fn send(stream: &mut impl Write, message: &impl Serialize) -> Result<u64, WireError> {
    let bytes = frame::encode(message)?;
    stream.write_all(&bytes)?;
    Ok(bytes.len() as u64)
}

/// The next message and its bytes; `None` where the peer has closed the connection between two.
///
/// # Errors
/// [`WireError`]
pub(super) fn receive<T: DeserializeOwned>(
    stream: &mut impl Read,
    budget: usize,
) -> Result<Option<(T, u64)>, WireError> {
    let mut bytes = vec![0; HEADER_BYTES];
    if stream.read(&mut bytes[..1])? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut bytes[1..])?;
    let length = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize;
    if HEADER_BYTES + length > budget {
        return Err(WireError::TooLarge { bytes: HEADER_BYTES + length, budget });
    }
    bytes.resize(HEADER_BYTES + length, 0);
    stream.read_exact(&mut bytes[HEADER_BYTES..])?;
    Ok(Some((frame::decode(&bytes)?, bytes.len() as u64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_as_sent_one_behind_the_other() {
        let messages = [
            FromEdge::Prompt { layers: 2, positions: 100, rows: Rows::of(&[1.0, -0.5, 65_504.0, 0.1]) },
            FromEdge::Row(Rows::of(&[0.25])),
        ];
        let mut wire = Vec::new();
        let sent: u64 = messages.iter().map(|message| send(&mut wire, message).unwrap()).sum();
        assert_eq!(sent, wire.len() as u64);
        let mut reader = wire.as_slice();
        for message in messages {
            assert_eq!(receive::<FromEdge>(&mut reader, 1000).unwrap().unwrap().0, message);
        }
        assert!(receive::<FromEdge>(&mut reader, 1000).unwrap().is_none());
    }

    #[test]
    fn rounding_is_that_of_sixteen_bits_and_takes_two_bytes_a_value() {
        let values = [1.0, -3.3, 1e-3, 512.3];
        let rows = Rows::of(&values);
        assert_eq!(rows.0.len(), 8);
        for (value, rounded) in values.iter().zip(rows.values()) {
            assert!((value - rounded).abs() <= value.abs() / 2048.0, "{value} became {rounded}");
        }
    }

    #[test]
    fn a_frame_beyond_the_budget_is_refused_by_its_header() {
        let mut wire = Vec::new();
        send(&mut wire, &FromEdge::Row(Rows::of(&[0.0; 400]))).unwrap();
        wire.truncate(HEADER_BYTES);
        let error = receive::<FromEdge>(&mut wire.as_slice(), 400).unwrap_err();
        assert!(matches!(error, WireError::TooLarge { budget: 400, .. }), "{error}");
    }

    #[test]
    fn cut_and_foreign_frames_are_refused() {
        let mut wire = Vec::new();
        send(&mut wire, &FromCloud::Token { id: 7, compute_us: 1 }).unwrap();
        for cut in 1..wire.len() {
            let error = receive::<FromCloud>(&mut &wire[..cut], 100).unwrap_err();
            assert!(matches!(error, WireError::Io(_)), "cut at {cut}: {error}");
        }
        wire[0] = b'X';
        assert!(matches!(receive::<FromCloud>(&mut wire.as_slice(), 100), Err(WireError::Frame(_))));
    }
}
