//! `edgectl message send`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use edgectl_schemas::ids::{DeviceId, Identity};
use edgectl_schemas::sas::SharedKey;
use edgectl_simulator::client::device_client::{ClientOptions, DeviceClient, OnRefusal, SessionKind};
use edgectl_simulator::client::token::KeyTokens;
use edgectl_simulator::control::Request;
use edgectl_simulator::link::Link;
use edgectl_simulator::message::{Message, system};
use edgectl_simulator::state::{Endpoints, read_json};
use serde::Serialize;
use serde_json::Value;

use crate::commands::device::{ask, block_on};
use crate::commands::{leaf, module_name, target};
use crate::error::{CommandError, ErrorKind};
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::service::access;
use crate::service::client::ServiceClient;
use crate::settings::Context;
use crate::solution::solution::Solution;

const EXAMPLES: &str = "\
Examples:
  edgectl message send filter input1 '{\"machine\": {\"temperature\": 80}}'
  edgectl message send --leaf thermometer '{\"temperature\": 80}' -p room=kitchen
  edgectl message send --to-device thermometer '{\"interval\": 5}'    from the cloud
  edgectl message send filter input1 @reading.json";

const MQTT_PORT: u16 = 8883;
/// For the hub to take a message of a leaf device.
const LEAF_TIMEOUT: Duration = Duration::from_secs(30);

/// Put a message into an input of a module, or send one as a leaf device, or from the cloud to a device
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub struct Args {
    /// MODULE INPUT BODY; with --leaf or --to-device only BODY. The body is text, `@FILE`, or `-` for standard input
    #[arg(required = true, num_args = 1..=3, value_name = "MODULE INPUT BODY")]
    arguments: Vec<String>,
    /// Send as this leaf device; it is registered if it is not yet
    #[arg(long, value_name = "DEVICE")]
    leaf: Option<String>,
    /// Send from the cloud to this device; it waits in the cloud hub until the device takes it
    #[arg(long, value_name = "DEVICE", conflicts_with = "leaf")]
    to_device: Option<String>,
    /// When a message to a device is not wanted any more, as in 2030-01-01T00:00:00Z; after an hour without it
    #[arg(long, value_name = "TIME", requires = "to_device")]
    expiry: Option<String>,
    /// An application property
    #[arg(short, long = "property", value_name = "NAME=VALUE")]
    properties: Vec<String>,
    /// The content type; JSON where the body is JSON
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
}

#[derive(Serialize)]
struct Sent {
    from: String,
    to: String,
    bytes: usize,
    /// The device's own number of the message, for `edgectl message trace`.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
}

impl Report for Sent {
    fn text(&self, style: Style) -> String {
        let next =
            self.number.map(|number| format!("Next: {}\n", style.cyan(&format!("edgectl message trace {number}"))));
        format!("Sent {} bytes from {} to {}.\n{}", self.bytes, self.from, self.to, next.unwrap_or_default())
    }
}

/// Sends the message.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    let solution = context.solution()?;
    let usage = |text: &str| {
        Err(CommandError::usage(text)
            .hint("Give MODULE INPUT BODY, --leaf DEVICE BODY, or --to-device DEVICE BODY; `edgectl message send --help` has examples."))
    };
    let sent = match (args.leaf.as_ref().or(args.to_device.as_ref()), &args.arguments[..]) {
        (None, [module, input, body]) => {
            let message = message(&args, body, context)?;
            to_input(&solution, module, input, message)?
        }
        (Some(device), [body]) => {
            let message = message(&args, body, context)?;
            if args.leaf.is_some() {
                as_leaf(&solution, device, message)?
            } else {
                to_device(&solution, device, message)?
            }
        }
        (None, _) => return usage("a module, an input and a body are needed"),
        (Some(_), _) => return usage("a message of or to a device has no module and no input: only a body is needed"),
    };
    context.printer.result(&sent);
    Ok(())
}

fn message(args: &Args, body: &str, context: &Context) -> Result<Message, CommandError> {
    let body = target::bytes_argument(body, &context.settings.directory)?;
    let is_json = serde_json::from_slice::<Value>(&body).is_ok();
    let mut message = Message::new(body);
    for property in &args.properties {
        let (name, value) = property.split_once('=').ok_or_else(|| {
            CommandError::usage(format!("property {property:?} has no value")).hint("Give NAME=VALUE.")
        })?;
        message.properties.set(name, value.to_owned());
    }
    let content_type = args.content_type.clone().or_else(|| is_json.then(|| "application/json".to_owned()));
    if let Some(content_type) = content_type {
        message.system.set(system::CONTENT_TYPE, content_type);
        message.system.set(system::CONTENT_ENCODING, "utf-8".to_owned());
    }
    if let Some(expiry) = &args.expiry {
        message.system.set(system::EXPIRY, expiry.clone());
    }
    Ok(message)
}

