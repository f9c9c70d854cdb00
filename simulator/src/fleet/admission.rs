//! Who of a fleet may connect to its cloud hub. Nobody forges a proof inside one process, so none is asked for; but an
//! identity that is not registered, or disabled, is refused as it would be with one.

use edgectl_hub::cloud::hub::CloudHub;
use edgectl_hub::gateway::{Client, Refusal};
use edgectl_schemas::ids::Identity;

/// Lets an identity in, or says why not.
pub fn admit(cloud: &CloudHub, identity: &Identity) -> Result<Client, Refusal> {
    let device = Identity::device(identity.device.clone());
    for needed in [&device, identity] {
        match cloud.registry().get(needed) {
            None => return Err(Refusal::Unauthorized(format!("{needed} is not registered"))),
            Some(found) if !found.record.enabled => {
                return Err(Refusal::Unauthorized(format!("{needed} is disabled")));
            }
            Some(_) => {}
        }
    }
    Ok(Client { identity: identity.clone(), expires_at: None })
}
