//! Names of images: registry, repository, tag or digest.

use std::fmt;
use std::str::FromStr;

use edgectl_schemas::manifest::image_reference::DOCKER_HUB;

use crate::image::oci::digest::Digest;

/// The registry of names that have none, as people write it, and where it really is.
const HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// The name of an image in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The registry's host, and port if it is an unusual one.
    pub registry: String,
    /// The repository.
    pub repository: String,
    /// The tag; `latest` where neither tag nor digest was given.
    pub tag: String,
    /// The digest, where the name has one; it goes before the tag.
    pub digest: Option<Digest>,
}

/// A text that is no image's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no image's name; one is written like registry.example.com/filter:1.0")]
pub struct InvalidReference(String);

impl Reference {
    /// What manifests are asked for by.
    pub fn wanted(&self) -> &str {
        self.digest.as_ref().map_or(&self.tag, |digest| digest.as_str())
    }

    /// Where the registry is.
    pub fn host(&self) -> &str {
        if self.registry == HUB.0 { HUB.1 } else { &self.registry }
    }

    /// Whether the registry is on this machine.
    pub fn is_local(&self) -> bool {
        let name = self.host().rsplit_once(':').map_or(self.host(), |(name, _)| name);
        name == "localhost" || name.starts_with("127.") || name == "[::1]"
    }

    /// The address that requests begin with. Registries of this machine need no encryption.
    pub fn address(&self) -> String {
        format!("{}://{}", if self.is_local() { "http" } else { "https" }, self.host())
    }
}

/// What a registry is called where people and manifests write of it.
pub fn usual_name(registry: &str) -> &str {
    if registry == HUB.1 || registry == DOCKER_HUB { HUB.0 } else { registry }
}

/// What a registry is called in the user's settings, by its usual name.
pub fn login(registry: &str) -> &str {
    if registry == HUB.0 { DOCKER_HUB } else { registry }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let invalid = || InvalidReference(text.to_owned());
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse().map_err(|_| invalid())?)),
            None => (text, None),
        };
        let (registry, path) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest.to_owned()),
            Some(_) => (HUB.0, name.to_owned()),
            None => (HUB.0, format!("library/{name}")),
        };
        let (repository, tag) = match path.rsplit_once(':') {
            Some((repository, tag)) => (repository.to_owned(), tag),
            None => (path, "latest"),
        };
        let registry = if registry == "index.docker.io" { HUB.0 } else { registry };
        let is_host = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
        if !is_repository(&repository) || !is_tag(tag) || !registry.chars().all(is_host) {
            return Err(invalid());
        }
        Ok(Self { registry: registry.to_owned(), repository, tag: tag.to_owned(), digest })
    }
}

/// Whether a text can be a repository: components of small letters, digits and separators between them.
pub fn is_repository(text: &str) -> bool {
    text.len() <= 255
        && text.split('/').all(|part| {
            let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
            let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            part.starts_with(is_word) && part.ends_with(is_word) && part.chars().all(is_allowed)
        })
}

/// Whether a text can be a tag.
pub fn is_tag(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.len() <= 128 && text.starts_with(is_word) && text.chars().all(|c| is_word(c) || ".-".contains(c))
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => write!(f, ":{}", self.tag),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_read_as_engines_read_them() {
        let digest = Digest::of(b"");
        let cases = [
            ("python", "docker.io/library/python:latest"),
            ("edge/filter:1", "docker.io/edge/filter:1"),
            ("localhost:5000/filter:0.0.1-amd64", "localhost:5000/filter:0.0.1-amd64"),
            ("localhost/a", "localhost/a:latest"),
            ("r.example.com/a/b:c", "r.example.com/a/b:c"),
        ];
        for (text, read) in cases {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), read);
        }
        let with_digest: Reference = format!("localhost:5000/a:1@{digest}").parse().unwrap();
        assert_eq!(with_digest.wanted(), digest.as_str());
        assert_eq!(with_digest.address(), "http://localhost:5000");
        assert_eq!("python".parse::<Reference>().unwrap().address(), "https://registry-1.docker.io");
        for text in ["", "A/b", "r.example.com/", "a:b:c", "a/../b", "a@sha256:1", "r.example.com/a:", "${REGISTRY}/a"]
        {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_was_read_is_read_again(text in "[a-z0-9./:@-]{0,24}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference);
            }
        }
    }
}
