//! `edgectl schema`.

use std::path::{Path, PathBuf};

use edgectl_schemas::diagnostic::did_you_mean;
use edgectl_schemas::published::{self, PublishedSchema, SCHEMAS};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::error::CommandError;
use crate::output::file::write_atomically;
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::output::table::columns;
use crate::settings::Context;
use crate::solution::solution::Solution;

const EXAMPLES: &str = "\
Examples:
  edgectl schema list
  edgectl schema print deployment > deployment.schema.json
  edgectl schema editor               settings for VS Code, in the solution";

/// The editor's settings, in the solution.
const SETTINGS: &str = ".vscode/settings.json";
/// Where the schemas lie that the editor reads, in the solution.
const DIRECTORY: &str = ".vscode/edgectl";

/// The JSON Schemas of all documents
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Name the schemas
    List,
    /// Print a schema
    Print {
        /// Its name
        name: String,
    },
    /// Let VS Code check and complete the solution's documents
    Editor,
}

#[derive(Serialize)]
struct List {
    schemas: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    name: &'static str,
    about: &'static str,
    files: &'static [&'static str],
}

impl Report for List {
    fn text(&self, _style: Style) -> String {
        let heading = ["NAME", "FOR", "FILES"].map(str::to_owned).to_vec();
        let row = |entry: &Entry| vec![entry.name.to_owned(), entry.about.to_owned(), entry.files.join(" ")];
        columns(&std::iter::once(heading).chain(self.schemas.iter().map(row)).collect::<Vec<_>>())
    }
}

#[derive(Serialize)]
struct Written {
    written: Vec<PathBuf>,
}

impl Report for Written {
    fn text(&self, _style: Style) -> String {
        self.written.iter().fold(String::new(), |text, path| format!("{text}{}\n", path.display()))
    }
}

/// Dispatches.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    match args.command {
        Command::List => {
            let entry =
                |schema: &PublishedSchema| Entry { name: schema.name, about: schema.about, files: schema.files };
            context.printer.result(&List { schemas: SCHEMAS.iter().map(entry).collect() });
            Ok(())
        }
        Command::Print { name } => print(&name, context),
        Command::Editor => editor(context),
    }
}

fn print(name: &str, context: &Context) -> Result<(), CommandError> {
    let Some(schema) = published::find(name) else {
        let error = CommandError::usage(format!("there is no schema {name:?}"));
        return Err(match did_you_mean(name, SCHEMAS.iter().map(|schema| schema.name)) {
            Some(meant) => error.hint(format!("Did you mean `{meant}`?")),
            None => error.hint("`edgectl schema list` names them."),
        });
    };
    context.printer.raw(schema.text.as_bytes());
    Ok(())
}

fn editor(context: &Context) -> Result<(), CommandError> {
    let root = Solution::find(&context.settings.directory)?.root;
    let settings = settings(&root.join(SETTINGS))?;
    let mut written = Vec::new();
    let mut write = |path: String, text: String| {
        let done = write_atomically(&root.join(&path), text.as_bytes());
        done.map_err(|error| CommandError::failed(format!("{path}: {error}")))?;
        written.push(PathBuf::from(path));
        Ok::<(), CommandError>(())
    };
    for schema in SCHEMAS {
        write(format!("{DIRECTORY}/{}.schema.json", schema.name), schema.text.to_owned())?;
    }
    write(SETTINGS.to_owned(), format!("{:#}\n", Value::Object(settings)))?;
    context.printer.result(&Written { written });
    Ok(())
}

/// The settings there are, with ours. Settings of others stay as they are.
fn settings(path: &Path) -> Result<Map<String, Value>, CommandError> {
    let mut settings: Map<String, Value> = match std::fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text).map_err(|error| {
            CommandError::failed(format!("{}: not plain JSON, and is left alone: {error}", path.display()))
                .hint("Take its comments out, or move it away and merge it by hand.")
        })?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Map::new(),
        Err(error) => return Err(CommandError::failed(format!("{}: {error}", path.display()))),
    };
    let url = |schema: &PublishedSchema| format!("./{DIRECTORY}/{}.schema.json", schema.name);
    let is_ours = |url: Option<&Value>| url.and_then(Value::as_str).is_some_and(|url| url.contains(DIRECTORY));
    let is_yaml = |file: &&str| file.ends_with("yaml");

    let json_schemas = settings.entry("json.schemas").or_insert_with(|| json!([]));
    if let Some(list) = json_schemas.as_array_mut() {
        list.retain(|entry| !is_ours(entry.get("url")));
        for schema in SCHEMAS {
            let files: Vec<&str> = schema.files.iter().copied().filter(|file| !is_yaml(file)).collect();
            if !files.is_empty() {
                list.push(json!({ "fileMatch": files, "url": url(schema) }));
            }
        }
    }
    let yaml_schemas = settings.entry("yaml.schemas").or_insert_with(|| json!({}));
    if let Some(map) = yaml_schemas.as_object_mut() {
        for schema in SCHEMAS {
            let files: Vec<&str> = schema.files.iter().copied().filter(is_yaml).collect();
            if !files.is_empty() {
                map.insert(url(schema), json!(files));
            }
        }
    }
    Ok(settings)
}
