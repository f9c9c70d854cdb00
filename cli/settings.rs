//! What the flags, the environment and the files say, resolved once. Nothing else reads the environment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use crate::error::CommandError;
use crate::output::printer::Printer;
use crate::output::style::Style;
use crate::solution::solution::Solution;

/// Flags that every command has.
#[derive(Debug, Clone, clap::Args)]
pub struct GlobalFlags {
    /// Print the result as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Say nothing but the result and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more; twice, everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Run as if started in this directory
    #[arg(short = 'C', global = true, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Work with this simulated device and not with the solution's own
    #[arg(long, global = true, value_name = "DEVICE")]
    pub device: Option<String>,
}

/// The resolved settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the command works; absolute.
    pub directory: PathBuf,
    /// The simulated device to work with, where it is not the solution's own.
    pub device: Option<String>,
    /// How much to log: 0 nothing, 1 what happens, 2 everything.
    pub verbose: u8,
    /// Whether questions may be asked.
    pub interactive: bool,
    /// The process environment, for expanding templates and for finding tools.
    pub environment: BTreeMap<String, String>,
    /// This program's own file, for starting it again.
    pub program: PathBuf,
    /// Where the container engine listens, as `DOCKER_HOST` says; none for the usual place.
    pub engine_host: Option<String>,
    /// Where it is remembered which devices the user has started; none for a user without a home.
    pub device_index: Option<PathBuf>,
    /// Where the user's own templates are; none for a user without a home.
    pub templates: Option<PathBuf>,
    /// The folder with the user's settings of container engines.
    pub engine_config: Option<PathBuf>,
}

/// What a command gets: where to print, and the settings.
#[derive(Debug, Clone)]
pub struct Context {
    /// The writer.
    pub printer: Printer,
    /// The settings.
    pub settings: Settings,
}

impl Context {
    /// The solution that the command works in, with the device it works with.
    pub fn solution(&self) -> Result<Solution, CommandError> {
        let solution = Solution::find(&self.settings.directory)?;
        match &self.settings.device {
            None => Ok(solution),
            Some(device) => solution.with_device(device),
        }
    }

    /// Resolves flags and environment.
    pub fn resolve(flags: &GlobalFlags) -> std::io::Result<Self> {
        let current = std::env::current_dir()?;
        let directory = match &flags.directory {
            None => current,
            Some(directory) => current.join(directory).canonicalize()?,
        };
        // Values that are not UTF-8 cannot stand in a manifest or be handed to a module as text.
        let environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value): (OsString, OsString)| {
                Some((name.into_string().ok()?, value.into_string().ok()?))
            })
            .collect();
        let color_wanted = environment.get("NO_COLOR").is_none_or(std::string::String::is_empty)
            && environment.get("TERM").is_none_or(|terminal| terminal != "dumb");
        let named = |name: &str| environment.get(name).filter(|value| !value.is_empty());
        let engine_host = named("DOCKER_HOST").cloned();
        let engine_config =
            named("DOCKER_CONFIG").map(PathBuf::from).or_else(|| Some(PathBuf::from(named("HOME")?).join(".docker")));
        let device_index = named("XDG_STATE_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(named("HOME")?).join(".local/state")))
            .map(|state| state.join("edgectl").join("devices"));
        let templates = named("XDG_DATA_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(named("HOME")?).join(".local/share")))
            .map(|data| data.join("edgectl").join("templates"));
        let style = |is_terminal: bool| Style { color: color_wanted && is_terminal };
        Ok(Self {
            printer: Printer {
                json: flags.json,
                quiet: flags.quiet,
                out: style(std::io::stdout().is_terminal()),
                err: style(std::io::stderr().is_terminal()),
            },
            settings: Settings {
                directory,
                device: flags.device.clone(),
                verbose: flags.verbose,
                interactive: std::io::stdin().is_terminal() && !flags.json,
                environment,
                program: std::env::current_exe()?,
                engine_host,
                device_index,
                templates,
                engine_config,
            },
        })
    }
}
