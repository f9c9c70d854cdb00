//! `edgectl sim profiles`.

use edgectl_simulator::profile::catalog;
use edgectl_simulator::profile::profile::Profile;
use serde::Serialize;

use crate::error::CommandError;
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::output::table::columns;
use crate::settings::Context;
use crate::solution::profile;
use crate::solution::solution::Solution;

/// List the machines that a simulated device can be like
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Those of edgectl.yaml stand first; `edgectl sim up --profile NAME` takes one, or the path of a file."
)]
pub struct Args {}

#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    profile: Profile,
    /// Whether the solution file has it.
    own: bool,
    /// Whether `edgectl sim up` takes it without being asked.
    default: bool,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Profiles(Vec<Listed>);

impl Report for Profiles {
    fn text(&self, style: Style) -> String {
        let mut rows = vec![["NAME", "PROCESSOR", "CORES", "MEMORY", "STORAGE", "WHAT"].map(str::to_owned).to_vec()];
        rows.extend(self.0.iter().map(|Listed { profile, default, .. }| {
            vec![
                format!("{}{}", profile.name, if *default { " (default)" } else { "" }),
                profile.machine.architecture.to_string(),
                profile.machine.cores.to_string(),
                profile.machine.memory.to_string(),
                profile.machine.storage.to_string(),
                profile.machine.description.clone(),
            ]
        }));
        columns(&rows) + &format!("\nNext: {}\n", style.cyan("edgectl sim up --profile NAME"))
    }
}

/// Lists what is built in, and what the solution has, if there is one.
pub fn run(_args: &Args, context: &Context) -> Result<(), CommandError> {
    let solution = match Solution::root_of(&context.settings.directory) {
        None => None,
        Some(root) => Some(Solution::load(root)?),
    };
    let own = solution.as_ref().map(|solution| profile::named(&solution.profiles)).unwrap_or_default();
    let default = solution.and_then(|solution| solution.profile);
    let is_hidden = |built_in: &&Profile| own.iter().any(|own| own.name == built_in.name);
    let built_in = catalog::built_in().iter().filter(|built_in| !is_hidden(built_in));
    let listed = |profile: &Profile, own| Listed {
        profile: profile.clone(),
        own,
        default: default.as_deref() == Some(profile.name.as_str()),
    };
    let all = own.iter().map(|profile| listed(profile, true)).chain(built_in.map(|profile| listed(profile, false)));
    context.printer.result(&Profiles(all.collect()));
    Ok(())
}
