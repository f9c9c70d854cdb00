//! Files that modules write into their own folders. Nothing but their habits tells them from sources: they change right
//! after each build, again and again, and would have their module built and restarted for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// So many times in a row a file changes right after a build until it is taken for an output.
const LIMIT: u32 = 5;

/// Which files are outputs.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    /// How often in a row a file changed right after a build.
    suspects: BTreeMap<PathBuf, u32>,
    known: BTreeSet<PathBuf>,
}

impl Outputs {
    /// Takes outputs out of what changed. Returns the rest, and what was recognized just now. What is a source by its
    /// name is never an output.
    pub(super) fn sift(
        &mut self,
        changed: BTreeSet<PathBuf>,
        right_after_build: bool,
        is_source: impl Fn(&Path) -> bool,
    ) -> (BTreeSet<PathBuf>, Vec<PathBuf>) {
        let mut found = Vec::new();
        let mut rest = BTreeSet::new();
        for path in changed {
            if self.known.contains(&path) {
                continue;
            }
            if !is_source(&path) {
                let times =
                    if right_after_build { self.suspects.get(&path).copied().unwrap_or_default() + 1 } else { 0 };
                if times >= LIMIT {
                    self.suspects.remove(&path);
                    self.known.insert(path.clone());
                    found.push(path);
                    continue;
                }
                self.suspects.insert(path.clone(), times);
            }
            rest.insert(path);
        }
        (rest, found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_each_build_is_an_output_unless_it_is_a_source() {
        let mut outputs = Outputs::default();
        let changed = || BTreeSet::from([PathBuf::from("data.csv"), PathBuf::from("main.py")]);
        let is_source = |path: &Path| path.ends_with("main.py");
        for _ in 1..LIMIT {
            assert_eq!(outputs.sift(changed(), true, is_source), (changed(), Vec::new()));
        }
        // A quiet time between says that somebody edits it.
        assert_eq!(outputs.sift(changed(), false, is_source), (changed(), Vec::new()));
        for _ in 1..LIMIT {
            assert_eq!(outputs.sift(changed(), true, is_source), (changed(), Vec::new()));
        }
        let sources = BTreeSet::from([PathBuf::from("main.py")]);
        assert_eq!(outputs.sift(changed(), true, is_source), (sources.clone(), vec![PathBuf::from("data.csv")]));
        assert_eq!(outputs.sift(changed(), false, is_source), (sources, Vec::new()));
    }
}
