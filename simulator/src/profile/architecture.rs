//! Architectures of processors, in the words of engines, platforms and kernels.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An architecture that the runtime's own images exist for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// 64 bits of Intel and AMD.
    Amd64,
    /// 64 bits of Arm.
    Arm64,
    /// 32 bits of Arm, version 7.
    Arm,
}

impl Architecture {
    /// What engines call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
            Self::Arm => "arm",
        }
    }

    /// What the kernel, and so the agent in its reported properties, calls it.
    pub fn machine(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
            Self::Arm => "armv7l",
        }
    }

    /// What `module.json` calls it.
    pub fn platform(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64v8",
            Self::Arm => "arm32v7",
        }
    }

    /// The architecture of a platform of `module.json`, or of an engine's word; none for words of other kinds.
    pub fn of_platform(word: &str) -> Option<Self> {
        match word.split('.').next().unwrap_or_default() {
            "amd64" | "x86_64" => Some(Self::Amd64),
            "arm64" | "arm64v8" | "aarch64" => Some(Self::Arm64),
            "arm" | "arm32v7" | "armv7" => Some(Self::Arm),
            _ => None,
        }
    }

    /// What the tag of an image says of it: `filter:0.0.1-arm64v8`. A tag that names no architecture is taken for one of all.
    pub fn of_image(image: &str) -> Option<Self> {
        let last = image.rsplit('/').next()?;
        let tag = last.split_once(':')?.1;
        Self::of_platform(tag.rsplit_once('-').map_or(tag, |(_, platform)| platform))
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_say_what_an_image_is_for() {
        for (image, expected) in [
            ("localhost:5000/filter:0.0.1-arm64v8", Some(Architecture::Arm64)),
            ("filter:0.0.1-amd64.debug", Some(Architecture::Amd64)),
            ("a/b:1.0-linux-arm32v7", Some(Architecture::Arm)),
            ("a/b-amd64:1.0", None),
            ("localhost:5000/amd64", None),
            ("filter:1.0", None),
        ] {
            assert_eq!(Architecture::of_image(image), expected, "{image}");
        }
    }
}
