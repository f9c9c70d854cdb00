//! Platforms: what `module.json` calls them, which may be any word, and what an image says it runs on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The names that iotedgedev's templates use, and their close relatives.
const KNOWN: [(&str, &str); 14] = [
    ("amd64", "linux/amd64"),
    ("x64", "linux/amd64"),
    ("x86_64", "linux/amd64"),
    ("arm64v8", "linux/arm64"),
    ("arm64", "linux/arm64"),
    ("aarch64", "linux/arm64"),
    ("arm32v7", "linux/arm/v7"),
    ("armhf", "linux/arm/v7"),
    ("arm32v6", "linux/arm/v6"),
    ("arm32v5", "linux/arm/v5"),
    ("i386", "linux/386"),
    ("windows-amd64", "windows/amd64"),
    ("windows-arm32v7", "windows/arm/v7"),
    ("windows-arm64", "windows/arm64"),
];

/// What an image runs on, as the image specification writes it: `linux/arm/v7`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// The processor, in Go's words: `amd64`, `arm64`, `arm`.
    pub architecture: String,
    /// The operating system: `linux`.
    pub os: String,
    /// What kind of the processor: `v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// A text that names no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no platform; one is written like linux/arm64 or linux/arm/v7")]
pub struct InvalidPlatform(String);

impl Platform {
    /// What a name of `module.json` means, where that is known. `.debug` at its end changes nothing.
    pub fn of_name(name: &str) -> Option<Self> {
        let bare = name.strip_suffix(".debug").unwrap_or(name);
        let known = KNOWN.iter().find(|(known, _)| *known == bare).map(|(_, platform)| *platform);
        known.unwrap_or(bare).parse().ok()
    }

    /// Whether an image for `other` runs where this is asked for. An image that leaves its variant out has the usual one.
    pub fn accepts(&self, other: &Self) -> bool {
        self.os == other.os && self.architecture == other.architecture && self.usual_variant() == other.usual_variant()
    }

    fn usual_variant(&self) -> Option<&str> {
        match (self.architecture.as_str(), self.variant.as_deref()) {
            ("arm64", Some("v8")) | ("amd64", Some("v1")) => None,
            ("arm", None) => Some("v7"),
            (_, variant) => variant,
        }
    }

    /// The platform of this machine.
    pub fn of_machine() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "aarch64" => ("arm64", None),
            "arm" => ("arm", Some("v7")),
            "x86" => ("386", None),
            other => (other, None),
        };
        Self { architecture: architecture.to_owned(), os: "linux".to_owned(), variant: variant.map(str::to_owned) }
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, InvalidPlatform> {
        let is_word =
            |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let parts: Vec<&str> = text.split('/').filter(is_word).collect();
        let variant = match (parts.as_slice(), text.split('/').count()) {
            ([_, _], 2) => None,
            ([_, _, variant], 3) => Some((*variant).to_owned()),
            _ => return Err(InvalidPlatform(text.to_owned())),
        };
        Ok(Self { architecture: parts[1].to_owned(), os: parts[0].to_owned(), variant })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_are_known_have_a_platform_and_others_have_none() {
        let cases = [
            ("amd64", Some("linux/amd64")),
            ("amd64.debug", Some("linux/amd64")),
            ("arm32v7", Some("linux/arm/v7")),
            ("arm64v8.debug", Some("linux/arm64")),
            ("windows-amd64", Some("windows/amd64")),
            ("linux/riscv64", Some("linux/riscv64")),
            ("gpuamd64", None),
            ("pi.core", None),
        ];
        for (name, platform) in cases {
            assert_eq!(Platform::of_name(name).map(|found| found.to_string()).as_deref(), platform, "{name}");
        }
    }

    #[test]
    fn a_variant_that_is_usual_may_be_left_out() {
        let accepts = |a: &str, b: &str| a.parse::<Platform>().unwrap().accepts(&b.parse().unwrap());
        assert!(accepts("linux/arm64", "linux/arm64/v8"));
        assert!(accepts("linux/arm/v7", "linux/arm"));
        assert!(!accepts("linux/arm/v7", "linux/arm/v6"));
        assert!(!accepts("linux/amd64", "windows/amd64"));
    }

    proptest! {
        #[test]
        fn what_is_a_platform_is_written_as_it_was_read(text in "[a-z0-9/]{0,16}") {
            if let Ok(platform) = text.parse::<Platform>() {
                prop_assert_eq!(platform.to_string(), text);
            }
        }
    }
}
