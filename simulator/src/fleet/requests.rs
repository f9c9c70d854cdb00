//! What a fleet answers on its control socket.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use edgectl_hub::cloud::hub::CloudHub;
use edgectl_schemas::ids::DeviceId;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::generators::Behaviour;
use super::rate::Rate;
use super::report::{FleetReport, report};
use super::status::status;
use super::tally::Tally;
use crate::cloud;
use crate::control::{Handler, Request};

/// No message has to come for two intervals and this, before none is waited for.
const CALM: Duration = Duration::from_secs(2);

/// What it answers with.
pub struct Requests {
    /// The hub above all.
    pub cloud: Arc<CloudHub>,
    /// The fleet's name.
    pub name: String,
    /// How its modules behave.
    pub behaviour: Behaviour,
    /// Which share of the devices never connects.
    pub offline: f64,
    /// The devices.
    pub devices: Vec<DeviceId>,
    /// Messages a second.
    pub rate: Arc<Rate>,
    /// All messages, where they have an end.
    pub tally: Option<Arc<Tally>>,
    /// Since when all agents are done.
    pub done_since: Mutex<Option<Instant>>,
    /// Asks the fleet to stop.
    pub stop: CancellationToken,
}

impl Requests {
    fn report(&self) -> FleetReport {
        let seed = self.behaviour.seed;
        let is_online = |device: &DeviceId| seed.is_online(device, self.offline);
        let (outcome, open) = report(&self.cloud, seed.0, &self.devices, is_online, self.tally.as_deref());
        let waiting_for = {
            let mut done_since = self.done_since.lock().unwrap_or_else(PoisonError::into_inner);
            match open {
                Some(open) => {
                    *done_since = None;
                    Some(open)
                }
                None => {
                    let now = self.cloud.clock().now();
                    let done = *done_since.get_or_insert(now);
                    let last = self.tally.as_ref().map(|tally| tally.last().map_or(done, |last| last.max(done)));
                    let is_calm = |last: Instant| now >= last + self.behaviour.interval * 2 + CALM;
                    last.filter(|last| !is_calm(*last)).map(|_| "messages that may be on their way".to_owned())
                }
            }
        };
        let (fleet, digest) = (self.name.clone(), outcome.digest());
        FleetReport { fleet, settled: waiting_for.is_none(), waiting_for, digest, outcome }
    }
}

#[async_trait]
impl Handler for Requests {
    async fn handle(&self, request: Request, items: mpsc::Sender<Value>) -> Result<Value, String> {
        match request {
            Request::Fleet => {
                let seed = self.behaviour.seed.0;
                let status = status(&self.cloud, &self.name, seed, &self.devices, self.rate.per_second());
                serde_json::to_value(status).map_err(|error| error.to_string())
            }
            Request::FleetReport => serde_json::to_value(self.report()).map_err(|error| error.to_string()),
            Request::Events { follow, from } => cloud::events(&self.cloud, from, follow, items).await,
            Request::Stop => {
                self.stop.cancel();
                Ok(Value::Null)
            }
            _ => Err(format!("{} is a fleet, and that is asked of one device: try `edgectl fleet status`", self.name)),
        }
    }
}
