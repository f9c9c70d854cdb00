//! `edgectl enrollment`.

use std::path::PathBuf;

use edgectl_simulator::state::write_private;
use serde::Serialize;
use serde_json::{Value, json};

use crate::commands::device::block_on;
use crate::error::CommandError;
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::output::table::columns;
use crate::service::access;
use crate::service::client::ServiceClient;
use crate::settings::Context;

const EXAMPLES: &str = "\
Examples:
  edgectl enrollment add thermometer                       print the key with which it registers
  edgectl enrollment add thermometer -o key.txt            write it into a file that only you can read
  edgectl enrollment add pump --certificate pump.cert.pem  a device that registers with a certificate
  edgectl enrollment add floor --group --edge              many devices, with keys derived from the group's
  edgectl enrollment add hall --group --certificate ca.pem many devices, with certificates that an authority signed
  edgectl enrollment list
  edgectl enrollment remove floor --group";

/// Devices that may register with the simulated provisioning service
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Add(Add),
    /// What devices need to know of the service, and who may register
    List,
    /// Devices that registered stay with the hub
    Remove {
        /// The enrolment
        name: String,
        /// It is a group
        #[arg(long)]
        group: bool,
    },
}

/// Let a device, or a group of devices, register; the service makes up the keys
#[derive(Debug, clap::Args)]
struct Add {
    /// The name with which the device registers, or that of the group
    name: String,
    /// Many devices: each has the key that is derived from the group's and its name
    #[arg(long)]
    group: bool,
    /// The device's name at the hub, if it is another one
    #[arg(long, value_name = "NAME", conflicts_with = "group")]
    device_id: Option<String>,
    /// They become edge devices
    #[arg(long)]
    edge: bool,
    /// A tag that the device's twin begins with
    #[arg(long = "tag", value_name = "NAME=VALUE")]
    tags: Vec<String>,
    /// The certificate with which the device registers, or the authority that signed those of a group's devices, PEM
    #[arg(long, value_name = "FILE", conflicts_with = "output")]
    certificate: Option<PathBuf>,
    /// Devices register with certificates of the solution's development authority
    #[arg(long, requires = "group", conflicts_with_all = ["output", "certificate"])]
    authority: bool,
    /// Write the key into this file, for you alone, and do not print it
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// An enrolment, and what a device needs to register.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Added {
    name: String,
    service_host: String,
    id_scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    written_to: Option<PathBuf>,
}

impl Report for Added {
    fn text(&self, style: Style) -> String {
        let Self { name, service_host, id_scope, .. } = self;
        let mut text =
            format!("{} may register.\n  service host  {service_host}\n  ID scope      {id_scope}\n", style.bold(name));
        match (&self.key, &self.written_to) {
            (Some(key), _) => text.push_str(&format!("  key           {key}\n")),
            (None, Some(path)) => text.push_str(&format!("  key           in {}\n", path.display())),
            (None, None) => {}
        }
        text
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    service_host: String,
    id_scope: String,
    enrollments: Vec<Enrolled>,
}

/// An enrolment at a glance.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Enrolled {
    name: String,
    group: bool,
    status: String,
    attestation: String,
    edge: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<String>,
}

impl Report for Listed {
    fn text(&self, _style: Style) -> String {
        let mut text = format!("Service host {}, ID scope {}.\n", self.service_host, self.id_scope);
        if self.enrollments.is_empty() {
            text.push_str("No enrolments.\n");
            return text;
        }
        let mut rows = vec![["ENROLMENT", "OF", "STATUS", "PROOF", "REGISTERED AS"].map(str::to_owned).to_vec()];
        rows.extend(self.enrollments.iter().map(|item| {
            let of = match (item.group, item.edge) {
                (true, true) => "edge devices",
                (true, false) => "devices",
                (false, true) => "edge device",
                (false, false) => "device",
            };
            let device = item.device_id.clone().unwrap_or_else(|| "-".to_owned());
            vec![item.name.clone(), of.to_owned(), item.status.clone(), item.attestation.clone(), device]
        }));
        text.push_str(&columns(&rows));
        text
    }
}

