//! Durations and sizes: numbers that need a unit.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration as StdDuration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A length of time such as `200ms`, `5s`, `1h30m` or `7d`; milliseconds are its grain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(StdDuration);

impl Duration {
    /// From milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(StdDuration::from_millis(millis))
    }

    /// In whole milliseconds.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }

    /// In whole milliseconds, as times are counted.
    #[must_use]
    pub fn as_signed_millis(self) -> i64 {
        i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX)
    }

    /// For the standard library.
    #[must_use]
    pub const fn to_std(self) -> StdDuration {
        self.0
    }

    /// Reads a duration with its unit.
    ///
    /// # Errors
    /// What is wrong and how to write it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.parse::<f64>().is_ok() {
            return Err(format!(
                "the duration `{text}` has no unit: write `{text}s` for seconds, `{text}ms` for milliseconds"
            ));
        }
        let unit: String = text.chars().filter(|c| c.is_alphabetic()).collect();
        let parsed = humantime::parse_duration(text).map_err(|_| {
            let units = ["ms", "s", "m", "h", "d"];
            let meant = crate::diagnostic::suggest::nearest(&unit, units)
                .map_or_else(String::new, |unit| format!(" (did you mean the unit `{unit}`?)"));
            format!("`{text}` is no duration{meant}: write e.g. `200ms`, `5s`, `10m`, `1h30m`, `7d`")
        })?;
        if parsed.subsec_nanos() % 1_000_000 != 0 {
            return Err(format!("`{text}` is finer than a millisecond"));
        }
        Ok(Self(parsed))
    }
}

/// Writes `1h30m`, `200ms`.
impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.as_millis();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, millis) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            if rest >= millis {
                write!(f, "{}{unit}", rest / millis)?;
                rest %= millis;
            }
        }
        Ok(())
    }
}

/// A number of bytes such as `64KiB` or `1GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u64);

impl Size {
    /// From bytes.
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// In bytes.
    #[must_use]
    pub const fn as_bytes(self) -> u64 {
        self.0
    }

    /// In bytes, for lengths in memory.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// Reads a size with its unit.
    ///
    /// # Errors
    /// What is wrong and how to write it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.parse::<f64>().is_ok() {
            return Err(format!("the size `{text}` has no unit: write `{text}B` for bytes, `{text}KiB` for kibibytes"));
        }
        text.parse::<bytesize::ByteSize>()
            .map(|size| Self(size.as_u64()))
            .map_err(|_| format!("`{text}` is no size: write e.g. `64KiB`, `10MiB`, `1GiB`"))
    }
}

/// Writes `64KiB`.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut value = self.0;
        for unit in ["B", "KiB", "MiB", "GiB"] {
            if !value.is_multiple_of(1024) || value == 0 {
                return write!(f, "{value}{unit}");
            }
            value /= 1024;
        }
        write!(f, "{value}TiB")
    }
}

macro_rules! quantity {
    ($type:ident, $name:literal, $what:literal, $pattern:literal, $examples:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl<'de> Visitor<'de> for Text {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($what)
                    }

                    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<$type, D::Error> {
                        deserializer.deserialize_str(self)
                    }

                    fn visit_str<E: Error>(self, text: &str) -> Result<$type, E> {
                        $type::parse(text).map_err(E::custom)
                    }
                }
                deserializer.deserialize_newtype_struct($name, Text)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "description": $what, "examples": $examples })
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

quantity!(
    Duration,
    "Duration",
    "a duration with its unit: 200ms, 5s, 10m, 1h30m, 7d",
    r"^\s*([0-9]+\s*(ms|msec|s|sec|seconds?|m|min|minutes?|h|hr|hours?|d|days?|w|weeks?)\s*)+$|\$\{",
    ["200ms", "5s", "10m", "1h30m"]
);
quantity!(
    Size,
    "Size",
    "a size with its unit: 64KiB, 10MiB, 1GiB",
    r"^\s*[0-9.]+\s*[kKmMgGtT]?[iI]?[bB]?\s*$|\$\{",
    ["64KiB", "10MiB", "1GiB"]
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis, shown) in
            [("200ms", 200, "200ms"), ("5s", 5_000, "5s"), ("1h30m", 5_400_000, "1h30m"), ("7d", 604_800_000, "7d")]
        {
            let duration = Duration::parse(text).unwrap();
            assert_eq!((duration.as_millis(), duration.to_string().as_str()), (millis, shown));
        }
        assert!(Duration::parse("5").is_err_and(|message| message.contains("`5s`")));
        assert!(Duration::parse("5 secnds").is_err());
        assert!(Duration::parse("1us").is_err());
    }

    #[test]
    fn sizes() {
        assert_eq!(Size::parse("64KiB").map(Size::as_bytes), Ok(65_536));
        assert_eq!(Size::parse("64KiB").map(|it| it.to_string()), Ok("64KiB".to_owned()));
        assert!(Size::parse("64").is_err_and(|message| message.contains("`64KiB`")));
        assert!(Size::parse("many").is_err());
    }
}
