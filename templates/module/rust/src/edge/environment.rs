//! What the runtime tells a module about itself, in environment variables.

use std::env;

use super::Error;

/// Who this module is, and where its hub and its workload API are.
#[derive(Debug, Clone)]
pub struct Environment {
    pub hub: String,
    pub gateway: String,
    pub device: String,
    pub module: String,
    pub generation: String,
    pub workload_uri: String,
    pub api_version: String,
}

impl Environment {
    pub fn read() -> Result<Self, Error> {
        let required = |name: &'static str| match env::var(name) {
            Ok(value) if !value.is_empty() => Ok(value),
            _ => Err(Error::Environment(name)),
        };
        Ok(Self {
            hub: required("IOTEDGE_IOTHUBHOSTNAME")?,
            gateway: required("IOTEDGE_GATEWAYHOSTNAME")?,
            device: required("IOTEDGE_DEVICEID")?,
            module: required("IOTEDGE_MODULEID")?,
            generation: required("IOTEDGE_MODULEGENERATIONID")?,
            workload_uri: required("IOTEDGE_WORKLOADURI")?,
            api_version: required("IOTEDGE_APIVERSION")?,
        })
    }

    /// The MQTT client identifier.
    pub fn client_id(&self) -> String {
        format!("{}/{}", self.device, self.module)
    }

    /// The MQTT user name. Its host is the cloud hub's, although the edge hub is spoken to.
    pub fn user_name(&self) -> String {
        format!(
            "{}/{}/?api-version=2021-04-12&DeviceClientType=edgectl-module-rust",
            self.hub,
            self.client_id()
        )
    }

    /// What a token of this module gives access to.
    pub fn audience(&self) -> String {
        format!(
            "{}/devices/{}/modules/{}",
            self.hub, self.device, self.module
        )
    }
}
