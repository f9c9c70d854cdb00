//! The ports of a device: which addresses it gets, and listening at all of them before anything else is done.

use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpListener;

use crate::address::{DeviceAddress, listener_at};
use crate::listen::{self, BindError};

/// The port of MQTT over TLS; fixed in the SDKs.
pub const MQTT_PORT: u16 = 8883;
/// The port of AMQP over TLS; fixed in the SDKs.
pub const AMQP_PORT: u16 = 5671;
/// The port of HTTPS; fixed in the SDKs.
pub const HTTPS_PORT: u16 = 443;

/// A device cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum PortsError {
    /// An address cannot be listened at.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// No pair of addresses is free.
    #[error("no loopback address has a free port {MQTT_PORT}{}", by.as_ref().map_or_else(String::new, |by| format!(": {by} listens there")))]
    NoAddress {
        /// Who listens at all of them, as far as it can be found out.
        by: Option<String>,
    },
}

/// The listeners of a device, bound before anything else is done.
pub struct Listeners {
    /// The pair of addresses.
    pub address: DeviceAddress,
    /// The edge hub's.
    pub gateway: HubListeners,
    /// The cloud hub's; none for a device below another one.
    pub hub: Option<HubListeners>,
}

/// The listeners of a hub.
pub struct HubListeners {
    /// MQTT.
    pub mqtt: TcpListener,
    /// AMQP.
    pub amqp: TcpListener,
    /// HTTPS, at 443 or another port.
    pub https: TcpListener,
}

/// Finds the device's addresses and listens at all of them: those asked for, else those of the last run if they are
/// free, else the first free ones. A device below another one has no cloud hub.
pub async fn listen(
    with_hub: bool,
    wanted: Option<DeviceAddress>,
    last: Option<DeviceAddress>,
    preferred: DeviceAddress,
) -> Result<Listeners, PortsError> {
    if let Some(address) = wanted {
        return Ok(listen_at_pair(address, with_hub).await?);
    }
    let first = last.unwrap_or(preferred);
    for address in first.and_following() {
        match listen_at_pair(address, with_hub).await {
            Ok(listeners) => {
                if let Some(last) = last.filter(|last| *last != address) {
                    tracing::warn!("{} is in use, {} is taken instead", last.gateway(), address.gateway());
                }
                return Ok(listeners);
            }
            Err(BindError::InUse { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let by = listener_at(SocketAddr::new(first.gateway(), MQTT_PORT));
    Err(PortsError::NoAddress { by })
}

async fn listen_at_pair(address: DeviceAddress, with_hub: bool) -> Result<Listeners, BindError> {
    let gateway = listen_at_all(address.gateway()).await?;
    let hub = if with_hub { Some(listen_at_all(address.hub()).await?) } else { None };
    Ok(Listeners { address, gateway, hub })
}

/// Listens for who reads metrics, at the edge hub's address and any port if it is 0.
pub async fn listen_for_metrics(address: &DeviceAddress, port: u16) -> Result<TcpListener, PortsError> {
    Ok(listen::bind(SocketAddr::new(address.gateway(), port)).await?)
}

/// Listens at all ports of a hub at an address.
pub async fn listen_at_all(address: IpAddr) -> Result<HubListeners, BindError> {
    let mqtt = listen::bind(SocketAddr::new(address, MQTT_PORT)).await?;
    let amqp = listen::bind(SocketAddr::new(address, AMQP_PORT)).await?;
    let https = match listen::bind(SocketAddr::new(address, HTTPS_PORT)).await {
        // Where the port needs a privilege that is missing another one is taken, and our own tools ask which.
        Err(BindError::Denied(_)) => listen::bind(SocketAddr::new(address, 0)).await?,
        bound => bound?,
    };
    Ok(HubListeners { mqtt, amqp, https })
}
