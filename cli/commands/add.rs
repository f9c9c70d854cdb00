//! `edgectl add`.

use std::path::PathBuf;

use serde::Serialize;

use crate::commands::interrupt::interruptible;
use crate::commands::scaffolding::{Flags, Preview, library};
use crate::error::CommandError;
use crate::output::printer::Report;
use crate::output::prompt;
use crate::output::style::Style;
use crate::scaffold::description::Kind;
use crate::scaffold::library::Library;
use crate::scaffold::module::{self, PlannedModule};
use crate::scaffold::name::ModuleName;
use crate::settings::Context;
use crate::solution::solution::Solution;

const EXAMPLES: &str = "\
Examples:
  edgectl add module alarm --lang rust     a module in Rust in modules/alarm, and in the deployment template
  edgectl add module alarm --lang go       the same in Go; `edgectl template list` shows the languages
  edgectl add module clock --image busybox:1.37 -- sh -c 'while date; do sleep 1; done'
                                           no source: an image that is there, with a command of its own";

/// Add to a solution
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a module from a template or an image, and add it and its route to the deployment template
    #[command(before_help = EXAMPLES)]
    Module(ModuleArgs),
}

#[derive(Debug, clap::Args)]
struct ModuleArgs {
    /// The module's name: letters, digits, `-` and `_`
    name: String,
    /// The language to write it in, or a template of yours; `edgectl template list` shows them
    #[arg(long, value_name = "LANGUAGE", conflicts_with = "image")]
    lang: Option<String>,
    /// An image that is there already, in place of a source
    #[arg(long)]
    image: Option<String>,
    /// What the image runs in place of its own command
    #[arg(last = true, requires = "image")]
    command: Vec<String>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AddedModule {
    module: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    directory: Option<PathBuf>,
    template: PathBuf,
    route: String,
}

impl Report for AddedModule {
    fn text(&self, style: Style) -> String {
        let of = self.language.as_ref().map(|language| format!("in {language}"));
        let of = of.or_else(|| self.image.as_ref().map(|image| format!("from {image}"))).unwrap_or_default();
        let directory =
            self.directory.as_ref().map(|directory| format!("  {}\n", directory.display())).unwrap_or_default();
        let next =
            if self.image.is_some() { "edgectl validate".to_owned() } else { format!("edgectl build {}", self.module) };
        format!(
            "Added module {} {of}\n{directory}  {}: the module, and the route {}\n\nNext:\n  {}\n",
            style.bold(&self.module),
            self.template.display(),
            self.route,
            style.cyan(&next),
        )
    }
}

/// Adds a module.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    let Command::Module(args) = args.command;
    let name = ModuleName::new(&args.name)?;
    let library = library(context);
    let template = args.lang.as_deref().map(|language| library.find(Kind::Module, language)).transpose()?;
    let solution = Solution::find(&context.settings.directory)?;
    let (language, planned) = if let Some(image) = &args.image {
        (None, module::from_image(&solution, &name, image, &args.command)?)
    } else {
        let template = match template {
            Some(template) => template,
            None => library.find(Kind::Module, &ask(&args.flags, &library, context)?)?,
        };
        let values = args.flags.values(&template, context)?;
        (Some(template.name.clone()), module::from_template(&solution, &name, &template, values)?)
    };
    if args.flags.dry_run {
        preview(&planned, &solution, context);
        return Ok(());
    }
    interruptible(|| planned.stage())??.commit()?;
    context.printer.result(&AddedModule {
        module: name.as_str().to_owned(),
        language,
        image: args.image,
        directory: planned.directory.map(|(directory, _)| directory),
        template: solution.template,
        route: planned.route,
    });
    Ok(())
}

fn preview(planned: &PlannedModule, solution: &Solution, context: &Context) {
    let (directory, files) = match &planned.directory {
        Some((directory, files)) => (directory, files.as_slice()),
        None => (&solution.root, [].as_slice()),
    };
    context.printer.result(&Preview::new(directory, files, Some(&solution.template)));
}

fn ask(flags: &Flags, library: &Library, context: &Context) -> Result<String, CommandError> {
    let mut languages = library.languages()?;
    if !flags.may_ask(context) {
        return Err(CommandError::usage("no language was given")
            .hint(format!("Give one with `--lang`: there are templates for {}.", languages.join(", ")))
            .hint("Or give an image that is there already, with `--image`."));
    }
    let index = prompt::choose("Which language?", &languages)?;
    Ok(languages.swap_remove(index))
}
