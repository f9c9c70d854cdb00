//! Finding and loading a solution.
//!
//! A solution is a directory with `edgectl.yaml`, or, for solutions made by other tools, one with
//! `deployment.template.json`. Its root is found by walking up from where the command works.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use edgectl_schemas::diagnostic::{Diagnostic, did_you_mean};
use edgectl_schemas::document::document::Document;
use edgectl_schemas::document::node::{Node, Span};
use edgectl_schemas::ids::DeviceId;
use edgectl_schemas::rules;
use edgectl_simulator::custom_endpoints::settings::HubSettings;
use edgectl_simulator::durability::Durability;
use edgectl_simulator::profile::catalog;
use edgectl_simulator::profile::profile::Machine;
use edgectl_simulator::runtime::choice::RuntimeChoice;
use edgectl_simulator::state::StateDirectory;
use serde::{Deserialize, Serialize};

use crate::error::CommandError;
use crate::solution::profile;

/// The name of our solution file.
pub const SOLUTION_FILE: &str = "edgectl.yaml";
/// The deployment template of solutions that name no other.
pub const DEFAULT_TEMPLATE: &str = "deployment.template.json";
/// The forms a template may have, in the order they are looked for.
const TEMPLATES: &[&str] =
    &[DEFAULT_TEMPLATE, "deployment.template.jsonc", "deployment.template.yaml", "deployment.template.yml"];
/// Where the state of simulated devices and builds lies, inside the solution.
pub const STATE_DIRECTORY: &str = ".edgectl";

/// The members of our solution file.
const MEMBERS: &[&str] = &[
    "name",
    "device",
    "parents",
    "template",
    "runtime",
    "durability",
    "profile",
    "profiles",
    "hub",
    "targets",
    "allow",
];

/// `edgectl.yaml`. Every member may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SolutionFile {
    /// The solution's name; the directory's name where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The simulated device's identifier; the solution's name where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The devices above its simulated devices, by the name of the one below; a device that is not there has none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parents: BTreeMap<String, String>,
    /// The deployment template, relative to the solution's root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<PathBuf>,
    /// How the simulated device runs modules: `auto` where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<RuntimeChoice>,
    /// How safely the simulated device's hub keeps messages; `process` where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub durability: Option<Durability>,
    /// The machine that its simulated devices are like, by its name or as the path of a file from the solution's root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Machines of its own, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub profiles: BTreeMap<String, Machine>,
    /// Endpoints of the simulated cloud hub beside the built-in one, and the routes to them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hub: HubSettings,
    /// Hubs to deploy to beside the simulated one, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub targets: BTreeMap<String, Target>,
    /// Codes of rules whose breaches are accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
}

/// A hub to deploy to. Its connection string is never in the solution's files, nor in arguments.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// The environment variable that has the connection string of one of its policies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_string_variable: Option<String>,
    /// The file that has it, relative to the solution's root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_string_file: Option<PathBuf>,
    /// The edge device that is deployed to, if no configuration is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Certificates to trust instead of the system's, a PEM file relative to the solution's root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_bundle: Option<PathBuf>,
}

/// A solution that was found.
#[derive(Debug, Clone)]
pub struct Solution {
    /// Its root directory, absolute.
    pub root: PathBuf,
    /// The identifier of the simulated device.
    pub device: DeviceId,
    /// Whether that is the solution's own device, and not one of those beside it.
    pub device_is_own: bool,
    /// The devices above its simulated devices, by the name of the one below.
    pub parents: BTreeMap<String, String>,
    /// The deployment template, absolute; it may not exist.
    pub template: PathBuf,
    /// Whether the command line or the solution file names the template; if not, a variable may name another.
    pub template_is_named: bool,
    /// How the simulated device runs modules.
    pub runtime: RuntimeChoice,
    /// How safely the simulated device's hub keeps messages.
    pub durability: Durability,
    /// The machine that its simulated devices are like, if it says.
    pub profile: Option<String>,
    /// Machines of its own, by name.
    pub profiles: BTreeMap<String, Machine>,
    /// Endpoints of the simulated cloud hub beside the built-in one, and the routes to them.
    pub hub: HubSettings,
    /// Hubs to deploy to beside the simulated one, by name.
    pub targets: BTreeMap<String, Target>,
    /// Codes of rules whose breaches are accepted.
    pub allow: Vec<String>,
}

