//! `edgectl layers`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use edgectl_schemas::diagnostic::{Findings, Severity};
use edgectl_schemas::document::document::{Document, Format};
use edgectl_schemas::document::write;
use edgectl_schemas::manifest::checks::run::{Purpose, check};
use edgectl_schemas::manifest::layers::{Deployment, merge};
use edgectl_schemas::query::evaluate::holds;
use edgectl_schemas::query::parser;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::error::{CommandError, ErrorKind};
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::output::table::columns;
use crate::output::{diagnostics, file};
use crate::settings::Context;
use crate::solution::render::{RenderOptions, render};
use crate::solution::solution::Solution;

const EXAMPLES: &str = "\
Examples:
  edgectl layers base.json monitoring.json
  edgectl layers base.json *.layer.json --device line-1 --tag environment=test
  edgectl layers base.json monitoring.json -o merged.json

Priorities and target conditions stand in the files, as in the export of a configuration: {\"id\", \"priority\",
\"targetCondition\", \"content\": {\"modulesContent\"}}. A file without target condition is for every device.
Exit status 3 if the result has errors.";

/// Show what a device gets when several deployments meet
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub struct Args {
    /// Deployments: base and layers, in any order
    #[arg(required = true)]
    deployments: Vec<PathBuf>,
    /// The device; those not for it are left out
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Tags of the device, as JSON
    #[arg(long, value_name = "JSON", requires = "device")]
    tags: Option<String>,
    /// A tag of the device; may be given again
    #[arg(long, value_name = "NAME=VALUE", requires = "device")]
    tag: Vec<String>,
    /// Where to write the result as a manifest; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Layered {
    applied: Vec<String>,
    left_out: Vec<LeftOut>,
    origins: BTreeMap<String, String>,
    ties: Vec<(String, String, String)>,
    manifest: Value,
    diagnostics: Vec<Value>,
}

#[derive(Serialize)]
struct LeftOut {
    name: String,
    reason: String,
}

impl Report for Layered {
    fn text(&self, style: Style) -> String {
        let mut text = format!("{} {}\n", style.bold("applied, lowest first:"), self.applied.join(", "));
        for left_out in &self.left_out {
            text += &format!("{} {}: {}\n", style.bold("left out:"), left_out.name, left_out.reason);
        }
        for (path, first, second) in &self.ties {
            let what = format!("`{first}` and `{second}` have the same priority, and both give {path}");
            text += &format!("{} {what}\n", style.yellow("tie:"));
        }
        let heading = ["PATH", "FROM"].map(str::to_owned).to_vec();
        let rows = self.origins.iter().map(|(path, from)| vec![path.clone(), from.clone()]);
        text + "\n" + &columns(&std::iter::once(heading).chain(rows).collect::<Vec<_>>())
    }
}

/// Merges, checks and shows.
pub fn run(args: &Args, context: &Context) -> Result<(), CommandError> {
    let directory = &context.settings.directory;
    let mut deployments = Vec::new();
    for path in &args.deployments {
        deployments.push(read(path, directory, context)?);
    }
    let (applied, left_out) = choose(&deployments, args)?;
    let merged = merge(&applied);
    let manifest = merged.manifest();
    let (text, findings) = checked(&manifest)?;
    let mut names: Vec<&&Deployment> = applied.iter().collect();
    names.sort_by_key(|deployment| (deployment.is_layer(), deployment.priority));
    let report = Layered {
        applied: names.iter().map(|deployment| deployment.name.clone()).collect(),
        left_out,
        origins: merged.origins,
        ties: merged.ties,
        manifest,
        diagnostics: diagnostics::json(std::slice::from_ref(&findings)),
    };
    match &args.output {
        Some(path) if path.as_os_str() == "-" => context.printer.raw(text.as_bytes()),
        Some(path) => {
            file::write_atomically(&directory.join(path), text.as_bytes())
                .map_err(|error| CommandError::failed(format!("{}: {error}", path.display())))?;
            context.printer.result(&report);
        }
        None => context.printer.result(&report),
    }
    if !context.printer.json {
        diagnostics::show(&context.printer, std::slice::from_ref(&findings));
    }
    if findings.count(Severity::Error) > 0 { Err(CommandError::shown(ErrorKind::Findings)) } else { Ok(()) }
}

fn read(path: &Path, directory: &Path, context: &Context) -> Result<Deployment, CommandError> {
    let name = path.display().to_string();
    let value = if name.contains(".template.") {
        let solution = Solution::of_template(directory, path)?;
        let options = RenderOptions { platform: None, compat: false, environment: &context.settings.environment };
        render(&solution, options)?.manifest
    } else {
        let text = std::fs::read_to_string(directory.join(path))
            .map_err(|error| CommandError::usage(format!("{name}: {error}")))?;
        let format = Format::of_name(&name).unwrap_or_else(|| Format::of_text(&text));
        Document::parse(&name, text.clone(), format)
            .map_err(|error| {
                let (line, column) = diagnostics::position(&text, error.span.start);
                CommandError::new(ErrorKind::Findings, format!("{name}:{line}:{column}: {}", error.message))
            })?
            .root
            .to_value()
    };
    Deployment::read(&name, &value).map_err(|error| CommandError::new(ErrorKind::Findings, format!("{name}: {error}")))
}

/// The deployments that meet on the device: one base, the highest, and all layers.
fn choose<'d>(deployments: &'d [Deployment], args: &Args) -> Result<(Vec<&'d Deployment>, Vec<LeftOut>), CommandError> {
    let device = args.device.as_ref().map(|name| device(name, args)).transpose()?;
    let mut applied: Vec<&Deployment> = Vec::new();
    let mut left_out = Vec::new();
    for deployment in deployments {
        let condition = deployment.target_condition.as_deref();
        let is_meant = match (&device, condition) {
            (Some(_), Some("")) => false,
            (Some(device), Some(condition)) => {
                let read = parser::condition(condition).map_err(|error| {
                    let (name, column) = (&deployment.name, error.column(condition));
                    let what = format!("{name}: target condition {condition:?}: {error} at character {column}");
                    CommandError::new(ErrorKind::Findings, what)
                })?;
                holds(&read, device)
            }
            _ => true,
        };
        if is_meant {
            applied.push(deployment);
        } else {
            let reason = format!("{} is not true of the device", condition.unwrap_or_default());
            left_out.push(LeftOut { name: deployment.name.clone(), reason });
        }
    }
    let base = applied.iter().copied().filter(|deployment| !deployment.is_layer()).max_by_key(|base| base.priority);
    let Some(base) = base else {
        return Err(CommandError::usage("there is no base deployment, only layers")
            .hint("A base has the whole `properties.desired` of `$edgeAgent` and `$edgeHub`."));
    };
    applied.retain(|deployment| {
        let stays = deployment.is_layer() || std::ptr::eq(*deployment, base);
        if !stays {
            let reason = format!("`{}` is a base deployment of higher priority", base.name);
            left_out.push(LeftOut { name: deployment.name.clone(), reason });
        }
        stays
    });
    Ok((applied, left_out))
}

