//! The values of a template's parameters: those that were given, those that someone is asked for, and the defaults.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::scaffold::error::ScaffoldError;
use crate::scaffold::parameter::Parameter;
use crate::scaffold::template::Template;

/// Finds a value for each parameter of a template. `given` are texts `NAME=VALUE`; `ask` is asked for each parameter that
/// is not among them, and may not know. What then has no value and no default is missing.
pub fn resolve<E: From<ScaffoldError>>(
    template: &Template,
    given: &[String],
    mut ask: impl FnMut(&Parameter) -> Result<Option<String>, E>,
) -> Result<tera::Context, E> {
    let parameters = &template.description.parameters;
    let mut given = read(parameters, given)?;
    let mut values = tera::Context::new();
    let mut missing = Vec::new();
    for parameter in parameters {
        let value = match given.remove(&parameter.name) {
            Some(value) => Some(value),
            None => {
                ask(parameter)?.map(|text| parse(parameter, &text)).transpose()?.or_else(|| parameter.default.clone())
            }
        };
        match value {
            Some(value) => values.insert(parameter.name.clone(), &value),
            None => missing.push(parameter),
        }
    }
    if let Some(first) = missing.first() {
        let flags: Vec<String> =
            missing.iter().map(|parameter| format!("`--set {}=VALUE`{}", parameter.name, about(parameter))).collect();
        let reason = format!("the template needs a value for {}", first.name);
        return Err(ScaffoldError::Parameter { reason, hint: format!("Give {}.", flags.join(" and ")) }.into());
    }
    Ok(values)
}

/// Reads what was given; each name is that of a parameter, once.
fn read(parameters: &[Parameter], given: &[String]) -> Result<BTreeMap<String, Value>, ScaffoldError> {
    let mut values = BTreeMap::new();
    for text in given {
        let known = || match parameters {
            [] => "The template has no parameters.".to_owned(),
            some => {
                let names: Vec<&str> = some.iter().map(|parameter| parameter.name.as_str()).collect();
                format!("Its parameters are {}.", names.join(", "))
            }
        };
        let wrong = |reason: String, hint: String| ScaffoldError::Parameter { reason, hint };
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| wrong(format!("{text:?} is no NAME=VALUE"), "Write `--set NAME=VALUE`.".to_owned()))?;
        let parameter = parameters.iter().find(|parameter| parameter.name == name);
        let parameter = parameter.ok_or_else(|| wrong(format!("there is no parameter {name:?}"), known()))?;
        if values.insert(name.to_owned(), parse(parameter, value)?).is_some() {
            return Err(wrong(format!("parameter {name:?} is given twice"), "Give it once.".to_owned()));
        }
    }
    Ok(values)
}

fn parse(parameter: &Parameter, text: &str) -> Result<Value, ScaffoldError> {
    parameter.parse(text).map_err(|reason| ScaffoldError::Parameter {
        reason,
        hint: format!("Write `--set {}=VALUE`{}.", parameter.name, about(parameter)),
    })
}

/// What a parameter is for, in brackets.
fn about(parameter: &Parameter) -> String {
    if parameter.description.is_empty() { String::new() } else { format!(" ({})", parameter.description) }
}