impl Solution {
    /// Finds the solution that `directory` lies in.
    pub fn find(directory: &Path) -> Result<Self, CommandError> {
        let root = Self::root_of(directory).ok_or_else(|| {
            CommandError::usage(format!("no solution in {} or above it", directory.display()))
                .hint("Run `edgectl new NAME` to make one, or go into the directory of one.")
        })?;
        Self::load(root)
    }

    /// The root of the solution that `directory` lies in, whether it can be loaded or not.
    pub fn root_of(directory: &Path) -> Option<&Path> {
        directory.ancestors().find(|candidate| {
            let has = |name: &str| candidate.join(name).is_file();
            has(SOLUTION_FILE) || TEMPLATES.iter().any(|name| has(name))
        })
    }

    /// Loads the solution whose root is `root`.
    pub fn load(root: &Path) -> Result<Self, CommandError> {
        let path = root.join(SOLUTION_FILE);
        let file = match std::fs::read_to_string(&path) {
            // A file with nothing but comments is YAML's null: every member left out.
            Ok(text) => serde_yaml::from_str::<Option<SolutionFile>>(&text)
                .map_err(|error| {
                    CommandError::new(crate::error::ErrorKind::Findings, format!("{}: {error}", path.display()))
                        .hint(format!("Known members are {}.", MEMBERS.join(", ")))
                })?
                .unwrap_or_default(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => SolutionFile::default(),
            Err(error) => return Err(CommandError::failed(format!("{}: {error}", path.display()))),
        };
        let name = file.name.unwrap_or_else(|| {
            root.file_name().map_or_else(|| "solution".to_owned(), |name| name.to_string_lossy().into_owned())
        });
        let device_text = file.device.unwrap_or_else(|| device_from(&name));
        let device = DeviceId::new(&device_text).map_err(|error| {
            CommandError::usage(format!("{}: device {device_text:?}: {error}", path.display()))
                .hint("Set `device:` to 1 to 128 letters, digits, `-`, `_` or `.`.")
        })?;
        let template_is_named = file.template.is_some();
        let template = root.join(file.template.unwrap_or_else(|| default_template(root).into()));
        let durability = file.durability.unwrap_or_default();
        let device_is_own = true;
        Ok(Self {
            root: root.to_owned(),
            device,
            device_is_own,
            parents: file.parents,
            template,
            template_is_named,
            runtime: file.runtime.unwrap_or_default(),
            durability,
            profile: file.profile,
            profiles: file.profiles,
            hub: file.hub,
            targets: file.targets,
            allow: file.allow,
        })
    }

    /// The solution that a template belongs to: the one `directory` lies in if the template lies in it too, else the
    /// one the template lies in, else the template's own directory.
    pub fn of_template(directory: &Path, template: &Path) -> Result<Self, CommandError> {
        let template = directory.join(template);
        let parent = template.parent().unwrap_or(directory);
        let mut solution = match Self::find(directory) {
            Ok(solution) if template.starts_with(&solution.root) => solution,
            Ok(_) => Self::find(parent).or_else(|_| Self::load(parent))?,
            // Without a solution above it, the directory the command works in is the root, as it is for other tools.
            Err(_) if template.starts_with(directory) => Self::load(directory)?,
            Err(_) => Self::find(parent).or_else(|_| Self::load(parent))?,
        };
        solution.template = template;
        solution.template_is_named = true;
        Ok(solution)
    }

    /// The template, given the solution's variables.
    pub fn template_with(&self, variables: &BTreeMap<String, String>) -> PathBuf {
        let named = variables.get("DEPLOYMENT_CONFIG_TEMPLATE_FILE").map(|name| name.trim());
        match named {
            Some(name) if !self.template_is_named && name != DEFAULT_TEMPLATE => self.root.join(name),
            _ => self.template.clone(),
        }
    }

    /// The same solution, to work with another of its simulated devices.
    pub fn with_device(mut self, device: &str) -> Result<Self, CommandError> {
        let device =
            DeviceId::new(device).map_err(|error| CommandError::usage(format!("device {device:?}: {error}")))?;
        self.device_is_own = device == self.device;
        self.device = device;
        Ok(self)
    }

    /// Where the state of the simulated device lies.
    pub fn device_state(&self) -> StateDirectory {
        if self.device_is_own {
            StateDirectory::new(&self.state())
        } else {
            StateDirectory::other(&self.state(), &self.device)
        }
    }

    /// What tells the addresses that the device tries first.
    pub fn address_key(&self) -> PathBuf {
        if self.device_is_own { self.root.clone() } else { self.root.join(self.device.as_str()) }
    }

    /// Where state lies.
    pub fn state(&self) -> PathBuf {
        self.root.join(STATE_DIRECTORY)
    }
}

/// What is wrong with a solution file.
pub fn check(document: &Document) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for member in document.root.members().unwrap_or_default() {
        if !MEMBERS.contains(&member.key.as_str()) {
            let message = format!("a solution file has no `{}`", member.key);
            let wrong = Diagnostic::new(&rules::INVALID_SOLUTION_FILE, member.key_span, message);
            found.push(match did_you_mean(&member.key, MEMBERS.iter().copied()) {
                Some(meant) => wrong.help(format!("Did you mean `{meant}`?")),
                None => wrong.help(format!("It has {}.", MEMBERS.join(", "))),
            });
        }
    }
    let device = document.root.get("device");
    if let (Some(node), Some(text)) = (device, device.and_then(Node::text))
        && let Err(error) = DeviceId::new(text)
    {
        found.push(Diagnostic::new(&rules::INVALID_SOLUTION_FILE, node.span, format!("device {text:?}: {error}")));
    }
    found.extend(unfit_parents(document));
    found.extend(unknown_profile(document));
    for code in document.root.get("allow").and_then(Node::elements).unwrap_or_default() {
        if code.text().is_none_or(|code| rules::find(code).is_none()) {
            let wrong = Diagnostic::new(&rules::INVALID_SOLUTION_FILE, code.span, "this is not the code of a rule");
            found.push(wrong.help("`edgectl explain` lists them."));
        }
    }
    // What is left are values of the wrong type.
    match serde_yaml::from_str::<Option<SolutionFile>>(&document.source) {
        Ok(file) => found.extend(unfit_hub(document, &file.unwrap_or_default().hub)),
        Err(error) if found.is_empty() => {
            let at = error.location().map_or(0, |location| location.index().min(document.source.len()));
            found.push(Diagnostic::new(&rules::INVALID_SOLUTION_FILE, Span::new(at, at), error.to_string()));
        }
        Err(_) => {}
    }
    found
}

