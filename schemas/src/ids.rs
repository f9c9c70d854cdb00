//! Identifiers, checked once where they enter.
//!
//! The character rules are the IoT Hub registry's: 1 to 128 characters, letters and digits of ASCII
//! and ``- : . + % _ # * ? ! ( ) , = @ $ '``. They never contain `/`, which separates a device from its module.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest device or module identifier, in characters.
pub const MAX_ID_LENGTH: usize = 128;

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// The text has no character.
    #[error("the identifier is empty")]
    Empty,
    /// The text is longer than [`MAX_ID_LENGTH`].
    #[error("the identifier has {0} characters, the most is {MAX_ID_LENGTH}")]
    TooLong(usize),
    /// The text has a character that no identifier may have.
    #[error("the identifier has the character {0:?}, which is not allowed")]
    Character(char),
}

fn check(text: &str) -> Result<(), InvalidId> {
    if text.is_empty() {
        return Err(InvalidId::Empty);
    }
    let length = text.chars().count();
    if length > MAX_ID_LENGTH {
        return Err(InvalidId::TooLong(length));
    }
    match text.chars().find(|c| !(c.is_ascii_alphanumeric() || "-:.+%_#*?!(),=@$'".contains(*c))) {
        Some(c) => Err(InvalidId::Character(c)),
        None => Ok(()),
    }
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text and keeps it.
            pub fn new(text: &str) -> Result<Self, InvalidId> {
                check(text)?;
                Ok(Self(text.into()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }
    };
}

identifier! {
    /// A device's identifier in the registry of its hub.
    DeviceId
}
identifier! {
    /// A module's identifier on its device, `$edgeAgent` and `$edgeHub` included.
    ModuleId
}

impl ModuleId {
    /// `$edgeAgent`, the runtime's module that runs the others.
    pub fn edge_agent() -> Self {
        Self("$edgeAgent".into())
    }

    /// `$edgeHub`, the runtime's module that others connect to.
    pub fn edge_hub() -> Self {
        Self("$edgeHub".into())
    }
}

/// Who a client is: a device, or a module on a device. Shown as `D` or `D/M`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The device.
    pub device: DeviceId,
    /// The module on it; none for the device itself.
    pub module: Option<ModuleId>,
}

impl Identity {
    /// The identity of a device.
    pub fn device(device: DeviceId) -> Self {
        Self { device, module: None }
    }

    /// The identity of a module.
    pub fn module(device: DeviceId, module: ModuleId) -> Self {
        Self { device, module: Some(module) }
    }

    /// Reads `D` or `D/M`.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        match text.split_once('/') {
            None => Ok(Self::device(DeviceId::new(text)?)),
            Some((device, module)) => Ok(Self::module(DeviceId::new(device)?, ModuleId::new(module)?)),
        }
    }

    /// Whether this is the module of that name.
    pub fn is_module(&self, name: &str) -> bool {
        self.module.as_ref().is_some_and(|module| module.as_str() == name)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.module {
            None => write!(f, "{}", self.device),
            Some(module) => write!(f, "{}/{module}", self.device),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Identity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Identity {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_read_what_they_show() {
        for text in ["edge1", "edge1/$edgeAgent", "a.b:c/filter_1"] {
            assert_eq!(Identity::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn identifiers_are_checked() {
        assert_eq!(DeviceId::new(""), Err(InvalidId::Empty));
        assert_eq!(DeviceId::new("a b"), Err(InvalidId::Character(' ')));
        assert_eq!(DeviceId::new(&"x".repeat(129)), Err(InvalidId::TooLong(129)));
        assert_eq!(Identity::parse("a/b/c"), Err(InvalidId::Character('/')));
    }
}
