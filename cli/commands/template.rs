//! `edgectl template`.

use std::path::PathBuf;

use serde::Serialize;

use crate::commands::interrupt::interruptible;
use crate::commands::scaffolding::{Flags, Preview, library};
use crate::error::{CommandError, ErrorKind};
use crate::output::findings::{self, Form};
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::output::table::columns;
use crate::scaffold::fetch::place::{Wanted, fetch, name_of};
use crate::scaffold::library::Listed;
use crate::scaffold::template::{RenderedFile, Template};
use crate::scaffold::trial;
use crate::settings::Context;

const EXAMPLES: &str = "\
Examples:
  edgectl template list
  edgectl template add ./our-module                 a directory, as it is now
  edgectl template add https://HOST/edge.git --ref v2 --path camera
                                                    a directory of a repository, pinned to the commit of v2
  edgectl template add our-module.tar.gz --name ours
  edgectl template test ours --set rooms=3          whether what is made from it is in order
  edgectl new plant --from ours                     or: edgectl add module camera --lang ours";

/// Look at the templates that solutions and modules are made from, and add your own
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the templates: languages of modules, solutions, and yours
    List,
    /// Add a template of yours: a directory, a repository of git, or an archive of tar or zip
    #[command(before_help = EXAMPLES)]
    Add(AddArgs),
    /// Remove a template of yours
    Remove {
        /// Its name
        name: String,
    },
    /// Make from a template what can be made, check it, and keep nothing
    #[command(before_help = EXAMPLES)]
    Test {
        /// Its name, or the directory of one that was not added yet
        template: String,
        #[command(flatten)]
        flags: Flags,
    },
}

#[derive(Debug, clap::Args)]
struct AddArgs {
    /// The directory, the archive, or the address of the repository
    source: String,
    /// What to call it [default: the last part of where it comes from]
    #[arg(long)]
    name: Option<String>,
    /// The branch, tag or commit of a repository [default: its default branch]
    #[arg(long = "ref", value_name = "REF")]
    reference: Option<String>,
    /// The directory of the template in it
    #[arg(long, value_name = "DIR")]
    path: Option<String>,
    /// Show what would be added, and add nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Templates {
    templates: Vec<Listed>,
}

impl Report for Templates {
    fn text(&self, style: Style) -> String {
        let mut rows = vec![["NAME", "FOR", "FROM", "DESCRIPTION"].map(str::to_owned).to_vec()];
        rows.extend(self.templates.iter().map(|template| {
            let from = template.source.as_ref().map_or_else(String::new, |source| match &source.commit {
                Some(commit) => format!("{} at {}", source.from, &commit[..commit.len().min(12)]),
                None => source.from.clone(),
            });
            vec![template.name.clone(), word(template).to_owned(), from, template.description.clone()]
        }));
        let next = "edgectl new NAME --from SOLUTION, or edgectl add module NAME --lang MODULE";
        format!("{}\nNext:\n  {}\n", columns(&rows), style.cyan(next))
    }
}

fn word(template: &Listed) -> &'static str {
    use crate::scaffold::description::Kind;
    match template.kind {
        Kind::Module => "module",
        Kind::Solution => "solution",
        Kind::Base => "base",
    }
}

#[derive(Serialize)]
struct Added {
    template: Listed,
}

impl Report for Added {
    fn text(&self, style: Style) -> String {
        let Listed { name, source, parameters, .. } = &self.template;
        let mut text = format!("Added template {}, for a {}\n", style.bold(name), word(&self.template));
        if let Some(commit) = source.as_ref().and_then(|source| source.commit.as_ref()) {
            text.push_str(&format!("  pinned to commit {commit}\n"));
        }
        for parameter in parameters {
            text.push_str(&format!("  --set {}=…  {}\n", parameter.name, parameter.description));
        }
        text.push_str(&format!("\nNext:\n  {}\n", style.cyan(&format!("edgectl template test {name}"))));
        text
    }
}

#[derive(Serialize)]
struct Removed {
    removed: String,
}

impl Report for Removed {
    fn text(&self, style: Style) -> String {
        format!("Removed template {}\n", style.bold(&self.removed))
    }
}

#[derive(Serialize)]
struct Tested {
    template: String,
    files: Vec<PathBuf>,
}

impl Report for Tested {
    fn text(&self, style: Style) -> String {
        format!("Template {} is in order: it makes {} files\n", style.bold(&self.template), self.files.len())
    }
}

/// Lists, adds, removes or tests templates.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    match args.command {
        Command::List => {
            let library = library(context);
            let templates = library.all()?.iter().map(|template| library.listed(template)).collect();
            context.printer.result(&Templates { templates });
            Ok(())
        }
        Command::Add(args) => add(&args, context),
        Command::Remove { name } => {
            library(context).remove(&name)?;
            context.printer.result(&Removed { removed: name });
            Ok(())
        }
        Command::Test { template, flags } => test(&template, &flags, context),
    }
}

fn add(args: &AddArgs, context: &Context) -> Result<(), CommandError> {
    let library = library(context);
    let wanted = Wanted { from: &args.source, reference: args.reference.as_deref(), directory: args.path.as_deref() };
    let name = args.name.clone().unwrap_or_else(|| name_of(wanted));
    let Context { settings, printer } = context;
    let scratch = library.scratch()?;
    let fetched = fetch(wanted, &settings.directory, &scratch, &settings.environment)?;
    if args.dry_run {
        let files = fetched.files.into_iter().map(|(path, content)| RenderedFile { path: path.into(), content });
        printer.result(&Preview::new(&library.place_of(&name)?, &files.collect::<Vec<_>>(), None));
        return Ok(());
    }
    let template = interruptible(|| library.add(&name, fetched.files, &fetched.source))??;
    printer.result(&Added { template: library.listed(&template) });
    Ok(())
}

fn test(name: &str, flags: &Flags, context: &Context) -> Result<(), CommandError> {
    let library = library(context);
    let directory = context.settings.directory.join(name);
    let template = match library.by_name(name)? {
        Some(template) => template,
        None if directory.is_dir() => Template::in_directory(name, &directory)?,
        None => {
            return Err(CommandError::usage(format!("there is no template {name:?}, and no such directory"))
                .hint("`edgectl template list` shows the templates."));
        }
    };
    let values = flags.values(&template, context)?;
    if flags.dry_run {
        let files = trial::files(&template, values)?;
        context.printer.result(&Preview::new(&directory, &files, None));
        return Ok(());
    }
    let scratch = library.scratch()?;
    let (files, found) = interruptible(|| trial::run(&template, values, &scratch, &context.settings.environment))??;
    if found.is_empty() {
        let files = files.into_iter().map(|file| file.path).collect();
        context.printer.result(&Tested { template: template.name, files });
        return Ok(());
    }
    let form = if context.printer.json { Form::Json } else { Form::Text };
    findings::show(&context.printer, &found, form, context.settings.verbose > 0);
    Err(CommandError::shown(ErrorKind::Findings))
}
