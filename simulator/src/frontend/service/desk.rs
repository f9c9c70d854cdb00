//! The addresses of the service.

use std::sync::{Arc, Weak};

use edgectl_hub::auth::Right;
use edgectl_hub::cloud::cloud_to_device::QueueError;
use edgectl_hub::cloud::hub::{CloudHub, SendError};
use edgectl_hub::gateway::Refusal;
use edgectl_hub::message::system;
use edgectl_schemas::ids::{DeviceId, Identity};
use edgectl_schemas::sas::decode;
use edgectl_wire::amqp::attach::Attach;
use edgectl_wire::amqp::condition::{ARGUMENT, ErrorCondition, INTERNAL, MESSAGE_SIZE, NOT_FOUND, REDIRECT};
use edgectl_wire::amqp::message::AnnotatedMessage;
use edgectl_wire::amqp::value::{Symbol, Value};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::events::{Consumers, PartitionAddress};
use super::{management, told};
use crate::amqp::address::{HubEnd, path};
use crate::amqp::message::read;
use crate::custom_endpoints::settings::Routes;
use crate::frontend::amqp::desk::{Desk, LinkEnd};
use crate::frontend::amqp::link::Outbound;
use crate::ports::AMQP_PORT;

/// The name of a device's queue is full, in the service's words.
/// The name of the endpoint of events; any other will do as well.
const ENTITY: &str = "events";
const QUEUE_FULL: Symbol = Symbol::new("com.microsoft:device-maximum-queue-depth-exceeded");
/// Messages that wait for a link's credit.
pub(super) const LINE: usize = 64;

/// The desk of a cloud hub.
pub struct ServiceDesk {
    hub: Weak<CloudHub>,
    built_in: Arc<Routes>,
    consumers: Arc<Consumers>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// What an address is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// Messages to devices.
    ToDevices,
    /// What became of them.
    Feedback,
    /// Files that devices uploaded.
    Files,
    /// Questions about the endpoint.
    Management,
    /// Messages of devices.
    Partition(PartitionAddress),
    /// What tools ask the hub for to find the endpoint.
    Elsewhere,
}

impl Place {
    /// Reads an address, which clients write with and without a scheme and a host, and in any case.
    fn read(address: &str, hub: HubEnd) -> Option<Self> {
        let path = path(address).trim_matches('/');
        let lower = path.to_ascii_lowercase();
        match (lower.as_str(), hub) {
            ("messages/devicebound", HubEnd::Receives) => return Some(Self::ToDevices),
            ("messages/servicebound/feedback", HubEnd::Sends) => return Some(Self::Feedback),
            ("messages/servicebound/filenotifications", HubEnd::Sends) => return Some(Self::Files),
            ("messages/events" | "messages/events/$management", HubEnd::Sends) => return Some(Self::Elsewhere),
            _ => {}
        }
        if lower.split('/').next_back() == Some("$management") {
            return Some(Self::Management);
        }
        (hub == HubEnd::Sends).then(|| PartitionAddress::read(path).map(Self::Partition)).flatten()
    }
}

impl ServiceDesk {
    /// The desk of a hub, with what consumers of its built-in endpoint see. What it does for them ends at shutdown.
    pub fn new(hub: &Arc<CloudHub>, built_in: Routes, tasks: TaskTracker, shutdown: CancellationToken) -> Arc<Self> {
        let (hub, built_in) = (Arc::downgrade(hub), Arc::new(built_in));
        Arc::new(Self { hub, built_in, consumers: Arc::default(), tasks, shutdown })
    }

    fn hub(&self) -> Result<Arc<CloudHub>, ErrorCondition> {
        self.hub.upgrade().ok_or_else(|| ErrorCondition::new(INTERNAL, "the hub is shutting down"))
    }