fn device(name: &str, args: &Args) -> Result<Value, CommandError> {
    let mut tags: Map<String, Value> = match &args.tags {
        None => Map::new(),
        Some(text) => serde_json::from_str(text)
            .map_err(|error| CommandError::usage(format!("--tags is not a JSON object: {error}")))?,
    };
    for tag in &args.tag {
        let (name, value) = tag
            .split_once('=')
            .ok_or_else(|| CommandError::usage(format!("--tag {tag:?} is not of the form NAME=VALUE")))?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        tags.insert(name.to_owned(), value);
    }
    Ok(json!({ "deviceId": name, "tags": tags, "properties": { "reported": {}, "desired": {} } }))
}

/// The manifest's text, and what is wrong with it.
fn checked(manifest: &Value) -> Result<(String, Findings), CommandError> {
    let bug = |error: &dyn std::fmt::Display| CommandError::new(ErrorKind::Bug, format!("the result: {error}"));
    let compact = Document::parse("merged", manifest.to_string(), Format::Json).map_err(|error| bug(&error))?;
    let text = write::pretty(&compact.root) + "\n";
    let document = Document::parse("merged manifest", text.clone(), Format::Json).map_err(|error| bug(&error))?;
    Ok((text, check(&document, Purpose::Manifest)))
}