/// Sends from the cloud, as a service does.
fn to_device(solution: &Solution, device: &str, message: Message) -> Result<Sent, CommandError> {
    let service = ServiceClient::new(access::simulated(solution)?)?;
    block_on(service.send_to_device(device, &message))??;
    Ok(Sent { from: "the cloud".to_owned(), to: device.to_owned(), bytes: message.body.len(), number: None })
}

fn to_input(solution: &Solution, module: &str, input: &str, message: Message) -> Result<Sent, CommandError> {
    let pairs = |properties: &edgectl_simulator::message::Properties| {
        properties.iter().map(|(name, value)| (name.to_owned(), value.unwrap_or_default().to_owned())).collect()
    };
    let request = Request::Send {
        module: module.to_owned(),
        input: input.to_owned(),
        body: BASE64.encode(&message.body),
        properties: pairs(&message.properties),
        system: pairs(&message.system),
    };
    let state = solution.device_state();
    let number = block_on(async {
        match ask(&state, &request).await {
            Ok(number) => Ok(number.as_u64()),
            Err(error) => Err(module_name::error(error, &[module.to_owned()], &state).await),
        }
    })??;
    Ok(Sent { from: "edgectl".to_owned(), to: format!("{module}/{input}"), bytes: message.body.len(), number })
}

/// Sends over MQTT, as a leaf device does: through the edge hub, with a key of its own.
fn as_leaf(solution: &Solution, leaf: &str, message: Message) -> Result<Sent, CommandError> {
    let leaf_id = DeviceId::new(leaf).map_err(|error| CommandError::usage(format!("leaf device {leaf:?}: {error}")))?;
    if leaf_id == solution.device {
        return Err(CommandError::usage(format!("{leaf} is the edge device itself"))
            .hint("Give another name; the leaf device is registered under it."));
    }
    let hub = access::simulated(solution)?;
    let trust_bundle = hub.trust_bundle.clone().unwrap_or_default();
    let hub_host = hub.host.clone();
    let state = solution.device_state();
    let endpoints: Endpoints = read_json(&state.endpoints()).map_err(access::damaged)?.ok_or_else(access::no_device)?;
    let service = ServiceClient::new(hub)?;
    let bytes = message.body.len();
    block_on(async {
        let key = leaf::key(&leaf::register(&service, &solution.device, leaf).await?, leaf)?;
        let identity = Identity::device(leaf_id);
        let client = connect(&endpoints, hub_host, &trust_bundle, identity, key)?;
        let sending = async {
            client.wait_connected().await?;
            client.send(message).await
        };
        let sent = tokio::time::timeout(LEAF_TIMEOUT, sending).await;
        client.close().await;
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(CommandError::failed(format!("the edge hub did not take the message: {error}"))),
            Err(_) => Err(CommandError::new(ErrorKind::TimedOut, "the edge hub did not take the message in time")),
        }
    })??;
    Ok(Sent { from: leaf.to_owned(), to: endpoints.gateway_host_name, bytes, number: None })
}

fn connect(
    endpoints: &Endpoints,
    hub_host: String,
    trust_bundle: &str,
    identity: Identity,
    key: SharedKey,
) -> Result<DeviceClient, CommandError> {
    let failed = |error: &dyn std::fmt::Display| CommandError::failed(format!("the edge hub's address: {error}"));
    let gateway: std::net::IpAddr = endpoints.gateway_host_name.parse().map_err(|error| failed(&error))?;
    let tls = edgectl_simulator::tls::client_config(trust_bundle).map_err(|error| failed(&error))?;
    let tokens = Arc::new(KeyTokens::new(&hub_host, &identity, key));
    let (client, mut events) = DeviceClient::start(ClientOptions {
        link: Link::default(),
        hub_host,
        address: SocketAddr::new(gateway, MQTT_PORT),
        server_name: gateway.into(),
        identity,
        tls,
        tokens,
        product: concat!("edgectl/", env!("CARGO_PKG_VERSION")).to_owned(),
        auth_chain: None,
        keep_alive: Duration::from_mins(1),
        session: SessionKind::Clean,
        refusal: OnRefusal::End,
    });
    // Nothing is subscribed, so nothing is of interest here.
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    Ok(client)
}
