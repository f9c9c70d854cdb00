//! `edgectl query`.

use edgectl_schemas::query::parser::statement;
use serde::Serialize;
use serde_json::Value;

use crate::commands::device::block_on;
use crate::error::{CommandError, ErrorKind};
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::output::table::columns;
use crate::service::access;
use crate::service::client::ServiceClient;
use crate::settings::Context;

const EXAMPLES: &str = "\
Examples:
  edgectl query \"SELECT deviceId, tags.hall FROM devices WHERE tags.hall = 'north'\"
  edgectl query \"SELECT COUNT() AS n FROM devices WHERE connectionState = 'Connected'\"
  edgectl query --json \"SELECT * FROM devices.modules WHERE moduleId = '\\$edgeAgent'\"";

/// Ask the cloud hub about devices, modules and jobs
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub struct Args {
    /// The query; docs/reference/query.md has the language
    query: String,
}

/// The rows of the answer.
#[derive(Serialize)]
#[serde(transparent)]
struct Rows(Vec<Value>);

impl Report for Rows {
    fn text(&self, style: Style) -> String {
        let mut names: Vec<&String> = Vec::new();
        for name in self.0.iter().filter_map(Value::as_object).flat_map(|row| row.keys()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        // Whole twins have more than a line can show: what one looks for in a list of them stands first.
        names
            .retain(|name| !matches!(name.as_str(), "properties" | "x509Thumbprint" | "capabilities" | "parentScopes"));
        names.truncate(8);
        let shown = |row: &Value, name: &str| match row.get(name) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        let head = names.iter().map(|name| style.bold(name)).collect();
        let rows = self.0.iter().map(|row| names.iter().map(|name| shown(row, name)).collect());
        columns(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
    }
}

/// Asks, after the query was read here, where the place of a mistake can be shown.
pub fn run(args: &Args, context: &Context) -> Result<(), CommandError> {
    if let Err(error) = statement(&args.query) {
        let column = error.column(&args.query);
        let pointed = format!("the query is wrong: {error}\n  {}\n  {}^", args.query, " ".repeat(column - 1));
        return Err(CommandError::new(ErrorKind::Usage, pointed));
    }
    let service = ServiceClient::new(access::simulated(&context.solution()?)?)?;
    let rows = block_on(service.query(&args.query))??;
    context.printer.result(&Rows(rows));
    Ok(())
}
