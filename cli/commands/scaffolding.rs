//! What the commands that make something from a template have in common: values for its parameters, and a preview.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::CommandError;
use crate::output::printer::Report;
use crate::output::prompt;
use crate::output::style::Style;
use crate::output::table::columns;
use crate::scaffold::library::Library;
use crate::scaffold::parameter::{Parameter, ParameterType};
use crate::scaffold::template::{RenderedFile, Template};
use crate::scaffold::values;
use crate::settings::Context;

/// Flags of the commands that make something from a template.
#[derive(Debug, clap::Args)]
pub struct Flags {
    /// A value for a parameter of the template; may be given again
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Ask nothing: what is not given has its default
    #[arg(short, long)]
    yes: bool,
    /// Show what would be written, and write nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

impl Flags {
    /// Whether questions may be asked.
    pub fn may_ask(&self, context: &Context) -> bool {
        context.settings.interactive && !self.yes
    }

    /// The values of a template's parameters; a person is asked for those that were not given.
    pub fn values(&self, template: &Template, context: &Context) -> Result<tera::Context, CommandError> {
        values::resolve(
            template,
            &self.set,
            |parameter| {
                if self.may_ask(context) { ask(parameter).map(Some) } else { Ok(None) }
            },
        )
    }
}

/// All templates that there are for this user.
pub fn library(context: &Context) -> Library {
    Library::new(context.settings.templates.as_deref())
}

fn ask(parameter: &Parameter) -> Result<String, CommandError> {
    let question = if parameter.description.is_empty() { &parameter.name } else { &parameter.description };
    let default = parameter.default_text();
    match parameter.kind {
        ParameterType::Choice => {
            let first = parameter.choices.iter().position(|choice| Some(choice) == default.as_ref());
            let index = prompt::choose_from(question, &parameter.choices, first.unwrap_or(0))?;
            Ok(parameter.choices[index].clone())
        }
        ParameterType::Boolean => {
            prompt::confirm(question, default.as_deref() == Some("true")).map(|answer| answer.to_string())
        }
        ParameterType::String | ParameterType::Integer => {
            prompt::text(question, default.as_deref(), |text| parameter.parse(text).map(|_| ()))
        }
    }
}

/// What would be written.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    dry_run: bool,
    directory: PathBuf,
    files: Vec<PreviewedFile>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct PreviewedFile {
    path: PathBuf,
    bytes: usize,
}

impl Preview {
    /// Of files in a directory, and of a file that would be changed.
    pub fn new(directory: &Path, files: &[RenderedFile], changed: Option<&Path>) -> Self {
        let files = files.iter().map(|file| PreviewedFile { path: file.path.clone(), bytes: file.content.len() });
        let mut files: Vec<PreviewedFile> = files.collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self { dry_run: true, directory: directory.to_owned(), files, changed: changed.map(Path::to_owned) }
    }
}

impl Report for Preview {
    fn text(&self, style: Style) -> String {
        let mut text = String::new();
        if !self.files.is_empty() {
            let rows: Vec<Vec<String>> = self
                .files
                .iter()
                .map(|file| vec![format!("  {}", file.path.display()), format!("{} bytes", file.bytes)])
                .collect();
            // Writing to memory cannot fail.
            let _ =
                write!(text, "Would make {}\n{}\n", style.bold(&self.directory.display().to_string()), columns(&rows));
        }
        if let Some(changed) = &self.changed {
            let _ = writeln!(text, "Would change {}", changed.display());
        }
        text
    }
}
