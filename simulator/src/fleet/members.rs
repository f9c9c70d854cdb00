//! Many devices of a fleet in one process.

use std::sync::Arc;

use edgectl_hub::clock::Clock;
use futures_util::StreamExt as _;
use futures_util::stream;

use super::generators::Behaviour;
use super::member::Member;
use super::ties::Ties;
use crate::device::DeviceError;

/// Devices that start or stop at the same time.
const AT_ONCE: usize = 32;

/// Devices that run.
pub struct Members(Vec<Member>);

impl Members {
    /// Joins devices to the hub above them and starts them. If one cannot start, none runs.
    pub async fn start(
        ties: impl Iterator<Item = impl Future<Output = Result<Ties, DeviceError>>>,
        gateway_host: &str,
        behaviour: Behaviour,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, DeviceError> {
        let starts = ties.map(|ties| async { Member::start(ties.await?, gateway_host, behaviour, clock).await });
        let started: Vec<_> = stream::iter(starts).buffer_unordered(AT_ONCE).collect().await;
        let (started, failed): (Vec<_>, Vec<_>) = started.into_iter().partition(Result::is_ok);
        let members = Self(started.into_iter().flatten().collect());
        match failed.into_iter().find_map(Result::err) {
            None => Ok(members),
            Some(error) => {
                members.stop().await;
                Err(error)
            }
        }
    }

    /// Stops them with their modules.
    pub async fn stop(self) {
        stream::iter(self.0).for_each_concurrent(AT_ONCE, Member::stop).await;
    }
}
