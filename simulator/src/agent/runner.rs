//! Which commands of a plan to try: one that failed waits longer each time, and is given up in the end.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::agent::plan::Command;

/// The wait after a first failure is twice this.
const COOL_OFF_UNIT: Duration = Duration::from_secs(10);
/// After so many failures a command is not tried again for its deployment.
const MAX_RUN_COUNT: u32 = 20;

/// What failed while a deployment was carried out.
#[derive(Debug, Clone)]
pub struct RunHistory {
    deployment: Option<i64>,
    failures: BTreeMap<Command, Failure>,
    cool_off_unit: Duration,
    max_run_count: u32,
}

#[derive(Debug, Clone)]
struct Failure {
    count: u32,
    at: Timestamp,
    reason: String,
}

impl Default for RunHistory {
    fn default() -> Self {
        Self::new(COOL_OFF_UNIT, MAX_RUN_COUNT)
    }
}

impl RunHistory {
    /// An empty history with its numbers.
    pub fn new(cool_off_unit: Duration, max_run_count: u32) -> Self {
        Self { deployment: None, failures: BTreeMap::new(), cool_off_unit, max_run_count }
    }

    /// Starts a run for a deployment. The failures of an earlier deployment are forgotten.
    pub fn begin(&mut self, deployment: i64) {
        if self.deployment.replace(deployment) != Some(deployment) {
            self.failures.clear();
        }
    }

    /// Whether the command may be tried now.
    pub fn may_run(&self, command: &Command, now: Timestamp) -> bool {
        let Some(failure) = self.failures.get(command) else { return true };
        let factor = 2_u32.checked_pow(failure.count).unwrap_or(u32::MAX);
        let waited = now.duration_since(failure.at);
        failure.count < self.max_run_count
            && (waited.is_negative() || waited.unsigned_abs() >= self.cool_off_unit.saturating_mul(factor))
    }

    /// Why a command failed when it was last tried.
    pub fn failure(&self, command: &Command) -> Option<&str> {
        self.failures.get(command).map(|failure| failure.reason.as_str())
    }

    /// Notes how a command went: none, or the reason why it failed.
    pub fn record(&mut self, command: &Command, failed: Option<String>, now: Timestamp) {
        let Some(reason) = failed else {
            self.failures.remove(command);
            return;
        };
        let count = self.failures.get(command).map_or(0, |failure| failure.count);
        self.failures.insert(command.clone(), Failure { count: count + 1, at: now, reason });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_waits_twice_as_long_each_time_until_it_is_given_up() {
        let mut history = RunHistory::new(Duration::from_secs(10), 3);
        let command = Command::Start("a".into());
        let mut now = Timestamp::UNIX_EPOCH;
        history.begin(1);
        for wait in [20, 40] {
            assert!(history.may_run(&command, now));
            history.record(&command, Some("no".into()), now);
            assert!(!history.may_run(&command, now + Duration::from_secs(wait - 1)));
            now += Duration::from_secs(wait);
        }
        assert!(history.may_run(&command, now));
        history.record(&command, Some("no".into()), now);
        assert!(!history.may_run(&command, now + Duration::from_secs(1_000_000)));
        history.begin(2);
        assert!(history.may_run(&command, now));
    }

    #[test]
    fn success_clears_a_command() {
        let mut history = RunHistory::default();
        let command = Command::Start("a".into());
        history.begin(1);
        history.record(&command, Some("no".into()), Timestamp::UNIX_EPOCH);
        history.record(&command, None, Timestamp::UNIX_EPOCH);
        assert!(history.may_run(&command, Timestamp::UNIX_EPOCH));
    }
}