    fn send_to_device(&self, message: AnnotatedMessage) -> Result<(), ErrorCondition> {
        let wrong = |text: &str| ErrorCondition::new(ARGUMENT, text);
        let message = read(message).map_err(|error| ErrorCondition::new(ARGUMENT, error.to_string()))?;
        let to = message.system.get(system::TO).unwrap_or_default();
        let written = match to.trim_start_matches('/').split('/').collect::<Vec<_>>()[..] {
            [devices, device, messages, bound]
                if devices.eq_ignore_ascii_case("devices")
                    && messages.eq_ignore_ascii_case("messages")
                    && bound.eq_ignore_ascii_case("devicebound") =>
            {
                device
            }
            _ => return Err(wrong("`to` does not name a device: /devices/{device}/messages/devicebound")),
        };
        let hub = self.hub()?;
        // Some clients encode the name and some do not, and a name may look as if it were encoded.
        let as_written = DeviceId::new(written).ok().filter(|device| is_known(&hub, device));
        let device = as_written.map_or_else(|| DeviceId::new(&decode(written)), Ok);
        let device = device.map_err(|error| wrong(&error.to_string()))?;
        hub.send_to_device(&device, message).map_err(|error| {
            let condition = match &error {
                SendError::Registry(_) => NOT_FOUND,
                SendError::Queue(QueueError::Full(_)) => QUEUE_FULL,
                SendError::Queue(QueueError::TooLarge(_)) => MESSAGE_SIZE,
                SendError::Queue(QueueError::Expiry(_)) => ARGUMENT,
                SendError::Queue(QueueError::Documents(_)) => INTERNAL,
            };
            ErrorCondition::new(condition, error.to_string())
        })
    }
}

/// Where the endpoint is: at the same hub, but by an address of its own.
fn redirect(host: &str) -> ErrorCondition {
    let mut error = ErrorCondition::new(REDIRECT, "the endpoint of events is elsewhere");
    let address = format!("amqps://{host}:{AMQP_PORT}/{ENTITY}/$management");
    for (name, value) in [("hostname", host), ("network-host", host), ("address", &address)] {
        error.info.put_symbol(name, value.into());
    }
    error.info.put_symbol("port", Value::Int(i32::from(AMQP_PORT)));
    error
}

fn is_known(hub: &CloudHub, device: &DeviceId) -> bool {
    hub.registry().get(&Identity::device(device.clone())).is_some()
}

impl Desk for ServiceDesk {
    fn authorize(&self, token: &str) -> Result<u64, Refusal> {
        let hub = self.hub.upgrade().ok_or_else(|| Refusal::Unavailable("the hub is shutting down".to_owned()))?;
        hub.authorize(token, Right::ServiceConnect).map_err(|error| Refusal::Unauthorized(error.to_string()))
    }

    fn name(&self, address: &str, hub: HubEnd) -> Option<String> {
        Place::read(address, hub)?;
        Some(path(address).trim_matches('/').to_owned())
    }

    fn open(
        &self,
        name: &str,
        attach: &Attach,
        end: LinkEnd,
    ) -> Result<Option<mpsc::Receiver<Outbound>>, ErrorCondition> {
        let hub = self.hub()?;
        let (sender, line) = mpsc::channel(LINE);
        let work: futures_util::future::BoxFuture<'static, ()> = match Place::read(name, HubEnd::Sends) {
            Some(Place::Partition(address)) => {
                let consumer = self.consumers.begin(address, attach, &hub, end)?;
                Box::pin(consumer.run(hub, Arc::clone(&self.built_in), sender))
            }
            Some(Place::Feedback) => Box::pin(told::feedback(hub, sender)),
            Some(Place::Files) => Box::pin(told::files(hub, sender)),
            Some(Place::Management) => return Ok(None),
            Some(Place::Elsewhere) => return Err(redirect(hub.host())),
            Some(Place::ToDevices) | None => return Err(ErrorCondition::new(NOT_FOUND, name)),
        };
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = work => {}
            }
        });
        Ok(Some(line))
    }

    fn take(&self, name: &str, message: AnnotatedMessage) -> Result<Option<AnnotatedMessage>, ErrorCondition> {
        match Place::read(name, HubEnd::Receives) {
            Some(Place::ToDevices) => self.send_to_device(message).map(|()| None),
            Some(Place::Management) => Ok(Some(management::answer(&*self.hub()?, message))),
            _ => Err(ErrorCondition::new(NOT_FOUND, name)),
        }
    }
}
