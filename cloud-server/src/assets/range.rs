//! The `Range` header (RFC 9110, section 14), single ranges of bytes.

use std::ops::Range;

/// What a `Range` header asks of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RangeRequest {
    /// Everything: there is no header, or one that a server may ignore.
    Whole,
    /// This part.
    Part(Range<u64>),
    /// A part that the file does not have.
    Unsatisfiable,
}

impl RangeRequest {
    /// Reads a header for a file of `length` bytes. Several ranges at once and other units are ignored, as
    /// the RFC allows.
    pub(super) fn parse(header: &str, length: u64) -> Self {
        let Some(spec) = header.trim().strip_prefix("bytes=").filter(|spec| !spec.contains(',')) else {
            return Self::Whole;
        };
        let Some((first, last)) = spec.trim().split_once('-') else { return Self::Whole };
        let number = |text: &str| -> Option<u64> {
            text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
        };
        let range = match (first, last) {
            ("", suffix) => match number(suffix) {
                Some(count) => length.saturating_sub(count)..length,
                None => return Self::Whole,
            },
            (first, "") => match number(first) {
                Some(first) => first..length,
                None => return Self::Whole,
            },
            (first, last) => match (number(first), number(last)) {
                (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(length),
                _ => return Self::Whole,
            },
        };
        if range.is_empty() { Self::Unsatisfiable } else { Self::Part(range) }
    }
}

#[cfg(test)]
mod tests {
    use super::RangeRequest::{self, Part, Unsatisfiable, Whole};

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        for (header, expected) in [
            ("bytes=0-3", Part(0..4)),
            ("bytes=4-", Part(4..10)),
            ("bytes=-3", Part(7..10)),
            ("bytes=-30", Part(0..10)),
            ("bytes=8-99", Part(8..10)),
            ("bytes=9-9", Part(9..10)),
            ("bytes=0-18446744073709551615", Part(0..10)),
            ("bytes=10-", Unsatisfiable),
            ("bytes=10-12", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=3-2", Whole),
            ("bytes=0-1,3-4", Whole),
            ("bytes=+1-2", Whole),
            ("bytes=a-b", Whole),
            ("bytes=99999999999999999999-", Whole),
            ("lines=0-1", Whole),
            ("bytes", Whole),
        ] {
            assert_eq!(RangeRequest::parse(header, 10), expected, "{header}");
        }
        assert_eq!(RangeRequest::parse("bytes=0-0", 0), Unsatisfiable);
    }
}
