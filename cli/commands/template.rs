//! `edgectl template`.

use serde::Serialize;

use crate::error::CommandError;
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::output::table::columns;
use crate::scaffold::language::{Language, Listed};
use crate::settings::Context;

/// Look at the templates that solutions and modules are made from
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the languages that modules can be made in
    List,
}

#[derive(Serialize)]
struct Templates {
    templates: Vec<Listed>,
}

impl Report for Templates {
    fn text(&self, style: Style) -> String {
        let mut rows = vec![vec!["LANGUAGE".to_owned(), "DESCRIPTION".to_owned()]];
        rows.extend(
            self.templates.iter().map(|template| vec![template.language.clone(), template.description.clone()]),
        );
        format!("{}\nNext:\n  {}\n", columns(&rows), style.cyan("edgectl add module NAME --lang LANGUAGE"))
    }
}

/// Lists the templates.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    match args.command {
        Command::List => {
            let templates = Language::all()?.iter().map(Language::listed).collect();
            context.printer.result(&Templates { templates });
            Ok(())
        }
    }
}
