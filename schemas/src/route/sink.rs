//! Where messages go.

use std::fmt;

use crate::ids::DeviceId;
use crate::route::error::{Problem, Span};

/// Identifier of the endpoint that is the cloud.
pub const CLOUD_ENDPOINT_ID: &str = "iothub";

/// A place that takes messages.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// The hub above this one: `$upstream`.
    Upstream,
    /// An input of a module on this device.
    Module {
        /// The module, unchecked as the hub leaves it.
        module: Box<str>,
        /// The input.
        input: Box<str>,
    },
}

/// A sink as it stands in the text of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    /// What it means.
    pub endpoint: Endpoint,
    /// Where it is: all of it.
    pub span: Span,
    /// Where the string of a function endpoint is, with its quotes.
    pub address: Option<Span>,
}

impl Endpoint {
    /// The endpoint of `$name`.
    pub fn system(name: &str) -> Result<Self, Problem> {
        if name.eq_ignore_ascii_case("$upstream") {
            Ok(Self::Upstream)
        } else {
            Err(Problem::SystemEndpoint(name.into()))
        }
    }

    /// The endpoint of `name(address)`, the address without its quotes and as it stands in the text.
    ///
    /// One slash at either end may be there or not; between them are four parts, of which the second is the
    /// module and the fourth the input. The hub does not look at the first and the third.
    pub fn function(name: &str, address: &str) -> Result<Self, Problem> {
        if !name.eq_ignore_ascii_case("BrokeredEndpoint") {
            return Err(Problem::FunctionEndpoint(name.into()));
        }
        let path = address.trim();
        let path = path.strip_prefix('/').unwrap_or(path);
        let path = path.strip_suffix('/').unwrap_or(path);
        match path.split('/').collect::<Vec<_>>().as_slice() {
            [_, module, _, input] => Ok(Self::Module { module: (*module).into(), input: (*input).into() }),
            _ => Err(Problem::EndpointAddress(address.into())),
        }
    }

    /// Identifier on a device, which names the queue and the metrics too: `iothub` or `{device}/{module}/{input}`.
    pub fn id(&self, device: &DeviceId) -> String {
        match self {
            Self::Upstream => CLOUD_ENDPOINT_ID.into(),
            Self::Module { module, input } => format!("{device}/{module}/{input}"),
        }
    }
}

/// As a route writes it.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upstream => f.write_str("$upstream"),
            Self::Module { module, input } => {
                write!(f, "BrokeredEndpoint(\"/modules/{module}/inputs/{input}\")")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_four_parts() {
        for (address, expected) in [
            ("/modules/m/inputs/i", Some("edge/m/i")),
            (" modules/m/inputs/i/ ", Some("edge/m/i")),
            ("/foo/m/bar/i", Some("edge/m/i")),
            ("//modules/m/inputs/i", None),
            ("/modules/m/inputs/i//", None),
            ("/modules/m", None),
            ("", None),
        ] {
            let device = DeviceId::new("edge").unwrap();
            let endpoint = Endpoint::function("brokeredendpoint", address).ok();
            assert_eq!(endpoint.map(|endpoint| endpoint.id(&device)).as_deref(), expected, "{address}");
        }
        assert!(Endpoint::function("Brokered", "/modules/m/inputs/i").is_err());
        assert_eq!(Endpoint::system("$UPSTREAM"), Ok(Endpoint::Upstream));
        assert!(Endpoint::system("$cloud").is_err());
    }
}
