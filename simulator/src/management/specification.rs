//! What a module is to be, as requests say it.

use std::collections::BTreeMap;

use edgectl_schemas::manifest::{create_options, image_reference};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::runtime::module_runtime::{ModuleSpec, RegistryCredential};

/// A request's module.
#[derive(Debug)]
pub struct Specification {
    /// What to run.
    pub module: ModuleSpec,
    /// Whether its image is to be had before it is created.
    pub is_pulled: bool,
    /// Who the device is at the image's registry.
    pub credential: Option<RegistryCredential>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    image_pull_policy: PullPolicy,
    config: WrittenConfig,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PullPolicy {
    #[default]
    OnCreate,
    Never,
}

#[derive(Deserialize)]
struct WrittenConfig {
    settings: WrittenSettings,
    #[serde(default)]
    env: Vec<WrittenVariable>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenSettings {
    image: String,
    #[serde(default)]
    create_options: Value,
    #[serde(default)]
    auth: Option<WrittenAuth>,
}

#[derive(Deserialize)]
struct WrittenAuth {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    serveraddress: String,
}

#[derive(Deserialize)]
struct WrittenVariable {
    key: String,
    value: String,
}

/// A specification breaks a rule.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSpecification {
    /// It has not the form of one.
    #[error("{0}")]
    Form(#[from] serde_json::Error),
    /// A member says nothing, or something unknown.
    #[error("{0}")]
    Member(String),
}

impl Specification {
    /// Reads a body.
    pub fn read(body: Value) -> Result<Self, InvalidSpecification> {
        let Written { name, kind, image_pull_policy, config } = serde_json::from_value(body)?;
        check_names(&name, &kind)?;
        let WrittenSettings { image, create_options, auth } = config.settings;
        let image =
            image_reference::normalize(&image).map_err(|error| InvalidSpecification::Member(error.to_string()))?;
        let credential = auth.filter(|auth| !auth.username.is_empty()).map(|auth| RegistryCredential {
            address: if auth.serveraddress.is_empty() {
                image_reference::registry(&image).into()
            } else {
                auth.serveraddress
            },
            username: auth.username,
            password: auth.password,
        });
        let module = ModuleSpec {
            name,
            kind: "docker".to_owned(),
            image,
            create_options: options(create_options)?,
            env: config.env.into_iter().map(|variable| (variable.key, variable.value)).collect::<BTreeMap<_, _>>(),
        };
        Ok(Self { module, is_pulled: image_pull_policy == PullPolicy::OnCreate, credential })
    }
}

/// Refuses what is blank, and a type that no runtime knows.
pub fn check_names(name: &str, kind: &str) -> Result<(), InvalidSpecification> {
    for (member, value) in [("name", name), ("type", kind)] {
        if value.trim().is_empty() {
            return Err(InvalidSpecification::Member(format!("the module's {member} is empty")));
        }
    }
    Ok(())
}

/// Create options, as an object or as its text.
fn options(written: Value) -> Result<Map<String, Value>, InvalidSpecification> {
    match written {
        Value::Null => Ok(Map::new()),
        Value::Object(options) => Ok(options),
        Value::String(text) => create_options::parse(&text)
            .map_err(|error| InvalidSpecification::Member(format!("createOptions: {error}"))),
        _ => Err(InvalidSpecification::Member("createOptions is neither an object nor its text".to_owned())),
    }
}
