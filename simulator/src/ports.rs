//! The ports of a device: which addresses it gets, and listening at all of them before anything else is done.

use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpListener;

use crate::address::{DeviceAddress, listener_at};
use crate::listen::{self, BindError};

/// The port of MQTT over TLS; fixed in the SDKs.
pub const MQTT_PORT: u16 = 8883;
const HTTPS_PORT: u16 = 443;

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
    /// The edge hub's MQTT.
    pub gateway_mqtt: TcpListener,
    /// The edge hub's HTTPS; none where the port needs a privilege that is missing.
    pub gateway_https: Option<TcpListener>,
    /// The cloud hub's MQTT.
    pub hub_mqtt: TcpListener,
    /// The cloud hub's HTTPS, at 443 or another port.
    pub hub_https: TcpListener,
}

/// Finds the device's addresses and listens at all of them: those asked for, else those of the last run if they are
/// free, else the first free ones.
pub async fn listen(
    wanted: Option<DeviceAddress>,
    last: Option<DeviceAddress>,
    preferred: DeviceAddress,
) -> Result<Listeners, PortsError> {
    if let Some(address) = wanted {
        return Ok(listen_at_pair(address).await?);
    }
    let first = last.unwrap_or(preferred);
    for address in first.and_following() {
        match listen_at_pair(address).await {
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

/// Listens at the edge hub's ports of an address: MQTT, and HTTPS unless the port needs a privilege that is missing.
pub async fn listen_at_gateway(gateway: IpAddr) -> Result<(TcpListener, Option<TcpListener>), BindError> {
    let mqtt = listen::bind(SocketAddr::new(gateway, MQTT_PORT)).await?;
    let https = match listen::bind(SocketAddr::new(gateway, HTTPS_PORT)).await {
        Ok(listener) => Some(listener),
        Err(BindError::Denied(_)) => None,
        Err(error) => return Err(error),
    };
    Ok((mqtt, https))
}

async fn listen_at_pair(address: DeviceAddress) -> Result<Listeners, BindError> {
    let hub = address.hub();
    let (gateway_mqtt, gateway_https) = listen_at_gateway(address.gateway()).await?;
    let hub_mqtt = listen::bind(SocketAddr::new(hub, MQTT_PORT)).await?;
    let hub_https = match listen::bind(SocketAddr::new(hub, HTTPS_PORT)).await {
        Ok(listener) => listener,
        // Our own tools ask which port it is.
        Err(BindError::Denied(_)) => listen::bind(SocketAddr::new(hub, 0)).await?,
        Err(error) => return Err(error),
    };
    Ok(Listeners { address, gateway_mqtt, gateway_https, hub_mqtt, hub_https })
}
