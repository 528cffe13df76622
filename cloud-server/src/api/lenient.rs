//! JSON from strangers: lists of bounded length, and fields of which only presence matters.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A list of at most `MOST` entries; a longer one is refused at the first entry too many, so that small entries of a
/// large body cannot fill memory.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bounded<T, const MOST: usize>(pub(super) Vec<T>);

impl<T, const MOST: usize> Default for Bounded<T, MOST> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

struct BoundedVisitor<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for BoundedVisitor<T, MOST> {
    type Value = Bounded<T, MOST>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a list of at most {MOST} entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = list.next_element()? {
            if entries.len() == MOST {
                return Err(A::Error::custom(format!("more than {MOST} entries: send fewer")));
            }
            entries.push(entry);
        }
        Ok(Bounded(entries))
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Bounded<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(BoundedVisitor(PhantomData))
    }
}

/// Text, or a list of something: the two forms of a message's content and of stop sequences.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TextOr<T> {
    /// Plain text.
    Text(String),
    /// The list.
    List(T),
}

struct TextOrVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for TextOrVisitor<T> {
    type Value = TextOr<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string or a list")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(TextOr::Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Self::Value, E> {
        Ok(TextOr::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        T::deserialize(serde::de::value::SeqAccessDeserializer::new(list)).map(TextOr::List)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for TextOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrVisitor(PhantomData))
    }
}

/// Whether a field asks for anything: null, `false`, 0 and empty lists and objects do not. Its content is skipped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Asked(pub(super) bool);

struct AskedVisitor;

impl<'de> Visitor<'de> for AskedVisitor {
    type Value = Asked;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("anything")
    }

    fn visit_unit<E: Error>(self) -> Result<Asked, E> {
        Ok(Asked(false))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Asked, E> {
        Ok(Asked(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Asked, E> {
        Ok(Asked(value != 0))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Asked, E> {
        Ok(Asked(value != 0))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Asked, E> {
        Ok(Asked(value != 0.0))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Asked, E> {
        Ok(Asked(!value.is_empty()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Asked, A::Error> {
        let mut asked = false;
        while list.next_element::<IgnoredAny>()?.is_some() {
            asked = true;
        }
        Ok(Asked(asked))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Asked, A::Error> {
        let mut asked = false;
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            asked = true;
        }
        Ok(Asked(asked))
    }
}

impl<'de> Deserialize<'de> for Asked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AskedVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_bounded_and_emptiness_asks_for_nothing() {
        type Two = Bounded<u8, 2>;
        assert_eq!(serde_json::from_str::<Two>("[1,2]").unwrap().0, [1, 2]);
        assert!(serde_json::from_str::<Two>("[1,2,3]").unwrap_err().to_string().contains("more than 2"));
        for (json, asks) in [
            ("null", false),
            ("0", false),
            ("0.0", false),
            ("[]", false),
            ("{}", false),
            ("false", false),
            ("0.5", true),
            ("[{\"a\": [1]}]", true),
            ("{\"50256\": -100}", true),
            ("\"auto\"", true),
        ] {
            assert_eq!(serde_json::from_str::<Asked>(json).unwrap().0, asks, "{json}");
        }
    }

    #[test]
    fn content_is_text_or_a_list() {
        type Content = TextOr<Bounded<u8, 2>>;
        assert_eq!(serde_json::from_str::<Content>("\"hi\"").unwrap(), TextOr::Text("hi".into()));
        assert_eq!(serde_json::from_str::<Content>("[1]").unwrap(), TextOr::List(Bounded(vec![1])));
        assert!(serde_json::from_str::<Content>("[1,2,3]").is_err());
        let error = serde_json::from_str::<Content>("7").unwrap_err().to_string();
        assert!(error.contains("a string or a list"), "{error}");
    }
}
