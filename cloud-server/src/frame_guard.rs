//! Refuses a WebSocket frame by its header, before its payload is buffered.
//!
//! actix's own decoder holds a frame against the size limit only once all of it has arrived, so a client that
//! announces gigabytes could make it collect them. This stream sits in front of that decoder, follows the
//! frame headers as they pass (RFC 6455, section 5.2) and ends with an error at the first one that announces
//! too much.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::web::Bytes;
use futures_util::Stream;

/// What a [`FrameGuard`] saw, for the session that owns it.
#[derive(Clone)]
pub(crate) struct Observed {
    payload: Rc<RefCell<Payload>>,
    last_byte: Rc<Cell<Instant>>,
    refused: Rc<Cell<Option<u64>>>,
}

impl Observed {
    /// When the last byte came in. A slow upload is alive, though no frame is complete for minutes.
    pub(crate) fn last_byte(&self) -> Instant {
        self.last_byte.get()
    }

    /// The payload length that was announced and refused.
    pub(crate) fn refused(&self) -> Option<u64> {
        self.refused.get()
    }

    /// Reads the next bytes past the guard, for one who throws them away; `None` when there are no more.
    pub(crate) async fn skip(&self) -> Option<usize> {
        let next =
            std::future::poll_fn(|context| Pin::new(&mut *self.payload.borrow_mut()).poll_next(context));
        next.await?.ok().map(|bytes| bytes.len())
    }
}

/// Passes bytes on unchanged until a frame announces more than `max_payload`.
pub(crate) struct FrameGuard {
    observed: Observed,
    max_payload: u64,
    header: HeaderTracker,
}

impl FrameGuard {
    pub(crate) fn new(payload: Payload, max_payload: u64) -> (Self, Observed) {
        let observed = Observed {
            payload: Rc::new(RefCell::new(payload)),
            last_byte: Rc::new(Cell::new(Instant::now())),
            refused: Rc::new(Cell::new(None)),
        };
        (Self { observed: observed.clone(), max_payload, header: HeaderTracker::default() }, observed)
    }
}

impl Stream for FrameGuard {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.observed.refused().is_some() {
            return Poll::Ready(None);
        }
        let next = ready!(Pin::new(&mut *this.observed.payload.borrow_mut()).poll_next(context));
        if let Some(Ok(bytes)) = &next {
            this.observed.last_byte.set(Instant::now());
            if let Err(announced) = this.header.follow(bytes, this.max_payload) {
                this.observed.refused.set(Some(announced));
                return Poll::Ready(Some(Err(PayloadError::Overflow)));
            }
        }
        Poll::Ready(next)
    }
}

/// Where in which frame the stream is.
#[derive(Debug, Default)]
struct HeaderTracker {
    /// The header so far: two bytes, then 0, 2 or 8 of extended length.
    header: [u8; 10],
    header_bytes: usize,
    /// Bytes of mask and payload still to come.
    rest: u64,
}

impl HeaderTracker {
    /// Follows a piece of the stream; fails with the length that exceeds `max_payload`.
    fn follow(&mut self, mut bytes: &[u8], max_payload: u64) -> Result<(), u64> {
        while let Some((&first, after)) = bytes.split_first() {
            if self.rest > 0 {
                let step = usize::try_from(self.rest).unwrap_or(usize::MAX).min(bytes.len());
                self.rest -= step as u64;
                bytes = &bytes[step..];
                continue;
            }
            self.header[self.header_bytes] = first;
            self.header_bytes += 1;
            bytes = after;
            let Some(length) = self.payload_length() else { continue };
            if length > max_payload {
                return Err(length);
            }
            let mask_bytes = if self.header[1] & 0x80 == 0 { 0 } else { 4 };
            self.rest = length + mask_bytes;
            self.header_bytes = 0;
        }
        Ok(())
    }

    /// The announced length, once its bytes are there.
    fn payload_length(&self) -> Option<u64> {
        let extended = |count: usize| {
            let bytes = self.header.get(2..2 + count).filter(|_| self.header_bytes == 2 + count)?;
            Some(bytes.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)))
        };
        match (self.header_bytes, self.header[1] & 0x7F) {
            (0 | 1, _) => None,
            (_, 126) => extended(2),
            (_, 127) => extended(8),
            (_, short) => Some(u64::from(short)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut bytes = vec![0x82];
        match length {
            0..126 => bytes.push(mask | length as u8),
            126..65_536 => {
                bytes.push(mask | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        // Payload bytes that look like headers of huge frames.
        bytes.extend(vec![0xFF; length + if masked { 4 } else { 0 }]);
        bytes
    }

    #[test]
    fn frames_within_the_limit_pass_however_they_are_cut() {
        let lengths = [0, 1, 125, 126, 65_535, 65_536, 70_000];
        let stream: Vec<u8> = lengths.iter().flat_map(|&length| frame(length, length % 2 == 0)).collect();
        for piece in [1, 2, 3, 7, 4_096, stream.len()] {
            let mut tracker = HeaderTracker::default();
            for bytes in stream.chunks(piece) {
                assert_eq!(tracker.follow(bytes, 70_000), Ok(()), "pieces of {piece}");
            }
            assert_eq!((tracker.header_bytes, tracker.rest), (0, 0), "pieces of {piece}");
        }
    }

    #[test]
    fn a_header_that_announces_too_much_is_refused_alone() {
        let mut stream = frame(10, true);
        stream.extend([0x82, 0xFF]);
        stream.extend((1_u64 << 40).to_be_bytes());
        for piece in [1, 5, stream.len()] {
            let mut tracker = HeaderTracker::default();
            let refused = stream.chunks(piece).find_map(|bytes| tracker.follow(bytes, 1_000).err());
            assert_eq!(refused, Some(1 << 40), "pieces of {piece}");
        }
        assert_eq!(HeaderTracker::default().follow(&frame(126, true)[..4], 125), Err(126));
    }
}