#[derive(Serialize)]
struct Removed {
    removed: String,
}

impl Report for Removed {
    fn text(&self, _style: Style) -> String {
        format!("{} may not register any more.\n", self.removed)
    }
}

/// Dispatches.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    let service = ServiceClient::new(access::simulated(&context.solution()?)?)?;
    match args.command {
        Command::Add(args) => {
            let terms = terms(&args, context)?;
            let made = block_on(service.put_enrollment(args.group, &args.name, &terms))??;
            let facts = block_on(service.provisioning())??;
            context.printer.result(&added(args, &made, &facts, context)?);
        }
        Command::List => context.printer.result(&block_on(list(&service))??),
        Command::Remove { name, group } => {
            block_on(service.remove_enrollment(group, &name))??;
            context.printer.result(&Removed { removed: name });
        }
    }
    Ok(())
}

fn terms(args: &Add, context: &Context) -> Result<Value, CommandError> {
    let attestation = match &args.certificate {
        Some(path) => {
            let path = context.settings.directory.join(path);
            let pem = std::fs::read_to_string(&path)
                .map_err(|error| CommandError::usage(format!("{}: {error}", path.display())))?;
            let member = if args.group { "signingCertificates" } else { "clientCertificates" };
            json!({ "type": "x509", "x509": { member: { "primary": { "certificate": pem } } } })
        }
        None if args.authority => json!({ "type": "x509", "x509": { "caReferences": { "primary": "device-ca" } } }),
        None => json!({ "type": "symmetricKey" }),
    };
    let mut tags = json!({});
    for tag in &args.tags {
        let pair = tag.split_once('=').filter(|(name, _)| !name.is_empty());
        let (name, value) = pair.ok_or_else(|| CommandError::usage(format!("tag {tag:?} is not NAME=VALUE")))?;
        tags[name] = json!(value);
    }
    let mut terms = json!({
        "attestation": attestation,
        "capabilities": { "iotEdge": args.edge },
        "initialTwin": { "tags": tags, "properties": { "desired": {} } },
    });
    terms[if args.group { "enrollmentGroupId" } else { "registrationId" }] = json!(args.name);
    if let Some(device) = &args.device_id {
        terms["deviceId"] = json!(device);
    }
    Ok(terms)
}

fn added(args: Add, made: &Value, facts: &Value, context: &Context) -> Result<Added, CommandError> {
    let key = made.pointer("/attestation/symmetricKey/primaryKey").and_then(Value::as_str).map(str::to_owned);
    let written_to = args.output.map(|path| context.settings.directory.join(path));
    if let (Some(path), Some(key)) = (&written_to, &key) {
        write_private(path, format!("{key}\n").as_bytes()).map_err(|error| CommandError::failed(error.to_string()))?;
    }
    let key = key.filter(|_| written_to.is_none());
    Ok(Added {
        name: args.name,
        service_host: text(facts, "/serviceHost"),
        id_scope: text(facts, "/idScope"),
        key,
        written_to,
    })
}

async fn list(service: &ServiceClient) -> Result<Listed, CommandError> {
    let facts = service.provisioning().await?;
    let mut enrollments = Vec::new();
    for (group, name) in [(false, "/registrationId"), (true, "/enrollmentGroupId")] {
        let found = service.enrollments(group).await?;
        enrollments.extend(found.iter().map(|item| Enrolled {
            name: text(item, name),
            group,
            status: text(item, "/provisioningStatus"),
            attestation: text(item, "/attestation/type"),
            edge: item.pointer("/capabilities/iotEdge").and_then(Value::as_bool).unwrap_or_default(),
            device_id: item.pointer("/registrationState/deviceId").and_then(Value::as_str).map(str::to_owned),
        }));
    }
    Ok(Listed { service_host: text(&facts, "/serviceHost"), id_scope: text(&facts, "/idScope"), enrollments })
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}
