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
    let mut texts = read(parameters, given)?;
    let mut values = tera::Context::new();
    for parameter in parameters {
        let text = match texts.remove(parameter.name.as_str()) {
            Some(text) => Some(text),
            None => ask(parameter)?,
        };
        let value = match (text, &parameter.default) {
            (Some(text), _) => parse(parameter, &text)?,
            (None, Some(default)) => default.clone(),
            (None, None) => return Err(missing(parameters, &texts, &values, parameter).into()),
        };
        values.insert(parameter.name.clone(), &value);
    }
    Ok(values)
}

/// Takes apart what was given; each name is that of a parameter, once.
fn read(parameters: &[Parameter], given: &[String]) -> Result<BTreeMap<String, String>, ScaffoldError> {
    let mut texts = BTreeMap::new();
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
        if !parameters.iter().any(|parameter| parameter.name == name) {
            return Err(wrong(format!("there is no parameter {name:?}"), known()));
        }
        if texts.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(wrong(format!("parameter {name:?} is given twice"), "Give it once.".to_owned()));
        }
    }
    Ok(texts)
}

fn parse(parameter: &Parameter, text: &str) -> Result<Value, ScaffoldError> {
    parameter.parse(text).map_err(|reason| ScaffoldError::Parameter {
        reason,
        hint: format!("Write `--set {}=VALUE`{}.", parameter.name, about(parameter)),
    })
}

/// The error that a parameter has no value, which names all that have none.
fn missing(
    parameters: &[Parameter],
    texts: &BTreeMap<String, String>,
    values: &tera::Context,
    first: &Parameter,
) -> ScaffoldError {
    let lacks = |parameter: &&Parameter| {
        parameter.default.is_none() && !texts.contains_key(&parameter.name) && !values.contains_key(&parameter.name)
    };
    let flags: Vec<String> =
        parameters.iter().filter(lacks).map(|parameter| format!("`--set {}=VALUE`", parameter.name)).collect();
    ScaffoldError::Parameter {
        reason: format!("the template needs a value for {}", first.name),
        hint: format!("Give {}{}.", flags.join(" and "), about(first)),
    }
}

/// What a parameter is for, in brackets.
fn about(parameter: &Parameter) -> String {
    if parameter.description.is_empty() { String::new() } else { format!(" ({})", parameter.description) }
}
