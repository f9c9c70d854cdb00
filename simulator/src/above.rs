//! What is above a device: its own cloud hub, or the edge hub of another device, behind which is the same cloud hub.

use std::net::SocketAddr;
use std::path::PathBuf;

use edgectl_schemas::ids::DeviceId;
use edgectl_schemas::sas::SharedKey;
use rustls::pki_types::ServerName;
use tokio::net::TcpListener;

use crate::authority::Authority;
use crate::device::{DeviceError, other};
use crate::metrics::endpoint;
use crate::ports::{HTTPS_PORT, Listeners, MQTT_PORT};
use crate::state::{Endpoints, ServiceAccess};

/// The running device above another one, and what its owner has arranged for the two.
pub struct Parent {
    /// Where it is reached.
    pub endpoints: Endpoints,
    /// How the service API of the cloud hub above both is reached.
    pub service: ServiceAccess,
    /// Its control socket, which answers what the cloud hub received.
    pub control_socket: PathBuf,
    /// The key with which the lower device is registered.
    pub device_key: SharedKey,
}

/// The hub that a device connects to: its own cloud hub, or the edge hub of the device above it.
#[derive(Clone)]
pub struct Above {
    /// The cloud hub's name, which tokens are for.
    pub hub_host: String,
    /// The port of the cloud hub's service API.
    pub hub_https_port: u16,
    /// Its MQTT.
    pub mqtt: SocketAddr,
    /// Its HTTPS.
    pub https: SocketAddr,
    /// The name in its certificate.
    pub name: ServerName<'static>,
}

impl Above {
    /// Finds it.
    pub fn new(listeners: &Listeners, parent: Option<&Parent>) -> Result<Self, DeviceError> {
        let (hub_host, hub_https_port, address, https_port) = match (&listeners.hub, parent) {
            (Some(hub), _) => {
                let https = hub.https.local_addr().map_err(|error| other("the cloud hub")(&error))?;
                (https.ip().to_string(), https.port(), https.ip(), https.port())
            }
            (None, Some(Parent { endpoints, .. })) => {
                let address = endpoints.gateway_host_name.parse();
                let address = address.map_err(|error| other("the address of the device above")(&error))?;
                let Endpoints { hub_host_name, hub_https_port, gateway_https_port, .. } = endpoints;
                (hub_host_name.clone(), *hub_https_port, address, *gateway_https_port)
            }
            (None, None) => return Err(other("the cloud hub")(&"a device at the top has one")),
        };
        Ok(Self {
            hub_host,
            hub_https_port,
            mqtt: SocketAddr::new(address, MQTT_PORT),
            https: SocketAddr::new(address, https_port),
            name: ServerName::IpAddress(address.into()),
        })
    }
}

/// Where a device is reached.
pub fn endpoints(
    device: &DeviceId,
    listeners: &Listeners,
    above: &Above,
    parent: Option<&Parent>,
    authority: &Authority,
    metrics: Option<&TcpListener>,
) -> Result<Endpoints, DeviceError> {
    let gateway_https = listeners.gateway.https.local_addr().map_err(|error| other("the edge hub")(&error))?;
    let metrics_address = metrics.map(TcpListener::local_addr).transpose();
    let metrics_url = metrics_address.map_err(|error| other("metrics")(&error))?.map(endpoint::url);
    Ok(Endpoints {
        device_id: device.to_string(),
        gateway_host_name: listeners.address.gateway().to_string(),
        hub_host_name: above.hub_host.clone(),
        hub_https_port: above.hub_https_port,
        gateway_https_port: gateway_https.port(),
        gateway_has_https: gateway_https.port() == HTTPS_PORT,
        fleet_devices: None,
        parent: parent.map(|parent| parent.endpoints.device_id.clone()),
        metrics_url,
        profile: None,
        // Known where the state is.
        management_uri: String::new(),
        trust_bundle: authority.trust_bundle_path().to_owned(),
    })
}
