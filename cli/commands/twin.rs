//! `edgectl twin`.

use serde::Serialize;
use serde_json::{Value, json};

use crate::commands::device::block_on;
use crate::commands::target;
use crate::error::CommandError;
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::service::access;
use crate::service::client::ServiceClient;
use crate::settings::Context;
use crate::solution::solution::Solution;

const EXAMPLES: &str = "\
Examples:
  edgectl twin get filter
  edgectl twin get filter --reported
  edgectl twin patch filter '{\"TemperatureThreshold\": 30}'
  edgectl twin patch filter @desired.json
  edgectl twin get                       the device's own twin
  edgectl twin patch --tags '{\"site\": \"berlin\"}'
  edgectl twin patch --leaf thermometer '{\"interval\": 5}'";

/// Read and change the twins of modules and of the device
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show a twin, or one section of it
    Get {
        /// The module, `$edgeAgent` or `$edgeHub`; the device without one
        module: Option<String>,
        /// That of this leaf device
        #[arg(long, value_name = "DEVICE", conflicts_with = "module")]
        leaf: Option<String>,
        /// Only the desired properties
        #[arg(long, conflicts_with = "reported")]
        desired: bool,
        /// Only the reported properties
        #[arg(long)]
        reported: bool,
    },
    /// Merge a patch into the desired properties, or a device's tags; null removes a property
    Patch {
        /// MODULE PATCH; with --leaf or --tags only PATCH. The module may be `$edgeAgent` or `$edgeHub`; the patch is JSON,
        /// `@FILE`, or `-` for standard input
        #[arg(required = true, num_args = 1..=2, value_name = "MODULE PATCH")]
        arguments: Vec<String>,
        /// That of this leaf device, or of a device of a fleet
        #[arg(long, value_name = "DEVICE")]
        leaf: Option<String>,
        /// Patch the tags of the device, which target conditions ask for
        #[arg(long)]
        tags: bool,
    },
}

#[derive(Serialize)]
#[serde(transparent)]
struct Shown(Value);

impl Report for Shown {
    fn text(&self, _style: Style) -> String {
        format!("{:#}\n", self.0)
    }
}

/// Dispatches.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    let solution = context.solution()?;
    let shown = match args.command {
        Command::Get { module, leaf, desired, reported } => {
            let identity = match leaf {
                Some(leaf) => target::leaf(&leaf)?,
                None => target::identity(&solution, module.as_deref())?,
            };
            let twin = with_client(&solution, async |client| client.twin(&identity).await)?;
            match (desired, reported) {
                (true, _) => section(&twin, "desired"),
                (_, true) => section(&twin, "reported"),
                _ => twin,
            }
        }
        Command::Patch { arguments, leaf, tags } => {
            let (identity, patch) = match (&leaf, &arguments[..]) {
                (Some(leaf), [patch]) => (target::leaf(leaf)?, patch),
                (None, [patch]) if tags => (target::identity(&solution, None)?, patch),
                (None, [module, patch]) if !tags => (target::identity(&solution, Some(module))?, patch),
                _ => {
                    return Err(CommandError::usage(
                        "a module and a patch, or --leaf or --tags and a patch, are needed",
                    )
                    .hint("`edgectl twin patch --help` has examples."));
                }
            };
            let patch = target::json_argument(patch, &context.settings.directory, "the patch")?;
            if !patch.is_object() {
                return Err(CommandError::usage("the patch is not a JSON object")
                    .hint("Give an object of properties, as in '{\"interval\": 5}'."));
            }
            let sent = if tags { json!({ "tags": patch }) } else { json!({ "properties": { "desired": patch } }) };
            let twin = with_client(&solution, async |client| client.patch_twin(&identity, &sent).await)?;
            if tags { twin.get("tags").cloned().unwrap_or(Value::Null) } else { section(&twin, "desired") }
        }
    };
    context.printer.result(&Shown(shown));
    Ok(())
}

fn section(twin: &Value, name: &str) -> Value {
    twin.pointer(&format!("/properties/{name}")).cloned().unwrap_or(Value::Null)
}

fn with_client<T>(
    solution: &Solution,
    work: impl AsyncFnOnce(&ServiceClient) -> Result<T, CommandError>,
) -> Result<T, CommandError> {
    let client = ServiceClient::new(access::simulated(solution)?)?;
    block_on(work(&client))?
}
