//! What a template says about itself, in its `template.yaml`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::scaffold::parameter::{GIVEN, Parameter};

/// What is made from a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A module of a solution.
    Module,
    /// A solution.
    Solution,
    /// Nothing by itself: others name it as their `base`.
    Base,
}

/// What a template says about itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// What is made from it.
    pub kind: Kind,
    /// The language of a module.
    #[serde(default)]
    pub language: Option<String>,
    /// Other names of the language.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// One line for people.
    #[serde(rename = "description")]
    pub summary: String,
    /// The built-in template whose files it has beside its own, which go before them.
    #[serde(default)]
    pub base: Option<String>,
    /// What it asks for, in this order.
    #[serde(default)]
    pub parameters: Vec<Parameter>,
    /// Values for its files and its base's.
    #[serde(default)]
    pub values: Map<String, Value>,
}

impl Description {
    /// Reads and checks a description. The error says what is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
        let description: Self = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
        let mut names: Vec<&str> = description.values.keys().map(String::as_str).collect();
        if let Some(given) = names.iter().find(|name| GIVEN.contains(name)) {
            return Err(format!("every template is given a value {given:?}"));
        }
        for parameter in &description.parameters {
            parameter.check()?;
            if names.contains(&parameter.name.as_str()) {
                return Err(format!("parameter {:?} is there twice", parameter.name));
            }
            names.push(&parameter.name);
        }
        Ok(description)
    }
}
