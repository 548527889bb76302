//! Through any document in search of streams, and entry by entry through those.

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Taker;
use super::value::Value;
use crate::hub::trail::book::Origin;
use crate::hub::trail::entry::LABELS;

/// Goes through any value in search of streams.
pub(super) struct Walk<'t, 'b> {
    pub(super) taker: &'t mut Taker<'b>,
    pub(super) origin: Origin,
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

/// What is no object and no array is of no interest.
macro_rules! ignored {
    ($($visit:ident: $value:ty),+) => {
        $(fn $visit<E>(self, _: $value) -> Result<(), E> { Ok(()) })+
        fn visit_unit<E>(self) -> Result<(), E> { Ok(()) }
    };
}

impl<'de> Visitor<'de> for Walk<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an answer of Loki")
    }

    ignored!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "stream" => {
                    let label = map.next_value_seed(Labels)?;
                    self.origin = self.taker.book.origin(label.as_deref());
                }
                "values" => {
                    map.next_value_seed(Values { taker: self.taker, origin: self.origin })?;
                }
                "resultType" => {
                    let kind = map.next_value::<serde_json::Value>()?;
                    self.taker.page.is_metric |= kind.as_str().is_some_and(|kind| kind != "streams");
                }
                _ => map.next_value_seed(Walk { taker: self.taker, origin: self.origin })?,
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Walk { taker: self.taker, origin: self.origin })?.is_some() {}
        Ok(())
    }
}

/// The labels of a stream, of which one is kept.
struct Labels;

impl<'de> DeserializeSeed<'de> for Labels {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Labels {
    type Value = Option<String>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the labels of a stream")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut surest: Option<(usize, String)> = None;
        while let Some(key) = map.next_key::<String>()? {
            match LABELS.iter().position(|label| *label == key) {
                Some(rank) if surest.as_ref().is_none_or(|(found, _)| rank < *found) => {
                    surest = Some((rank, map.next_value()?));
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(surest.map(|(_, value)| value))
    }
}

/// `[["TIME", "LINE", …], …]`.
struct Values<'t, 'b> {
    taker: &'t mut Taker<'b>,
    origin: Origin,
}

impl<'de> DeserializeSeed<'de> for Values<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Values<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("entries of a stream")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(value) = seq.next_element::<Value>()? {
            self.taker.take(&value, self.origin);
        }
        Ok(())
    }
}
