//! How a registry wants to know who asks: nobody, a name and a password, or a token that another server gives.

use std::collections::BTreeMap;

/// What an answer with status 401 asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// A name and a password.
    Basic,
    /// A token.
    Bearer {
        /// Who gives it.
        realm: String,
        /// What it is for.
        service: Option<String>,
        /// What it allows.
        scope: Option<String>,
    },
}

/// Reads a header `WWW-Authenticate`; none if it asks for something else.
pub fn challenge(header: &str) -> Option<Challenge> {
    let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let mut fields = fields(rest);
    Some(Challenge::Bearer {
        realm: fields.remove("realm")?,
        service: fields.remove("service"),
        scope: fields.remove("scope"),
    })
}

/// Names and values, the latter mostly in quotation marks, with commas between them.
fn fields(text: &str) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let mut rest = text.trim_start();
    while let Some((name, value)) = rest.split_once('=') {
        let (value, behind) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => value.split_once(',').map_or((value, ""), |(value, _)| (value, &value_rest(rest)[value.len()..])),
        };
        fields.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        rest = behind.trim_start_matches([',', ' ']);
    }
    fields
}

fn value_rest(text: &str) -> &str {
    text.split_once('=').map_or("", |(_, value)| value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn challenges_are_read() {
        let found =
            challenge(r#"Bearer realm="https://auth.example.com/token",service="r",scope="repository:a/b:pull,push""#);
        assert_eq!(
            found,
            Some(Challenge::Bearer {
                realm: "https://auth.example.com/token".to_owned(),
                service: Some("r".to_owned()),
                scope: Some("repository:a/b:pull,push".to_owned()),
            })
        );
        let bare = challenge("Bearer realm=https://a,service=b");
        assert!(matches!(bare, Some(Challenge::Bearer { realm, service: Some(_), .. }) if realm == "https://a"));
        assert_eq!(challenge(r#"Basic realm="x""#), Some(Challenge::Basic));
        assert_eq!(challenge("Negotiate"), None);
        assert_eq!(challenge("Bearer service=\"x\""), None);
    }

    proptest! {
        #[test]
        fn whatever_a_registry_says_is_read(text in "(Bearer )?[a-z=\", é]{0,24}") {
            let _ = challenge(&text);
        }
    }
}
