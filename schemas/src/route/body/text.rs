//! Bytes of a body to text.

use std::borrow::Cow;

/// The only content type that can be looked into.
pub const JSON: &str = "application/json";

/// How the bytes of a body are text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `utf-8`
    Utf8,
    /// `utf-16`, little-endian.
    Utf16,
    /// `utf-32`, little-endian.
    Utf32,
}

impl Encoding {
    /// The encoding that a content encoding names, in any case.
    pub fn named(name: &str) -> Option<Self> {
        [("utf-8", Self::Utf8), ("utf-16", Self::Utf16), ("utf-32", Self::Utf32)]
            .into_iter()
            .find_map(|(known, encoding)| known.eq_ignore_ascii_case(name).then_some(encoding))
    }

    /// The text; what is no character becomes the replacement character.
    pub fn decode(self, bytes: &[u8]) -> Cow<'_, str> {
        match self {
            // Checking all at once is quicker than going through the text in pieces, and nearly all of it is good.
            Self::Utf8 => std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed),
            Self::Utf16 => {
                let (units, rest) = bytes.as_chunks();
                let units = units.iter().map(|unit| u16::from_le_bytes(*unit));
                let mut text: String =
                    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
                text.extend((!rest.is_empty()).then_some(char::REPLACEMENT_CHARACTER));
                Cow::Owned(text)
            }
            Self::Utf32 => {
                let (points, rest) = bytes.as_chunks();
                let mut text: String = points
                    .iter()
                    .map(|point| char::from_u32(u32::from_le_bytes(*point)).unwrap_or(char::REPLACEMENT_CHARACTER))
                    .collect();
                text.extend((!rest.is_empty()).then_some(char::REPLACEMENT_CHARACTER));
                Cow::Owned(text)
            }
        }
    }
}
