//! The network of a device's containers, and the address at which they find the device.

use std::collections::HashMap;
use std::net::IpAddr;

use bollard::models::{NetworkCreateRequest, NetworkInspect};

use crate::runtime::docker::body::DEVICE_LABEL;
use crate::runtime::docker::engine::{Engine, EngineError};

/// Makes a device's network unless it is there, and finds the machine's own address in it.
pub async fn ensure(engine: &Engine, name: &str, device: &str) -> Result<IpAddr, EngineError> {
    let network = match find(engine, name).await? {
        Some(network) if belongs_to(&network, device) => network,
        Some(_) => return Err(EngineError::NetworkTaken(name.to_owned())),
        None => {
            let request = NetworkCreateRequest {
                name: name.to_owned(),
                driver: Some("bridge".to_owned()),
                labels: Some(HashMap::from([(DEVICE_LABEL.to_owned(), device.to_owned())])),
                ..NetworkCreateRequest::default()
            };
            engine.docker().create_network(request).await.map_err(|error| engine.explain(error))?;
            find(engine, name).await?.unwrap_or_default()
        }
    };
    gateway(&network).ok_or_else(|| EngineError::NoGateway { network: name.to_owned() })
}

/// Removes a device's network if it is there.
pub async fn remove(engine: &Engine, name: &str, device: &str) -> Result<(), EngineError> {
    match find(engine, name).await? {
        Some(network) if belongs_to(&network, device) => {
            engine.docker().remove_network(name).await.map_err(|error| engine.explain(error))
        }
        _ => Ok(()),
    }
}

async fn find(engine: &Engine, name: &str) -> Result<Option<NetworkInspect>, EngineError> {
    match engine.docker().inspect_network(name, None).await.map_err(|error| engine.explain(error)) {
        Ok(network) => Ok(Some(network)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

fn belongs_to(network: &NetworkInspect, device: &str) -> bool {
    network.labels.as_ref().and_then(|labels| labels.get(DEVICE_LABEL)).is_some_and(|owner| owner == device)
}

/// Podman writes the address with the length of its prefix.
fn gateway(network: &NetworkInspect) -> Option<IpAddr> {
    let configurations = network.ipam.as_ref()?.config.as_ref()?;
    let mut gateways = configurations.iter().filter_map(|configuration| configuration.gateway.as_deref());
    gateways.find_map(|gateway| gateway.split('/').next()?.parse().ok())
}
