//! References to images, as the edge agent reads them from `settings.image`.
//!
//! The agent takes fewer forms than a container engine does: a digest passes only where it looks like a tag.

/// The registry of references that name none.
pub const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// What the image of the edge agent is called.
const AGENT_IMAGE: &str = "azureiotedge-agent";

/// Why a text is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidImageReference {
    /// There is no text.
    #[error("the image is empty")]
    Empty,
    /// The last component is not a name with at most one tag.
    #[error("{0:?} is not an image reference: after the last '/' comes a name, and at most one ':' with a tag")]
    Form(String),
    /// The reference is to the parent's registry, but the device has no parent.
    #[error("{0:?} is an image of the parent, and this device has no parent")]
    NoParent(String),
}

/// Trims a reference and adds `:latest` where there is no tag.
pub fn normalize(text: &str) -> Result<String, InvalidImageReference> {
    let text = text.trim();
    if text.is_empty() {
        return Err(InvalidImageReference::Empty);
    }
    let last = text.rsplit_once('/').map_or(text, |(_, last)| last);
    match last.split(':').collect::<Vec<_>>()[..] {
        [name] if !name.is_empty() => Ok(format!("{text}:latest")),
        [name, tag] if !name.is_empty() && !tag.is_empty() => Ok(text.to_owned()),
        _ => Err(InvalidImageReference::Form(text.to_owned())),
    }
}

/// The registry whose credentials are used for a reference: the first component, if it looks like a host.
pub fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) => first,
        _ => DOCKER_HUB,
    }
}

/// Whether an edge agent of this image can run below another device, which 1.2 was the first version to do. Of images
/// with other names, or tags that are no versions, nothing is known, and nothing is held against them.
pub fn is_nested_agent(image: &str) -> bool {
    let last = image.rsplit_once('/').map_or(image, |(_, last)| last);
    let Some(tag) = last.strip_prefix(AGENT_IMAGE).and_then(|rest| rest.strip_prefix(':')) else { return true };
    let mut numbers = tag.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) => (major, minor) >= (1, 2),
        _ => true,
    }
}

/// Replaces the host of a reference to the parent's registry, `$upstream:{port}/…`. Gives none for every other
/// reference, which is used as it is.
pub fn expand_upstream(image: &str, parent: Option<&str>) -> Result<Option<String>, InvalidImageReference> {
    let (scheme, rest) = match image.strip_prefix("http://") {
        Some(rest) => ("http://", rest),
        None => ("", image),
    };
    let Some((port, path)) = rest.strip_prefix("$upstream:").and_then(|rest| rest.split_once('/')) else {
        return Ok(None);
    };
    if !is_port(port) || path.is_empty() {
        return Ok(None);
    }
    match parent {
        Some(parent) => Ok(Some(format!("{scheme}{parent}:{port}/{path}"))),
        None => Err(InvalidImageReference::NoParent(image.to_owned())),
    }
}

/// A number from 1 to 65535 without a leading zero.
fn is_port(text: &str) -> bool {
    text.starts_with(|c: char| matches!(c, '1'..='9'))
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn references_are_normalised() {
        let cases = [
            (" nginx ", Some("nginx:latest")),
            ("localhost:9000/ea", Some("localhost:9000/ea:latest")),
            ("repo/img@sha256:abc", Some("repo/img@sha256:abc")),
            ("repo/img:tag@sha256:abc", None),
            ("a:b:c", None),
            ("repo/", None),
            ("repo/:tag", None),
            ("img:", None),
        ];
        for (text, expected) in cases {
            assert_eq!(normalize(text).ok().as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn only_references_to_the_parent_are_expanded() {
        assert_eq!(expand_upstream("$upstream:443/a/b", Some("p")).unwrap().as_deref(), Some("p:443/a/b"));
        for image in ["$upstream:0/a", "$upstream:65536/a", "$upstream:443/", "$upstream/a", "x/$upstream:443/a"] {
            assert_eq!(expand_upstream(image, Some("p")), Ok(None), "{image}");
        }
    }

    proptest! {
        #[test]
        fn what_is_normal_stays_as_it_is(text in "[ a-z0-9:/@.$]{0,24}") {
            if let Ok(image) = normalize(&text) {
                prop_assert_eq!(normalize(&image).unwrap(), image);
            }
        }
    }
}
