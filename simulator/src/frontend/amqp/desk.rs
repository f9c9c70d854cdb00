//! What a hub offers to services on a connection, beside what it offers to clients. The front end knows no more of it than
//! this: an address is the service's or not, messages come from it and go to it.

use edgectl_hub::gateway::Refusal;
use edgectl_wire::amqp::attach::Attach;
use edgectl_wire::amqp::condition::ErrorCondition;
use edgectl_wire::amqp::message::AnnotatedMessage;
use tokio::sync::mpsc;

use super::link::Outbound;
use super::member::Place;
use crate::amqp::address::HubEnd;

/// The service of a hub.
pub trait Desk: Send + Sync {
    /// Checks a policy's token. Returns when it expires, in seconds since the Unix epoch.
    fn authorize(&self, token: &str) -> Result<u64, Refusal>;

    /// What an address is called if it is one of the service's in that direction, the same for all ways to write it.
    fn name(&self, address: &str, hub: HubEnd) -> Option<String>;

    /// Opens a link on which a service receives. None where only answers go.
    fn open(
        &self,
        name: &str,
        attach: &Attach,
        end: LinkEnd,
    ) -> Result<Option<mpsc::Receiver<Outbound>>, ErrorCondition>;

    /// Takes a message. The answer, if there is one, goes on the link of the same name.
    fn take(&self, name: &str, message: AnnotatedMessage) -> Result<Option<AnnotatedMessage>, ErrorCondition>;
}

/// With which the service ends one of its links.
#[derive(Clone)]
pub struct LinkEnd {
    pub(super) place: Place,
    pub(super) ended: mpsc::UnboundedSender<(Place, ErrorCondition)>,
}

impl LinkEnd {
    /// Ends the link for a reason.
    pub fn end(&self, error: ErrorCondition) {
        // The connection may be over.
        let _ = self.ended.send((self.place, error));
    }
}
