//! `edgectl leaf`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use edgectl_schemas::ids::{DeviceId, Identity, ModuleId};
use edgectl_schemas::sas::SharedKey;
use edgectl_simulator::authority::{Authority, self_signed_client};
use edgectl_simulator::state::{Endpoints, read_json, write_private};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::commands::device::block_on;
use crate::commands::target;
use crate::error::CommandError;
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::output::table::columns;
use crate::service::access;
use crate::service::client::ServiceClient;
use crate::settings::Context;
use crate::solution::solution::Solution;

const EXAMPLES: &str = "\
Examples:
  edgectl leaf add thermometer                 print its connection string
  edgectl leaf add thermometer -o leaf.txt     write it into a file that only you can read
  edgectl leaf add thermometer --x509          with a certificate of its own instead of a key
  edgectl leaf list
  edgectl leaf remove thermometer";

/// For the edge hub to hear of a leaf device that was removed.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(5);

/// Leaf devices: devices that connect through the edge hub
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Add(Add),
    List,
    Remove {
        /// The leaf device
        name: String,
    },
}

/// Register a leaf device and print the connection string that its SDK takes; one that is registered keeps its keys
#[derive(Debug, clap::Args)]
struct Add {
    /// Its name
    name: String,
    /// Write the connection string into this file, for you alone, and do not print it
    #[arg(short, long, value_name = "FILE", conflicts_with = "x509")]
    output: Option<PathBuf>,
    /// Authenticate with a new certificate instead of a key; the registry knows it by its thumbprint, or by the
    /// development authority that signed it
    #[arg(long, value_name = "KIND", num_args = 0..=1, require_equals = true, default_missing_value = "self-signed")]
    x509: Option<CertificateKind>,
    /// Where the certificate and its key are written, for you alone: NAME.cert.pem and NAME.key.pem
    #[arg(long, value_name = "DIR", default_value = ".", requires = "x509")]
    certificates: PathBuf,
}

/// Who vouches for a certificate.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum CertificateKind {
    /// Nobody but the device
    SelfSigned,
    /// The solution's development authority
    Authority,
}

/// A leaf device, and how it connects.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Added {
    device_id: String,
    gateway_host_name: String,
    hub_host_name: String,
    trust_bundle: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_string: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    written_to: Option<PathBuf>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    files: Option<CertificateFiles>,
}

/// Where a certificate lies.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CertificateFiles {
    certificate: PathBuf,
    private_key: PathBuf,
}

impl Report for Added {
    fn text(&self, style: Style) -> String {
        let connection = match (&self.connection_string, &self.written_to) {
            (Some(text), _) => text.clone(),
            (None, Some(path)) => format!("in {}", path.display()),
            (None, None) => String::new(),
        };
        let mut text = format!(
            "Leaf device {} connects through {}.\n  connection string  {connection}\n  trust bundle       {}\n",
            style.bold(&self.device_id),
            self.gateway_host_name,
            self.trust_bundle.display(),
        );
        if let Some(CertificateFiles { certificate, private_key }) = &self.files {
            text.push_str(&format!(
                "  certificate        {}\n  private key        {}\n",
                certificate.display(),
                private_key.display()
            ));
        }
        text
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Listed(Vec<Leaf>);

/// A leaf device at a glance.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Leaf {
    device_id: String,
    status: String,
    authentication: String,
    connection_state: String,
    waiting_messages: u64,
}

impl Report for Listed {
    fn text(&self, _style: Style) -> String {
        if self.0.is_empty() {
            return "No leaf devices.\n".to_owned();
        }
        let mut rows = vec![["LEAF", "STATUS", "AUTHENTICATION", "CONNECTION", "WAITING"].map(str::to_owned).to_vec()];
        rows.extend(self.0.iter().map(|leaf| {
            let Leaf { device_id, status, authentication, connection_state, waiting_messages } = leaf;
            let texts = [device_id, status, authentication, connection_state].map(Clone::clone);
            texts.into_iter().chain([waiting_messages.to_string()]).collect()
        }));
        columns(&rows)
    }
}

#[derive(Serialize)]
struct Removed {
    removed: String,
}

impl Report for Removed {
    fn text(&self, _style: Style) -> String {
        format!("Leaf device {} is removed.\n", self.removed)
    }
}

/// Dispatches.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    let solution = context.solution()?;
    let service = ServiceClient::new(access::simulated(&solution)?)?;
    match args.command {
        Command::Add(args) => {
            let added = add(&args, &solution, &service, &context.settings.directory)?;
            context.printer.result(&added);
        }
        Command::List => context.printer.result(&Listed(block_on(list(&service, &solution.device))??)),
        Command::Remove { name } => {
            block_on(remove(&service, &solution.device, &name))??;
            context.printer.result(&Removed { removed: name });
        }
    }
    Ok(())
}

