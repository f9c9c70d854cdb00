//! `edgectl add`.

use std::path::PathBuf;

use serde::Serialize;

use crate::error::CommandError;
use crate::output::printer::Report;
use crate::output::prompt;
use crate::output::style::Style;
use crate::scaffold::language::Language;
use crate::scaffold::module;
use crate::scaffold::name::ModuleName;
use crate::settings::Context;
use crate::solution::solution::Solution;

const EXAMPLES: &str = "\
Examples:
  edgectl add module alarm --lang rust     a module in Rust in modules/alarm, and in the deployment template
  edgectl add module alarm --lang python   the same in Python";

/// Add to a solution
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a module from a template, and add it and its route to the deployment template
    #[command(before_help = EXAMPLES)]
    Module {
        /// The module's name: letters, digits, `-` and `_`
        name: String,
        /// The language to write it in; `edgectl template list` shows them
        #[arg(long, value_name = "LANGUAGE")]
        lang: Option<String>,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AddedModule {
    module: String,
    language: String,
    directory: PathBuf,
    template: PathBuf,
    route: String,
}

impl Report for AddedModule {
    fn text(&self, style: Style) -> String {
        format!(
            "Added module {} in {}\n  {}\n  {}: the module, and the route {}\n\nNext:\n  {}\n",
            style.bold(&self.module),
            self.language,
            self.directory.display(),
            self.template.display(),
            self.route,
            style.cyan(&format!("edgectl build {}", self.module)),
        )
    }
}

/// Adds a module.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    let Command::Module { name, lang } = args.command;
    let name = ModuleName::new(&name)?;
    let language = lang.as_deref().map(Language::find).transpose()?;
    let solution = Solution::find(&context.settings.directory)?;
    let language = match language {
        Some(language) => language,
        None => ask(context)?,
    };
    let added = module::add(&solution, &name, &language)?;
    context.printer.result(&AddedModule {
        module: name.as_str().to_owned(),
        language: language.name,
        directory: added.directory,
        template: solution.template,
        route: added.route,
    });
    Ok(())
}

fn ask(context: &Context) -> Result<Language, CommandError> {
    let mut languages = Language::all()?;
    let names: Vec<String> = languages.iter().map(|language| language.name.clone()).collect();
    if !context.settings.interactive {
        return Err(CommandError::usage("no language was given")
            .hint(format!("Give one with `--lang`: there are templates for {}.", names.join(", "))));
    }
    let index = prompt::choose("Which language?", &names)?;
    Ok(languages.swap_remove(index))
}
