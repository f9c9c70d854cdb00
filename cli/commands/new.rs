//! `edgectl new`.

use std::path::PathBuf;

use serde::Serialize;

use crate::error::CommandError;
use crate::image::tool;
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::scaffold::language::Language;
use crate::scaffold::name::{ModuleName, SolutionName};
use crate::scaffold::solution;
use crate::settings::{Context, Settings};

const EXAMPLES: &str = "\
Examples:
  edgectl new my-solution                 a sensor and a filter, in Rust or Python, by what this machine has
  edgectl new my-solution --lang python   the filter in Python
  edgectl new my-solution --no-module     the sensor alone";

/// Make a new solution
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub struct Args {
    /// The solution's name, and its directory's
    name: String,
    /// The name of its first module
    #[arg(long, value_name = "NAME", default_value = "filter", conflicts_with = "no_module")]
    module: String,
    /// The language of its first module; `edgectl template list` shows them
    #[arg(long, value_name = "LANGUAGE", conflicts_with = "no_module")]
    lang: Option<String>,
    /// Make no module
    #[arg(long)]
    no_module: bool,
}

#[derive(Serialize)]
struct NewSolution {
    solution: String,
    directory: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<NewModule>,
}

#[derive(Serialize)]
struct NewModule {
    name: String,
    language: String,
}

impl Report for NewSolution {
    fn text(&self, style: Style) -> String {
        let mut files = "  edgectl.yaml               what edgectl knows about the solution\n  \
                         deployment.template.json   what is deployed: modules, routes, desired properties\n  \
                         .env                       values for placeholders\n"
            .to_owned();
        let next = if let Some(module) = &self.module {
            let place = format!("modules/{}", module.name);
            files.push_str(&format!("  {place:25}  a filter of temperatures in {}\n", module.language));
            "edgectl build"
        } else {
            "edgectl add module NAME --lang LANGUAGE"
        };
        format!(
            "Made {} in {}\n{files}\nNext:\n  {}\n",
            style.bold(&self.solution),
            self.directory.display(),
            style.cyan(&format!("cd {} && {next}", self.solution)),
        )
    }
}

/// Makes a solution.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    let name = SolutionName::new(&args.name)?;
    let module = if args.no_module {
        None
    } else {
        let language = match args.lang.as_deref() {
            Some(language) => Language::find(language)?,
            None => Language::find(by_machine(&context.settings))?,
        };
        Some((ModuleName::new(&args.module)?, language))
    };
    let filter = module.as_ref().map(|(name, language)| (name, language));
    let directory = solution::create(&context.settings.directory, &name, filter)?;
    context.printer.result(&NewSolution {
        solution: name.as_str().to_owned(),
        directory,
        module: module.map(|(name, language)| NewModule { name: name.as_str().to_owned(), language: language.name }),
    });
    Ok(())
}

/// The language that this machine can build: Rust before Python, and Rust where it has neither.
fn by_machine(settings: &Settings) -> &'static str {
    let has = |name| tool::find(&settings.environment, name).is_some();
    if !has("cargo") && has("python3") { "python" } else { "rust" }
}
