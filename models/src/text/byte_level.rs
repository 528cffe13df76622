//! Tokens back to text: GPT-2's byte alphabet, and UTF-8 that arrives in pieces.

/// The byte that a character of a byte-level vocabulary stands for.
///
/// Printable bytes of Latin-1 stand for themselves; the other 68 are the characters from U+0100 on, in order.
pub(super) fn byte_of(character: char) -> Option<u8> {
    let code = u32::from(character);
    match code {
        0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => Some(code as u8),
        0x100..=0x120 => Some((code - 0x100) as u8),
        0x121..=0x142 => Some((code - 0x121) as u8 + 0x7F),
        0x143 => Some(0xAD),
        _ => None,
    }
}

/// Turns tokens into text one by one; what was handed out never changes.
///
/// A character may span tokens, so bytes wait here until they are complete. Cheap to clone, so that drafts
/// can be shown and taken back. Made by [`super::TextTokenizer::stream`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenStream {
    /// The start of one character: at most three bytes.
    pending: Vec<u8>,
}

impl TokenStream {
    /// Takes the bytes of the next token and returns the characters that it completes.
    pub(super) fn push_bytes(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let mut text = String::new();
        let mut rest = self.pending.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    // Valid up to here, so nothing is replaced.
                    text.push_str(&String::from_utf8_lossy(valid));
                    rest = after;
                    let Some(invalid) = error.error_len() else { break };
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = &rest[invalid..];
                }
            }
        }
        self.pending = rest.to_vec();
        text
    }

    /// Ends the text: a character that was never completed shows as U+FFFD.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.pending).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_covers_every_byte_once() {
        let mut bytes: Vec<u8> = ('\0'..'\u{200}').filter_map(byte_of).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        // As GPT-2's own table: space, newline and soft hyphen.
        assert_eq!(['Ġ', 'Ċ', 'Ń', 'A'].map(byte_of), [Some(b' '), Some(b'\n'), Some(0xAD), Some(b'A')]);
    }

    #[test]
    fn characters_come_out_whole() {
        let text = "naïve 🦀 日本\u{10FFFF}";
        for size in 1..6 {
            let mut stream = TokenStream::default();
            let pieces: String = text.as_bytes().chunks(size).map(|bytes| stream.push_bytes(bytes)).collect();
            assert_eq!(pieces + &stream.finish(), text, "{size} bytes at a time");
        }
    }

    #[test]
    fn broken_bytes_read_as_in_one_piece() {
        let broken = [b'a', 0xF0, 0x9F, b'b', 0xFF, 0xE2, 0x82, 0xC3, 0xA9, 0xE2, 0x82];
        for size in 1..=broken.len() {
            let mut stream = TokenStream::default();
            let pieces: String = broken.chunks(size).map(|bytes| stream.push_bytes(bytes)).collect();
            assert_eq!(pieces + &stream.finish(), String::from_utf8_lossy(&broken), "{size} bytes at a time");
        }
    }
}
