//! Carrying checks out, several at once, and mending what they find.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::check::{Check, Finding, Scope, Verdict};
use super::patient::Patient;

/// Checks that go on at once: they wait for programs more than they compute.
const WORKERS: usize = 8;

/// What came of a check.
#[derive(Debug)]
pub struct Outcome {
    /// The check.
    pub check: &'static Check,
    /// What it found; after mending, what it finds now.
    pub finding: Finding,
    /// What was done about it, or why that failed.
    pub mended: Option<Result<String, String>>,
}

/// Carries checks out. The outcomes are in the order of the checks.
pub fn examine(checks: &[&'static Check], patient: &Patient<'_>) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(checks.len()));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS.min(checks.len()) {
            scope.spawn(|| {
                while let Some(check) = checks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = Outcome { check, finding: look(check, patient), mended: None };
                    done.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
                }
            });
        }
    });
    let mut outcomes = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcomes.sort_by_key(|outcome| outcome.check.code);
    outcomes
}

fn look(check: &Check, patient: &Patient<'_>) -> Finding {
    if check.scope == Scope::Solution && patient.root.is_none() {
        return Finding::skipped("there is no solution here");
    }
    (check.examine)(patient)
}

/// Mends what can be mended without risk, and looks again.
pub fn mend(outcomes: &mut [Outcome], patient: &Patient<'_>) {
    for outcome in outcomes.iter_mut().filter(|outcome| outcome.finding.verdict > Verdict::Skipped) {
        let Some(fix) = outcome.finding.fix.take() else { continue };
        match fix.apply() {
            Ok(done) => {
                outcome.finding = look(outcome.check, patient);
                outcome.mended = Some(Ok(done));
            }
            Err(error) => outcome.mended = Some(Err(error.to_string())),
        }
    }
}