fn add(args: &Add, solution: &Solution, service: &ServiceClient, directory: &Path) -> Result<Added, CommandError> {
    let state = solution.device_state();
    let endpoints: Endpoints = read_json(&state.endpoints()).map_err(access::damaged)?.ok_or_else(access::no_device)?;
    let registration = block_on(register(service, &solution.device, &args.name))??;
    let (proof, files) = match args.x509 {
        None => (format!("SharedAccessKey={}", key(&registration, &args.name)?.to_base64()), None),
        Some(kind) => {
            let (files, authentication) = certify(args, kind, &solution.device, &endpoints, directory)?;
            let wanted = json!({ "deviceId": args.name, "authentication": authentication });
            block_on(service.change_device(&args.name, &wanted))??;
            ("x509=true".to_owned(), Some(files))
        }
    };
    let Endpoints { gateway_host_name, hub_host_name, trust_bundle, .. } = endpoints;
    let name = &args.name;
    let connection_string =
        format!("HostName={hub_host_name};DeviceId={name};{proof};GatewayHostName={gateway_host_name}");
    let written_to = args.output.as_ref().map(|path| directory.join(path));
    if let Some(path) = &written_to {
        write_private(path, format!("{connection_string}\n").as_bytes())
            .map_err(|error| CommandError::failed(error.to_string()))?;
    }
    let connection_string = written_to.is_none().then_some(connection_string);
    Ok(Added {
        device_id: name.clone(),
        gateway_host_name,
        hub_host_name,
        trust_bundle,
        connection_string,
        written_to,
        files,
    })
}

/// Makes a certificate for a leaf device and writes it down. Returns what the registry has to know of it, too.
fn certify(
    args: &Add,
    kind: CertificateKind,
    edge: &DeviceId,
    endpoints: &Endpoints,
    directory: &Path,
) -> Result<(CertificateFiles, Value), CommandError> {
    let failed = |error: &dyn std::fmt::Display| CommandError::failed(error.to_string());
    let (identity, now) = (target::leaf(&args.name)?, Timestamp::now());
    let (issued, authentication) = match kind {
        CertificateKind::SelfSigned => {
            let issued = self_signed_client(&identity, now).map_err(|error| failed(&error))?;
            let [_, sha256] = &issued.thumbprints;
            // The second place is for the next certificate; there is none yet.
            let thumbprints = json!({ "primaryThumbprint": sha256, "secondaryThumbprint": sha256 });
            (issued, json!({ "type": "selfSigned", "x509Thumbprint": thumbprints }))
        }
        CertificateKind::Authority => {
            let authority = Authority::open(endpoints.authority(), edge, now).map_err(|error| failed(&error))?;
            let issued = authority.issue_client(&identity, now).map_err(|error| failed(&error))?;
            (issued, json!({ "type": "certificateAuthority" }))
        }
    };
    let place = directory.join(&args.certificates);
    std::fs::create_dir_all(&place).map_err(|error| failed(&format!("{}: {error}", place.display())))?;
    let files = CertificateFiles {
        certificate: place.join(format!("{}.cert.pem", args.name)),
        private_key: place.join(format!("{}.key.pem", args.name)),
    };
    for (path, text) in [(&files.private_key, issued.private_key_pem), (&files.certificate, issued.certificate_pem)] {
        write_private(path, text.as_bytes()).map_err(|error| failed(&error))?;
    }
    Ok((files, authentication))
}

