//! Which protocol has which behaviour. What a protocol lacks stands here with why; `lacking`, `sessions` and
//! `impersonation` show that it is so.

use crate::door::{DOORS, Door};

/// What the suite tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// A client proves who it is, in every way, and sends a message with properties.
    Telemetry,
    /// A module names the output that it sends to.
    Outputs,
    /// A module receives what routes take to its inputs.
    Inputs,
    /// A client reads its twin, reports, and is told of changed desired properties.
    Twins,
    /// A client answers methods.
    Methods,
    /// A module calls methods of others.
    Calls,
    /// A device takes messages from the cloud.
    CloudToDevice,
    /// A device rejects them, or gives them back.
    GivingBack,
    /// What a client listens to outlives its connection.
    Sessions,
    /// A second connection of a client ends the first.
    TakeOver,
}

/// At which hubs a protocol has a behaviour.
#[derive(Debug, Clone, Copy)]
enum Cell {
    Both,
    Edge,
    Cloud,
    Neither,
}

/// One of the two hubs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hub {
    Edge,
    Cloud,
}

impl std::fmt::Display for Hub {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(if *self == Self::Edge { "edge" } else { "cloud" })
    }
}

/// The columns are those of [`DOORS`]: MQTT over TLS, in a `WebSocket`, AMQP over TLS, in a `WebSocket`, HTTPS.
#[expect(clippy::match_same_arms, reason = "each row has a reason of its own")]
const fn row(behaviour: Behaviour) -> [Cell; 5] {
    use Cell::{Both, Cloud, Edge, Neither};
    match behaviour {
        Behaviour::Telemetry => [Both, Both, Both, Both, Both],
        // There is no header for it.
        Behaviour::Outputs => [Both, Both, Both, Both, Neither],
        // The cloud hub has no routes, and over HTTPS nothing comes to a module.
        Behaviour::Inputs => [Edge, Edge, Edge, Edge, Neither],
        // Over HTTPS twins are for services, at the cloud hub.
        Behaviour::Twins => [Both, Both, Both, Both, Neither],
        // The same: nothing comes over HTTPS.
        Behaviour::Methods => [Both, Both, Both, Both, Neither],
        // Modules call over HTTPS whatever they speak besides, and through the hub of their device alone.
        Behaviour::Calls => [Neither, Neither, Neither, Neither, Edge],
        // Devices that fetch their messages do so at the cloud hub.
        Behaviour::CloudToDevice => [Both, Both, Both, Both, Cloud],
        // PUBACK is all that MQTT has to say of a message.
        Behaviour::GivingBack => [Neither, Neither, Both, Both, Cloud],
        // A link of AMQP ends with its connection; a request of HTTPS leaves nothing at all.
        Behaviour::Sessions => [Both, Both, Neither, Neither, Neither],
        // Requests of HTTPS are no connections of a client.
        Behaviour::TakeOver => [Both, Both, Both, Both, Neither],
    }
}

impl Behaviour {
    /// The hubs and doors where it is.
    pub fn places(self) -> Vec<(Hub, Door)> {
        let at = |hub| self.doors(hub).into_iter().map(move |door| (hub, door));
        at(Hub::Edge).chain(at(Hub::Cloud)).collect()
    }

    /// The doors of a hub where it is.
    pub fn doors(self, hub: Hub) -> Vec<Door> {
        DOORS.into_iter().zip(row(self)).filter(|(_, cell)| cell.is_at(hub)).map(|(door, _)| door).collect()
    }

    /// The doors of a hub where it is not.
    pub fn lacking(self, hub: Hub) -> Vec<Door> {
        DOORS.into_iter().filter(|door| !self.doors(hub).contains(door)).collect()
    }
}

impl Cell {
    fn is_at(self, hub: Hub) -> bool {
        match self {
            Self::Both => true,
            Self::Edge => hub == Hub::Edge,
            Self::Cloud => hub == Hub::Cloud,
            Self::Neither => false,
        }
    }
}
