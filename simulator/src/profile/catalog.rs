//! The profiles that are built in.

use std::sync::LazyLock;

use super::profile::Profile;

static BUILT_IN: LazyLock<Vec<Profile>> =
    LazyLock::new(|| serde_json::from_str(include_str!("profiles.json")).unwrap_or_default());

/// All of them, in the order in which they are shown.
pub fn built_in() -> &'static [Profile] {
    &BUILT_IN
}

/// The one of that name.
pub fn find(name: &str) -> Option<&'static Profile> {
    BUILT_IN.iter().find(|profile| profile.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_profiles_can_be_read() {
        assert!(built_in().len() >= 5);
        for profile in built_in() {
            assert!(!profile.name.is_empty() && !profile.machine.description.is_empty(), "{profile}");
            assert_eq!(find(&profile.name), Some(profile));
        }
    }
}
