//! Lists that may not be longer than makes sense, whatever a message announces.
//!
//! An element can be a byte on the wire and many in memory: a message of 16 MiB that is all empty lists would take 400 MB. So
//! these lists end with an error at a length that no honest message comes near; what a server really takes, its
//! [`Limits`](crate::Limits) say.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};

/// Most pictures, turns and modalities of one message.
pub(crate) const MEDIA: usize = 1_024;
/// Most tokens of one message.
pub(crate) const TOKENS: usize = 65_536;

/// Reads a list of at most `MOST` elements.
pub(crate) fn at_most<'de, const MOST: usize, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_seq(AtMost::<MOST, T>(PhantomData))
}

struct AtMost<const MOST: usize, T>(PhantomData<T>);

impl<'de, const MOST: usize, T: Deserialize<'de>> Visitor<'de> for AtMost<MOST, T> {
    type Value = Vec<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a list of at most {MOST} elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            if list.len() == MOST {
                return Err(A::Error::invalid_length(MOST + 1, &self));
            }
            list.push(element);
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Ask, ClientMessage, Draft, Modality, frame};

    fn draft(tokens: usize) -> ClientMessage {
        ClientMessage::Draft(Draft {
            request_id: 1,
            revision: 0,
            start: 0,
            tokens: vec![1; tokens],
            distributions: vec![Vec::new(); tokens],
            is_last: false,
        })
    }

    #[test]
    fn lists_end_where_no_honest_message_comes() {
        let decodes = |message: &ClientMessage| {
            frame::decode::<ClientMessage>(&frame::encode(message).unwrap()).is_ok()
        };
        assert!(decodes(&draft(super::TOKENS)));
        assert!(!decodes(&draft(super::TOKENS + 1)));
        let pending = |count: usize| {
            ClientMessage::Ask(Ask { pending: vec![Modality::Vision; count], ..Ask::new(1, "", 1) })
        };
        assert!(decodes(&pending(super::MEDIA)));
        assert!(!decodes(&pending(super::MEDIA + 1)));
    }
}