/// Names that are none, and devices that are below themselves.
fn unfit_parents(document: &Document) -> Vec<Diagnostic> {
    let members = document.root.get("parents").and_then(Node::members).unwrap_or_default();
    let above = |name: &str| members.iter().find(|member| member.key == name).and_then(|member| member.value.text());
    let mut found = Vec::new();
    for member in members {
        let named = [(member.key_span, Some(member.key.as_str())), (member.value.span, member.value.text())];
        for (span, name) in named.into_iter().filter_map(|(span, name)| Some((span, name?))) {
            if let Err(error) = DeviceId::new(name) {
                let message = format!("device {name:?}: {error}");
                found.push(Diagnostic::new(&rules::INVALID_SOLUTION_FILE, span, message));
            }
        }
        // Whoever is not the device itself after so many steps is in another circle, which is told there.
        let mut way = std::iter::successors(above(&member.key), |name| above(name)).take(members.len());
        if way.any(|name| name == member.key) {
            let message = format!("the device {} is below itself", member.key);
            found.push(Diagnostic::new(&rules::INVALID_SOLUTION_FILE, member.value.span, message));
        }
    }
    found
}

/// Endpoints that are none, and routes that lead nowhere or have mistakes.
fn unfit_hub(document: &Document, hub: &HubSettings) -> Vec<Diagnostic> {
    let found = hub.mistakes().into_iter().filter_map(|(path, message)| {
        let node = path.iter().try_fold(document.root.get("hub")?, |node, name| node.get(name))?;
        Some(Diagnostic::new(&rules::INVALID_SOLUTION_FILE, node.span, message))
    });
    found.collect()
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What is wrong with the name of the profile, if anything is.
fn unknown_profile(document: &Document) -> Option<Diagnostic> {
    let node = document.root.get("profile")?;
    let name = node.text()?;
    let own = document.root.get("profiles").and_then(Node::members).unwrap_or_default();
    let own = own.iter().map(|member| member.key.as_str());
    let known: Vec<&str> = own.chain(catalog::built_in().iter().map(|profile| profile.name.as_str())).collect();
    if name == profile::NONE || known.contains(&name) || profile::file_of(name, Path::new("")).is_some() {
        return None;
    }
    let wrong = Diagnostic::new(&rules::INVALID_SOLUTION_FILE, node.span, format!("there is no profile {name:?}"));
    Some(match did_you_mean(name, known) {
        Some(meant) => wrong.help(format!("Did you mean `{meant}`?")),
        None => wrong.help("`edgectl sim profiles` lists them."),
    })
}

/// The template of a solution that names none: the first form there is.
fn default_template(root: &Path) -> &'static str {
    TEMPLATES.iter().find(|name| root.join(name).is_file()).copied().unwrap_or(DEFAULT_TEMPLATE)
}

