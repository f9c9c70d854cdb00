//! All checks, by code.

use super::check::Check;
use super::{emulation, engine, limits, manifest, network, registries, sources, state, storage, tools, user};

/// The subjects: the first digit of the codes, what it is, and its checks.
const SUBJECTS: [(char, &str, &[&[Check]]); 6] = [
    ('1', "Container engine", &[engine::CHECKS, emulation::CHECKS, registries::CHECKS]),
    ('2', "Network", &[network::CHECKS]),
    ('3', "Machine", &[limits::CHECKS, user::CHECKS]),
    ('4', "Tools", &[tools::CHECKS]),
    ('5', "Solution", &[manifest::CHECKS, sources::CHECKS]),
    ('6', "State", &[state::CHECKS, storage::CHECKS]),
];

/// All checks, in the order of their codes.
pub fn all() -> Vec<&'static Check> {
    let mut checks: Vec<&Check> = SUBJECTS.iter().flat_map(|(_, _, files)| files.iter().copied().flatten()).collect();
    checks.sort_by_key(|check| check.code);
    checks
}

/// What a check is about, in a word or two.
pub fn subject(check: &Check) -> &'static str {
    let digit = check.code.chars().nth(3);
    SUBJECTS.iter().find(|(first, ..)| Some(*first) == digit).map_or("", |(_, subject, _)| subject)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unlike_each_other_and_tell_their_subject() {
        let all = all();
        assert!(
            all.windows(2).all(|pair| pair[0].code < pair[1].code),
            "{:?}",
            all.iter().map(|c| c.code).collect::<Vec<_>>()
        );
        for check in all {
            assert!(check.code.len() == 6 && check.code.starts_with("DOC"), "{}", check.code);
        }
        for (digit, _, files) in SUBJECTS {
            for check in files.iter().copied().flatten() {
                assert_eq!(check.code.chars().nth(3), Some(digit), "{}", check.code);
            }
        }
    }

    #[test]
    fn the_guide_lists_every_check() {
        let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide/doctor.md")).unwrap();
        for check in all() {
            let row = format!("| {} | {} |", check.code, check.title);
            assert!(guide.contains(&row), "docs/guide/doctor.md lacks {row:?}");
        }
    }
}
