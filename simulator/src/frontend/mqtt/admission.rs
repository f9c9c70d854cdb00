//! Who may connect: CONNECT, read as the proof of an identity.

use edgectl_hub::gateway::{Client, Credential, Gateway};
use edgectl_wire::mqtt::connect::{Connect, ConnectReturnCode, PROTOCOL_LEVEL};

use super::refusal::connect_code;
use crate::mqtt::username::Username;

/// Finds out who connects, and whether the hub knows it. The error is what the client is told.
pub async fn admit(
    connect: &Connect,
    certificates: Vec<Vec<u8>>,
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
    let credential = credential(connect, username.auth_chain, certificates);
    gateway.authenticate(&username.identity, &credential).await.map_err(|refusal| {
        tracing::warn!(client, %refusal, "a connection was refused");
        connect_code(&refusal)
    })
}

/// A password is a token; without one the certificate of the TLS handshake has to do.
fn credential(connect: &Connect, chain: Option<String>, certificates: Vec<Vec<u8>>) -> Credential {
    let password = connect.password.as_deref().filter(|password| !password.is_empty());
    match (password.map(|password| String::from_utf8_lossy(password).into_owned()), chain) {
        (Some(token), None) => Credential::Token(token),
        (Some(token), Some(chain)) => Credential::OnBehalfOf { token, chain },
        (None, _) => Credential::Certificate(certificates),
    }
}
