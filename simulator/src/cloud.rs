//! The cloud hub behind a device or a fleet, from what is kept in its state directory, and what is told of its messages.

use std::sync::Arc;

use edgectl_hub::clock::Clock;
use edgectl_hub::cloud::events::ReceivedEvent;
use edgectl_hub::cloud::hub::{CloudHub, CloudHubOptions};
use edgectl_hub::cloud::policies::OWNER;
use edgectl_hub::cloud::registry::new_key;
use edgectl_schemas::sas::SharedKey;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::blobs::grant::Grants;
use crate::blobs::store::BlobStore;
use crate::device::DeviceError;
use crate::frontend::http::blobs::{self, Files};
use crate::state::{ServiceAccess, StateDirectory, StateError, read_json, write_json};

/// Events that are read at once.
const EVENT_BATCH: usize = 256;

/// Opens the cloud hub, which goes on with its jobs, and the storage beside it.
pub fn open(state: &StateDirectory, host: &str, clock: &Arc<dyn Clock>) -> Result<(Arc<CloudHub>, Files), DeviceError> {
    let owner_key = service_key(state)?;
    let grants = Grants::new(&owner_key);
    let options = CloudHubOptions { host: host.to_owned(), directory: state.cloud(), owner_key };
    let cloud = CloudHub::open(options, Arc::clone(clock))?;
    cloud.resume_jobs();
    let store = BlobStore::new(state.cloud().join(blobs::CONTAINER), Arc::clone(clock));
    let files = Files { hub: Arc::clone(&cloud), grants, store };
    Ok((cloud, files))
}

/// The key of the policy that may use the service; made once.
fn service_key(state: &StateDirectory) -> Result<SharedKey, DeviceError> {
    let access = match read_json::<ServiceAccess>(&state.service())? {
        Some(access) => access,
        None => {
            let access = ServiceAccess { shared_access_key_name: OWNER.to_owned(), shared_access_key: new_key() };
            write_json(&state.service(), &access)?;
            access
        }
    };
    SharedKey::from_base64(&access.shared_access_key)
        .map_err(|error| StateError::Damaged { path: state.service(), reason: error.to_string() }.into())
}

/// Hands on what the cloud hub received, from a number on, and with `follow` what it is going to receive.
pub async fn events(
    cloud: &CloudHub,
    mut from: u64,
    follow: bool,
    items: mpsc::Sender<Value>,
) -> Result<Value, String> {
    let mut next = cloud.events().next_number();
    loop {
        // Read before the number is looked at again, so that nothing slips through between.
        let end = *next.borrow_and_update();
        while from < end {
            let events = cloud.events().read(from, EVENT_BATCH).map_err(|error| error.to_string())?;
            let Some(last) = events.last() else { break };
            from = last.sequence_number + 1;
            for event in events {
                let event = ReceivedEvent { notices: 0, ..event };
                let item = serde_json::to_value(&event).map_err(|error| error.to_string())?;
                if items.send(item).await.is_err() {
                    return Ok(Value::Null);
                }
            }
        }
        if !follow || next.changed().await.is_err() {
            return Ok(Value::Null);
        }
    }
}
