//! A part of a fleet in a process of its own: devices with connections to the cloud hub, which is elsewhere.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use edgectl_hub::clock::{Clock, SystemClock};
use edgectl_schemas::ids::DeviceId;
use edgectl_schemas::sas::SharedKey;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};

use super::generators::Behaviour;
use super::members::Members;
use super::network::Network;
use crate::above::Above;
use crate::client::registry;
use crate::device::{DeviceError, other};
use crate::link::Link;
use crate::ports::MQTT_PORT;
use crate::tls;

/// A shard whose devices cannot start, since the hub is not to be reached for example, tries again after this time.
const RETRY_DELAY: Duration = Duration::from_secs(2);

/// What a shard has to know. It has keys in it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShardOrder {
    /// The cloud hub's name.
    pub hub_host: String,
    /// Where it is reached from the shard.
    pub address: IpAddr,
    /// The port of its HTTPS there.
    pub https_port: u16,
    /// The certificates to trust, PEM.
    pub trust_bundle: String,
    /// What modules are told to be the gateway's name.
    pub gateway_host: String,
    /// How modules behave.
    pub behaviour: Behaviour,
    /// The devices with their keys, base64.
    pub devices: Vec<(DeviceId, String)>,
}

/// Runs the devices of an order until the end.
pub async fn run(order: ShardOrder, end: impl Future<Output = ()>) -> Result<(), DeviceError> {
    open_many_files();
    let mut end = std::pin::pin!(end);
    let members = tokio::select! {
        members = start(&order) => members?,
        () = &mut end => return Ok(()),
    };
    end.await;
    members.stop().await;
    Ok(())
}

async fn start(order: &ShardOrder) -> Result<Members, DeviceError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let tls = tls::client_config(&order.trust_bundle)?;
    let network = Network {
        above: Above {
            hub_host: order.hub_host.clone(),
            hub_https_port: order.https_port,
            mqtt: SocketAddr::new(order.address, MQTT_PORT),
            https: SocketAddr::new(order.address, order.https_port),
            name: ServerName::IpAddress(order.address.into()),
        },
        http: registry::http(&tls).map_err(|error| other("the client of the registry")(&error))?,
        link: Link::new(order.behaviour.seed.0, Arc::clone(&clock)),
        tls,
    };
    let devices = order.devices.iter().map(|(device, key)| {
        let key = SharedKey::from_base64(key).map_err(|error| other("a device's key")(&error))?;
        Ok((device.clone(), key))
    });
    let devices = devices.collect::<Result<Vec<_>, DeviceError>>()?;
    loop {
        let ties = devices.iter().map(|(device, key)| network.join(device.clone(), key.clone()));
        match Members::start(ties, &order.gateway_host, order.behaviour, &clock).await {
            Ok(members) => return Ok(members),
            Err(error) => tracing::warn!(%error, "the shard cannot start yet"),
        }
        clock.sleep(RETRY_DELAY).await;
    }
}

/// Each connection is an open file: as many as the system allows are wanted.
pub(super) fn open_many_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}
