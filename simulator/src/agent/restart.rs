//! Whether and when a module that ended is started again.

use std::time::Duration;

use jiff::Timestamp;

use crate::agent::deployment::RestartPolicy;
use crate::runtime::module_runtime::ModuleStatus;

/// The numbers behind the restart policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartRules {
    /// After so many restarts a module has failed for good.
    pub max_restart_count: u32,
    /// The wait before the first restart, doubled for each one after it.
    pub cool_off_unit: Duration,
    /// The longest wait.
    pub max_cool_off: Duration,
    /// How long a module has to run for its restarts to be forgotten.
    pub intensive_care: Duration,
}

impl Default for RestartRules {
    fn default() -> Self {
        Self {
            max_restart_count: 20,
            cool_off_unit: Duration::from_secs(10),
            max_cool_off: Duration::from_mins(5),
            intensive_care: Duration::from_mins(10),
        }
    }
}

impl RestartRules {
    /// What the runtime's status means under a policy: as it is, or waiting to be started again.
    pub fn effective_status(&self, runtime: ModuleStatus, policy: RestartPolicy, restart_count: u32) -> ModuleStatus {
        use ModuleStatus::{Failed, Stopped, Unhealthy};
        let restarts = match policy {
            RestartPolicy::Never => false,
            RestartPolicy::OnFailure | RestartPolicy::OnUnhealthy => matches!(runtime, Failed | Unhealthy),
            RestartPolicy::Always => matches!(runtime, Failed | Unhealthy | Stopped),
        };
        match restarts {
            false => runtime,
            true if restart_count >= self.max_restart_count => Failed,
            true => ModuleStatus::Backoff,
        }
    }

    /// Whether the wait of a module is over. A module that never ended need not wait, and neither does one that ended
    /// in the future: somebody set the clock back.
    pub fn should_restart(
        &self,
        effective: ModuleStatus,
        policy: RestartPolicy,
        last_exit: Option<Timestamp>,
        restart_count: u32,
        now: Timestamp,
    ) -> bool {
        let waited_enough = |exit: Timestamp| {
            let waited = now.duration_since(exit);
            waited.is_negative() || waited.unsigned_abs() > self.cool_off(restart_count)
        };
        effective == ModuleStatus::Backoff && policy != RestartPolicy::Never && last_exit.is_none_or(waited_enough)
    }

    /// The wait before the next restart of a module that was restarted so often.
    pub fn cool_off(&self, restart_count: u32) -> Duration {
        let factor = 2_u32.checked_pow(restart_count).unwrap_or(u32::MAX);
        self.cool_off_unit.saturating_mul(factor).min(self.max_cool_off)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_whose_end_lies_in_the_future_is_started_again_at_once() {
        let rules = RestartRules::default();
        let exit = Timestamp::from_second(1_000_000).unwrap();
        let is_started = |seconds: i64, count: u32| {
            let now = Timestamp::from_second(1_000_000 + seconds).unwrap();
            rules.should_restart(ModuleStatus::Backoff, RestartPolicy::Always, Some(exit), count, now)
        };
        assert_eq!((is_started(9, 0), is_started(11, 0)), (false, true));
        // Somebody set the clock back, by a little or by years.
        assert!(is_started(-1, 0) && is_started(-100, 19) && is_started(-1_000_000, 5));
    }
}
