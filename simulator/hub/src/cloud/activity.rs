//! When identities connected, left and did something, as long as the hub runs.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use edgectl_schemas::ids::Identity;

/// Times in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Activity {
    /// When it last connected or left.
    pub connection_ms: Option<u64>,
    /// When it last sent or asked something.
    pub last_ms: Option<u64>,
}

/// The activity of all identities.
#[derive(Debug, Default)]
pub struct Activities {
    all: Mutex<HashMap<Identity, Activity>>,
}

impl Activities {
    /// What is known of an identity.
    pub fn of(&self, identity: &Identity) -> Activity {
        self.lock().get(identity).copied().unwrap_or_default()
    }

    /// It connected, or left.
    pub fn connection_changed(&self, identity: &Identity, now_ms: u64) {
        let activity = Activity { connection_ms: Some(now_ms), last_ms: Some(now_ms) };
        self.lock().insert(identity.clone(), activity);
    }

    /// It did something.
    pub fn happened(&self, identity: &Identity, now_ms: u64) {
        if let Some(activity) = self.lock().get_mut(identity) {
            activity.last_ms = Some(now_ms);
        }
    }

    /// It is gone.
    pub fn forget(&self, identity: &Identity) {
        self.lock().remove(identity);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Identity, Activity>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
