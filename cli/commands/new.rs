//! `edgectl new`.

use std::path::PathBuf;

use serde::Serialize;

use crate::commands::interrupt::interruptible;
use crate::commands::scaffolding::{Flags, Preview, library};
use crate::error::CommandError;
use crate::image::tool;
use crate::output::printer::Report;
use crate::output::prompt;
use crate::output::style::Style;
use crate::scaffold::description::Kind;
use crate::scaffold::library::Library;
use crate::scaffold::name::{ModuleName, SolutionName};
use crate::scaffold::solution;
use crate::scaffold::template::Template;
use crate::settings::{Context, Settings};

const EXAMPLES: &str = "\
Examples:
  edgectl new                             asks what it needs
  edgectl new my-solution                 a sensor and a filter, in Rust or Python, by what this machine has
  edgectl new my-solution --lang go       the filter in Go; `edgectl template list` shows the languages
  edgectl new my-solution --no-module     the sensor alone
  edgectl new plant --from industrial     sensors, detection and the alerts to expect, for a use case
  edgectl new plant --from mine --set rooms=3   from a template of yours, with a value that it asks for";

/// The template of a solution without a use case.
const PLAIN: &str = "plain";

/// Make a new solution
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub struct Args {
    /// The solution's name, and its directory's
    name: Option<String>,
    /// The template to make it from; `edgectl template list` shows them
    #[arg(long, value_name = "TEMPLATE", conflicts_with_all = ["module", "lang", "no_module"])]
    from: Option<String>,
    /// The name of its first module
    #[arg(long, value_name = "NAME", default_value = "filter", conflicts_with = "no_module")]
    module: String,
    /// The language of its first module, or a template of yours
    #[arg(long, value_name = "LANGUAGE", conflicts_with = "no_module")]
    lang: Option<String>,
    /// Make no module
    #[arg(long)]
    no_module: bool,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Serialize)]
struct NewSolution {
    solution: String,
    directory: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<String>,
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
        let mut next = "edgectl build";
        if let Some(template) = &self.template {
            files = format!("  from the template {template}\n");
        } else if let Some(module) = &self.module {
            let place = format!("modules/{}", module.name);
            files.push_str(&format!("  {place:25}  a filter of temperatures in {}\n", module.language));
        } else {
            next = "edgectl add module NAME --lang LANGUAGE";
        }
        format!(
            "Made {} in {}\n{files}\nNext:\n  {}\n",
            style.bold(&self.solution),
            self.directory.display(),
            style.cyan(&format!("cd {} && {next}", self.solution)),
        )
    }
}

/// Makes a solution.
pub fn run(mut args: Args, context: &Context) -> Result<(), CommandError> {
    let library = library(context);
    let name = match &args.name {
        Some(name) => SolutionName::new(name)?,
        None => ask(&mut args, &library, context)?,
    };
    let from = args.from.as_deref().filter(|from| *from != PLAIN);
    let directory = &context.settings.directory;
    let mut module = None;
    let planned = if let Some(from) = from {
        let template = library.find(Kind::Solution, from)?;
        solution::from_template(directory, &name, &template, args.flags.values(&template, context)?)?
    } else {
        module = first_module(&args, &library, &context.settings)?;
        let filter = module.as_ref().map(|(name, template)| (name, template));
        let values = filter.map(|(_, template)| args.flags.values(template, context)).transpose()?;
        solution::plain(directory, &name, filter, values.unwrap_or_default())?
    };
    if args.flags.dry_run {
        context.printer.result(&Preview::new(&planned.root, &planned.files, None));
        return Ok(());
    }
    interruptible(|| planned.stage())??.commit()?;
    context.printer.result(&NewSolution {
        solution: name.as_str().to_owned(),
        directory: planned.root,
        template: from.map(str::to_owned),
        module: module.map(|(name, template)| NewModule { name: name.as_str().to_owned(), language: template.name }),
    });
    Ok(())
}

fn first_module(
    args: &Args,
    library: &Library,
    settings: &Settings,
) -> Result<Option<(ModuleName, Template)>, CommandError> {
    if args.no_module {
        return Ok(None);
    }
    let name = ModuleName::new(&args.module)?;
    let language = args.lang.as_deref().unwrap_or_else(|| by_machine(settings));
    Ok(Some((name, library.find(Kind::Module, language)?)))
}

/// The language that this machine can build: Rust before Python, and Rust where it has neither.
fn by_machine(settings: &Settings) -> &'static str {
    let has = |name| tool::find(&settings.environment, name).is_some();
    if !has("cargo") && has("python3") { "python" } else { "rust" }
}

/// Asks for the name, and for what else was not said.
fn ask(args: &mut Args, library: &Library, context: &Context) -> Result<SolutionName, CommandError> {
    if !args.flags.may_ask(context) {
        return Err(CommandError::usage("no name was given").hint("Give one: `edgectl new NAME`."));
    }
    let check = |text: &str| SolutionName::new(text).map(|_| ()).map_err(|error| error.to_string());
    let name = prompt::text("Name of the solution", None, check)?;
    if args.from.is_none() && args.lang.is_none() && !args.no_module {
        let solutions: Vec<Template> =
            library.all()?.into_iter().filter(|template| template.description.kind == Kind::Solution).collect();
        let first = solutions.iter().position(|template| template.name == PLAIN).unwrap_or(0);
        let choices: Vec<String> =
            solutions.iter().map(|template| format!("{}: {}", template.name, template.description.summary)).collect();
        let chosen = prompt::choose_from("What to start from", &choices, first)?;
        args.from = Some(solutions[chosen].name.clone());
        if chosen == first {
            let languages = library.languages()?;
            let offered = languages.iter().position(|name| name == by_machine(&context.settings)).unwrap_or(0);
            args.lang = Some(languages[prompt::choose_from("Language of its module", &languages, offered)?].clone());
        }
    }
    Ok(SolutionName::new(&name)?)
}
