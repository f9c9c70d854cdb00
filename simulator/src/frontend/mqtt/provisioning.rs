//! A device that speaks MQTT with the provisioning service, which has topics of its own on the hub's listeners.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use edgectl_hub::clock::{Clock, within};
use edgectl_hub::gateway::{Credential, Gateway};
use edgectl_hub::provisioning::{Applicant, Operation, Provisioning, ProvisioningRefusal};
use edgectl_wire::mqtt::connect::{ConnAck, Connect, ConnectReturnCode};
use edgectl_wire::mqtt::packet::{Packet, QualityOfService};
use edgectl_wire::mqtt::publish::{Delivery, Publish};
use edgectl_wire::mqtt::subscribe::SubAck;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::stream::PacketStream;
use crate::frontend::http::provisioning::{RETRY_AFTER_SECONDS, begun, done};
use crate::listen::Certificate;
use crate::provisioning_error;

const REGISTER: &str = "$dps/registrations/PUT/iotdps-register/";
const OPERATION: &str = "$dps/registrations/GET/iotdps-get-operationstatus/";
const ANSWERS: &str = "$dps/registrations/res/";
/// A device is done within this time; it asks for little.
const LIFETIME: Duration = Duration::from_mins(5);

/// Who connects, if the user name is one for the provisioning service: `{scope}/registrations/{registration}/api-version=…`.
pub fn applicant(connect: &Connect, certificate: &Certificate) -> Option<Result<Applicant, ConnectReturnCode>> {
    let mut parts = connect.username.as_deref()?.splitn(4, '/');
    let (scope, word, registration) = (parts.next()?, parts.next()?, parts.next()?);
    if word != "registrations" || !parts.next().is_some_and(|rest| rest.starts_with("api-version=")) {
        return None;
    }
    let password = connect.password.as_deref().filter(|password| !password.is_empty());
    let token = password.map(|password| String::from_utf8_lossy(password).into_owned());
    let credential = Credential::brought(token, None, certificate.clone());
    Some(match credential {
        Some(credential) if connect.client_id == registration => {
            Ok(Applicant { scope: scope.to_owned(), registration_id: registration.to_owned(), credential })
        }
        _ => Err(ConnectReturnCode::NotAuthorized),
    })
}

/// Serves a device until it leaves.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut PacketStream<S>,
    applicant: Result<Applicant, ConnectReturnCode>,
    gateway: &Arc<dyn Gateway>,
    clock: &dyn Clock,
    shutdown: &CancellationToken,
) {
    let service = gateway.provisioning().ok_or(ConnectReturnCode::NotAuthorized);
    let admitted = service.and_then(|service| {
        let applicant = applicant?;
        match service.admit(&applicant) {
            Ok(()) => Ok((service, applicant)),
            Err(refusal) => {
                tracing::warn!(registration = applicant.registration_id, %refusal, "a registration was refused");
                Err(ConnectReturnCode::NotAuthorized)
            }
        }
    });
    let (service, applicant) = match admitted {
        Ok(admitted) => admitted,
        Err(code) => return stream.put(&Packet::ConnAck(ConnAck { session_present: false, code })),
    };
    let code = ConnectReturnCode::Accepted;
    stream.put(&Packet::ConnAck(ConnAck { session_present: false, code }));
    let conversation = async {
        while let Ok(Some(packet)) = stream.next().await {
            match packet {
                Packet::Publish(publish) => {
                    if let Delivery::AtLeastOnce { id, .. } = publish.delivery {
                        stream.put(&Packet::PubAck(id));
                    }
                    // Anything else that is published ends the connection, as with the hub.
                    let Some(answer) = answer(service, &applicant, &publish.topic) else { return };
                    stream.put(&answer);
                }
                Packet::Subscribe(subscribe) => {
                    let granted = |filter: &str| filter.starts_with(ANSWERS).then_some(QualityOfService::AtLeastOnce);
                    let granted = subscribe.filters.iter().map(|(filter, _)| granted(filter)).collect();
                    stream.put(&Packet::SubAck(SubAck { id: subscribe.id, granted }));
                }
                Packet::Unsubscribe(unsubscribe) => stream.put(&Packet::UnsubAck(unsubscribe.id)),
                Packet::PingReq => stream.put(&Packet::PingResp),
                // Answers are not acknowledged.
                _ => return,
            }
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        _ = within(clock, LIFETIME, conversation) => {}
    }
}

/// What is answered to a message; none if it is not one for the service.
fn answer(service: &dyn Provisioning, applicant: &Applicant, topic: &str) -> Option<Packet> {
    let (is_register, parameters) = match (topic.strip_prefix(REGISTER), topic.strip_prefix(OPERATION)) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return None,
    };
    let parameters = parameters.strip_prefix('?')?;
    let parameter = |name: &str| parameters.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let request = parameter("$rid")?;
    let told: Result<(u16, Value), ProvisioningRefusal> = if is_register {
        service.register(applicant).map(|operation: Operation| (202, begun(&operation)))
    } else {
        let id = parameter("operationId").unwrap_or_default();
        service.operation(applicant, id).map(|operation| (200, done(&operation)))
    };
    let (status, body) = told.unwrap_or_else(|refusal| provisioning_error::of(&refusal));
    let delay = if status == 202 { format!("&retry-after={RETRY_AFTER_SECONDS}") } else { String::new() };
    Some(Packet::Publish(Publish {
        topic: format!("{ANSWERS}{status}/?$rid={request}{delay}"),
        payload: Bytes::from(body.to_string()),
        delivery: Delivery::AtMostOnce,
        retain: false,
    }))
}
