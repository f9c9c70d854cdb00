//! Who may connect: CONNECT, read as the proof of an identity.

use edgectl_hub::gateway::{Client, Credential, Gateway};
use edgectl_wire::mqtt::connect::{Connect, ConnectReturnCode, PROTOCOL_LEVEL};

use super::refusal::connect_code;
use crate::listen::Certificate;
use crate::mqtt::username::Username;

/// Finds out who connects, and whether the hub knows it. The error is what the client is told.
pub async fn admit(
    connect: &Connect,
    certificate: Certificate,
    gateway: &dyn Gateway,
) -> Result<Client, ConnectReturnCode> {
    if connect.protocol_level != PROTOCOL_LEVEL {
        return Err(ConnectReturnCode::ProtocolVersion);
    }
    let client = connect.client_id.as_str();
    let username = Username::parse(connect.username.as_deref().unwrap_or_default()).map_err(|error| {
        tracing::warn!(client, %error, "a connection was refused");
        ConnectReturnCode::NotAuthorized
    })?;
    if client != username.identity.to_string() {
        tracing::warn!(client, "a connection was refused: the user name is another client's");
        return Err(ConnectReturnCode::NotAuthorized);
    }
    // Without a password the certificate has to do.
    let password = connect.password.as_deref().filter(|password| !password.is_empty());
    let token = password.map(|password| String::from_utf8_lossy(password).into_owned());
    let Some(credential) = Credential::brought(token, username.auth_chain, certificate) else {
        tracing::warn!(client, "a connection was refused: there is neither a token nor a certificate");
        return Err(ConnectReturnCode::NotAuthorized);
    };
    gateway.authenticate(&username.identity, &credential).await.map_err(|refusal| {
        tracing::warn!(client, %refusal, "a connection was refused");
        connect_code(&refusal)
    })
}