/// The registration of a leaf device under an edge device; it is made if there is none.
pub async fn register(service: &ServiceClient, edge: &DeviceId, leaf: &str) -> Result<Value, CommandError> {
    DeviceId::new(leaf).map_err(|error| CommandError::usage(format!("leaf device {leaf:?}: {error}")))?;
    let scope = scope_of(service, edge).await?;
    match service.find_device(leaf).await? {
        Some(registration) if is_leaf_in(&registration, &scope) => Ok(registration),
        Some(_) => Err(CommandError::failed(format!("{leaf} is registered, but not as a leaf device of {edge}"))
            .hint("Choose another name.")),
        None => {
            let wanted = json!({ "deviceId": leaf, "deviceScope": scope, "capabilities": { "iotEdge": false } });
            service.put_device(leaf, &wanted).await
        }
    }
}

/// The key with which a leaf device is registered.
pub fn key(registration: &Value, leaf: &str) -> Result<SharedKey, CommandError> {
    let key = registration.pointer("/authentication/symmetricKey/primaryKey").and_then(Value::as_str);
    SharedKey::from_base64(key.unwrap_or_default())
        .map_err(|_| CommandError::failed(format!("leaf device {leaf} does not authenticate with a key")))
}

/// The scope of an edge device.
pub async fn scope_of(service: &ServiceClient, edge: &DeviceId) -> Result<String, CommandError> {
    let registration = service.device(edge.as_str()).await?;
    let scope = registration.get("deviceScope").and_then(Value::as_str);
    scope.map(str::to_owned).ok_or_else(|| CommandError::failed(format!("{edge} has no scope for other devices")))
}

fn is_leaf_in(registration: &Value, scope: &str) -> bool {
    let is_edge = registration.pointer("/capabilities/iotEdge").and_then(Value::as_bool).unwrap_or(false);
    !is_edge && registration.get("deviceScope").and_then(Value::as_str) == Some(scope)
}

async fn list(service: &ServiceClient, edge: &DeviceId) -> Result<Vec<Leaf>, CommandError> {
    let scope = scope_of(service, edge).await?;
    let devices = service.devices().await?;
    let leaves = devices.iter().filter(|device| is_leaf_in(device, &scope));
    Ok(leaves
        .map(|leaf| {
            let text = |pointer: &str| leaf.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            Leaf {
                device_id: text("/deviceId"),
                status: text("/status"),
                authentication: text("/authentication/type"),
                connection_state: text("/connectionState"),
                waiting_messages: leaf.get("cloudToDeviceMessageCount").and_then(Value::as_u64).unwrap_or_default(),
            }
        })
        .collect())
}

async fn remove(service: &ServiceClient, edge: &DeviceId, leaf: &str) -> Result<(), CommandError> {
    let scope = scope_of(service, edge).await?;
    let found = service.find_device(leaf).await?;
    if !found.is_some_and(|registration| is_leaf_in(&registration, &scope)) {
        return Err(CommandError::failed(format!("{edge} has no leaf device {leaf}"))
            .hint("Run `edgectl leaf list` to see them."));
    }
    service.remove_device(leaf).await?;
    // The edge hub looks by itself every few minutes; that it cannot be told now changes nothing.
    let edge_hub = Identity::module(edge.clone(), ModuleId::edge_hub());
    let ids = json!({ "deviceIds": [leaf] });
    let refresh = service.invoke(&edge_hub, "RefreshDeviceScopeIdentityCache", &ids, Duration::ZERO, REFRESH_TIMEOUT);
    drop(refresh.await);
    Ok(())
}