/// A device identifier from a name: what may not stand in one becomes a hyphen.
fn device_from(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).take(128).collect()
}

#[cfg(test)]
mod tests {
    use edgectl_schemas::document::document::Format;
    use edgectl_simulator::custom_endpoints::settings::CustomEndpoint;

    use super::*;

    #[test]
    fn file_checker_and_schema_know_the_same_members() {
        let schema = edgectl_schemas::published::find("solution").unwrap();
        let schema: serde_json::Value = serde_json::from_str(schema.text).unwrap();
        let members: Vec<&str> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, MEMBERS);
        let full = SolutionFile {
            name: Some("a".to_owned()),
            device: Some("a".to_owned()),
            parents: BTreeMap::from([("b".to_owned(), "a".to_owned())]),
            template: Some("a".into()),
            runtime: Some(RuntimeChoice::Auto),
            durability: Some(Durability::Process),
            profile: Some("board".to_owned()),
            profiles: BTreeMap::from([("board".to_owned(), catalog::built_in()[0].machine.clone())]),
            hub: HubSettings {
                endpoints: BTreeMap::from([("a".to_owned(), CustomEndpoint::default())]),
                routes: BTreeMap::new(),
            },
            targets: BTreeMap::from([(
                "lab".to_owned(),
                Target {
                    connection_string_variable: Some("LAB".to_owned()),
                    connection_string_file: Some("lab.txt".into()),
                    device: Some("a".to_owned()),
                    trust_bundle: Some("lab.pem".into()),
                },
            )]),
            allow: vec!["EDGE0303".to_owned()],
        };
        let written = serde_json::to_value(full).unwrap();
        let of_profile: Vec<&str> =
            written["profiles"]["board"].as_object().unwrap().keys().map(String::as_str).collect();
        let of_schema = schema["properties"]["profiles"]["additionalProperties"]["properties"].as_object().unwrap();
        assert_eq!(of_schema.keys().map(String::as_str).collect::<Vec<_>>(), of_profile);
        let of_target: Vec<&String> = written["targets"]["lab"].as_object().unwrap().keys().collect();
        let of_schema = schema["properties"]["targets"]["additionalProperties"]["properties"].as_object().unwrap();
        assert_eq!(of_schema.keys().collect::<Vec<_>>(), of_target);
        assert_eq!(written.as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>(), MEMBERS);
    }

    #[test]
    fn devices_below_themselves_and_names_that_are_none_are_found() {
        let found = |text: &str| -> Vec<String> {
            let document = Document::parse(SOLUTION_FILE, text.to_owned(), Format::Yaml).unwrap();
            check(&document).into_iter().map(|found| found.message).collect()
        };
        assert_eq!(found("parents: { child: plant, grandchild: child }"), Vec::<String>::new());
        assert_eq!(found("parents: { a: b, b: a, c: a }").len(), 2);
        assert_eq!(found("parents: { a: a }"), ["the device a is below itself"]);
        assert!(found("parents: { a: 'x y' }")[0].starts_with("device \"x y\": "));
        assert_eq!(found("parents: [a]").len(), 1);
    }
}
