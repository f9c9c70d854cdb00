//! Access to registries: helpers of the engine's client, and the credentials of the manifest.

use std::collections::BTreeSet;

use edgectl_schemas::document::node::Node;
use edgectl_schemas::manifest::content::{desired, modules_content};
use edgectl_schemas::manifest::image_reference::registry;
use edgectl_schemas::manifest::variable::left_over;
use serde_json::Value;

use super::check::{Check, Finding, Scope, listed};
use super::patient::Patient;

/// Registries whose images everybody may pull.
const PUBLIC: [&str; 5] = ["mcr.microsoft.com", "https://index.docker.io/v1/", "ghcr.io", "quay.io", "docker.io"];

/// The checks of this file.
pub const CHECKS: &[Check] = &[
    Check {
        code: "DOC109",
        title: "helpers for registry passwords are there",
        scope: Scope::Machine,
        examine: helpers,
    },
    Check {
        code: "DOC110",
        title: "registry credentials of the manifest are filled in",
        scope: Scope::Solution,
        examine: filled,
    },
    Check { code: "DOC111", title: "private registries have credentials", scope: Scope::Solution, examine: known },
];

/// The user's settings of container engines; none if there are none.
fn settings(patient: &Patient<'_>) -> Option<Result<Value, String>> {
    let path = patient.settings.engine_config.as_ref()?.join("config.json");
    let bytes = std::fs::read(&path).ok()?;
    Some(serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", path.display())))
}

fn helpers(patient: &Patient<'_>) -> Finding {
    let config = match settings(patient) {
        None => return Finding::skipped("there is no config.json of an engine's client"),
        Some(Err(error)) => {
            return Finding::warning(error)
                .cause("Nobody can tell who this user is at a registry.")
                .mend("docker logout, or write the file anew");
        }
        Some(Ok(config)) => config,
    };
    let of_registries =
        config.get("credHelpers").and_then(Value::as_object).into_iter().flatten().map(|(_, name)| name);
    let names: BTreeSet<&str> = of_registries.chain(config.get("credsStore")).filter_map(Value::as_str).collect();
    let is_missing = |name: &&&str| patient.program(&format!("docker-credential-{name}")).is_none();
    let missing: Vec<String> =
        names.iter().filter(is_missing).map(|name| format!("docker-credential-{name}")).collect();
    if missing.is_empty() {
        return Finding::ok(if names.is_empty() { "none is named" } else { "those that are named are there" });
    }
    Finding::warning(format!("config.json names {}, which is not on the search path", listed(&missing)))
        .cause("Images of private registries are pulled without a password, and refused.")
        .mend("sudo apt-get install golang-docker-credential-helpers, or remove `credsStore` from config.json")
}

/// The entries of `registryCredentials`.
fn credentials(patient: &Patient<'_>) -> Vec<(String, Node)> {
    let Some(Ok(template)) = patient.template() else { return Vec::new() };
    let entries = modules_content(&template.document.root)
        .and_then(|content| desired(&content.value, "$edgeAgent"))
        .and_then(|desired| desired.value.get("runtime")?.get("settings")?.get("registryCredentials"));
    let members = entries.and_then(Node::members).unwrap_or_default();
    members.iter().map(|member| (member.key.to_string(), member.value.clone())).collect()
}

fn filled(patient: &Patient<'_>) -> Finding {
    let entries = credentials(patient);
    if entries.is_empty() {
        return Finding::skipped("the manifest has no registry credentials");
    }
    let (mut unset, mut empty) = (BTreeSet::new(), Vec::new());
    for (name, entry) in &entries {
        for field in ["address", "username", "password"] {
            let text = entry.get(field).and_then(Node::text).unwrap_or_default();
            let variables = left_over(text);
            unset.extend(variables.iter().map(|(variable, _)| (*variable).to_owned()));
            if text.trim().is_empty() {
                empty.push(format!("{field} of {name}"));
            }
        }
    }
    let unset: Vec<String> = unset.into_iter().collect();
    if !unset.is_empty() {
        let lines: Vec<String> = unset.iter().map(|name| format!("{name}=…")).collect();
        return Finding::error(format!("not set: {}", listed(&unset)))
            .cause("The device would log in with the placeholder itself, and be refused.")
            .mend(format!("add to .env: {}", lines.join(" ")));
    }
    if !empty.is_empty() {
        return Finding::error(format!("empty: {}", listed(&empty)))
            .cause("The agent refuses a deployment whose credentials are not whole.")
            .mend("fill it in, in the template or in .env");
    }
    Finding::ok(if entries.len() == 1 {
        "one, filled in".to_owned()
    } else {
        format!("{}, all filled in", entries.len())
    })
}

fn known(patient: &Patient<'_>) -> Finding {
    let images = patient.images_for_engine();
    if images.is_empty() {
        return Finding::skipped("no image has to be pulled");
    }
    let entries = credentials(patient);
    let in_manifest = |host: &str| {
        entries
            .iter()
            .any(|(_, entry)| entry.get("address").and_then(Node::text).is_some_and(|address| address == host))
    };
    let config = settings(patient).and_then(Result::ok).unwrap_or_default();
    let in_settings = |host: &str| {
        let named = |section: &str| config.get(section).and_then(Value::as_object);
        config.get("credsStore").is_some()
            || named("credHelpers").is_some_and(|helpers| helpers.contains_key(host))
            || named("auths").is_some_and(|auths| auths.keys().any(|address| address.contains(host)))
    };
    let is_local = |host: &str| host.starts_with("localhost") || host.starts_with("127.") || host.starts_with('$');
    let hosts: BTreeSet<&str> = images.iter().map(|image| registry(image)).collect();
    let private: Vec<&str> = hosts.into_iter().filter(|host| !PUBLIC.contains(host) && !is_local(host)).collect();
    let unknown: Vec<&str> = private.iter().copied().filter(|host| !in_manifest(host) && !in_settings(host)).collect();
    match unknown.first() {
        None => Finding::ok(if private.is_empty() { "none is private".to_owned() } else { listed(&private) }),
        Some(first) => Finding::note(format!("nobody is known at {}", listed(&unknown)))
            .cause("Its images can be pulled only if it lets everybody in.")
            .mend(format!("docker login {first}")),
    }
}
