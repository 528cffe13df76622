//! Server-sent events, read with a budget: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.
//!
//! Only `data` matters to chat completions. Bytes come in any pieces, also within a character, a line end or an event.

/// Most bytes of one line: one piece of an answer and what is told about it.
const MAX_LINE_BYTES: usize = 1 << 20;
/// Most bytes of one stream: the longest answers there are, each token with a few hundred bytes around it.
const MAX_STREAM_BYTES: usize = 64 << 20;

/// A budget was exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum SseError {
    #[error("a line has more than {MAX_LINE_BYTES} bytes")]
    LongLine,
    #[error("the stream has more than {MAX_STREAM_BYTES} bytes")]
    LongStream,
    #[error("a line is no UTF-8")]
    NotUtf8,
}

/// Turns bytes into the data of events.
#[derive(Debug, Default)]
pub(super) struct SseReader {
    line: Vec<u8>,
    /// Data of the event that is being read.
    data: Option<String>,
    /// Whether the last byte was a carriage return, whose line feed is still to come.
    after_return: bool,
    bytes: usize,
}

impl SseReader {
    /// Takes bytes and returns the data of the events that they complete.
    ///
    /// # Errors
    /// When a budget is exceeded or a line is no text.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, SseError> {
        self.bytes += bytes.len();
        if self.bytes > MAX_STREAM_BYTES {
            return Err(SseError::LongStream);
        }
        let mut events = Vec::new();
        for &byte in bytes {
            let after_return = std::mem::replace(&mut self.after_return, byte == b'\r');
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => events.extend(self.end_line()?),
                byte if self.line.len() < MAX_LINE_BYTES => self.line.push(byte),
                _ => return Err(SseError::LongLine),
            }
        }
        Ok(events)
    }

    /// The event that the stream's end completes, if its last blank line is missing.
    ///
    /// # Errors
    /// When the last line is no text.
    pub(super) fn finish(mut self) -> Result<Option<String>, SseError> {
        if !self.line.is_empty() {
            self.end_line()?;
        }
        Ok(self.data)
    }

    /// Takes the line in; a blank one ends the event.
    fn end_line(&mut self) -> Result<Option<String>, SseError> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return Ok(self.data.take());
        }
        let line = str::from_utf8(&line).map_err(|_error| SseError::NotUtf8)?;
        if let Some(value) = line.strip_prefix("data:") {
            let value = value.strip_prefix(' ').unwrap_or(value);
            match &mut self.data {
                None => self.data = Some(value.to_owned()),
                Some(data) if data.len() + value.len() < MAX_LINE_BYTES => {
                    data.push('\n');
                    data.push_str(value);
                }
                Some(_) => return Err(SseError::LongLine),
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pieces: &[&[u8]]) -> Result<Vec<String>, SseError> {
        let mut reader = SseReader::default();
        let mut events = Vec::new();
        for piece in pieces {
            events.extend(reader.push(piece)?);
        }
        events.extend(reader.finish()?);
        Ok(events)
    }

    #[test]
    fn comments_other_fields_and_line_ends_are_as_the_standard_has_them() {
        let stream = b": ping\r\n\r\nevent: x\r\nid: 7\r\ndata: a\r\n\r\ndata:b\ndata: c\n\n\n\rdata:  d\r\rdata: [DONE]";
        assert_eq!(read(&[stream]).unwrap(), ["a", "b\nc", " d", "[DONE]"]);
    }

    #[test]
    fn lines_and_streams_have_a_budget() {
        let mut reader = SseReader::default();
        let piece = vec![b'x'; 64 << 10];
        let refused = (0..100).find_map(|_| reader.push(&piece).err());
        assert_eq!(refused, Some(SseError::LongLine));
        let mut reader = SseReader::default();
        let events = b"data: 1\n\n".repeat(7_000);
        assert_eq!((0..2_000).find_map(|_| reader.push(&events).err()), Some(SseError::LongStream));
        let mut reader = SseReader::default();
        let lines = [b"data:".as_slice(), &[b'x'; 1 << 16], b"\n"].concat();
        assert_eq!((0..100).find_map(|_| reader.push(&lines).err()), Some(SseError::LongLine));
        assert_eq!(read(&[b"data: \xff\n\n"]).unwrap_err(), SseError::NotUtf8);
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(cuts in proptest::collection::vec(0_usize..60, 0..6)) {
            let stream = "data: {\"é\": \"🙂\"}\r\n\r\n: c\ndata: 2\n\ndata: [DONE]\n\n".as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
            prop_assert_eq!(read(&pieces).unwrap(), ["{\"é\": \"🙂\"}", "2", "[DONE]"]);
        }
    }
}
