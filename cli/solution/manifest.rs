//! A manifest that is ready to be deployed: rendered from the solution's template, or read as it is; checked either way.

use std::path::Path;

use edgectl_schemas::document::document::{Document, Format};
use edgectl_schemas::manifest::content::{is_layered, modules_content};
use serde_json::Value;

use crate::error::{CommandError, ErrorKind};
use crate::settings::Context;
use crate::solution::check;
use crate::solution::render::{RenderError, RenderOptions, Template};
use crate::solution::solution::Solution;

/// A manifest without mistakes.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The file that people know it by.
    pub name: String,
    /// What each module is told.
    pub modules_content: Value,
}

impl Manifest {
    /// The modules that should run and are not up.
    pub fn waiting_for(&self, up: &[String]) -> Vec<String> {
        let wanted = self.modules_content.pointer("/$edgeAgent/properties.desired/modules").and_then(Value::as_object);
        let wanted = wanted.into_iter().flatten().filter(|(_, module)| {
            module.get("status").and_then(Value::as_str).is_none_or(|status| status.eq_ignore_ascii_case("running"))
        });
        wanted.map(|(name, _)| name).filter(|name| !up.contains(name)).cloned().collect()
    }
}

/// Reads a manifest that stands alone.
pub fn read(path: &Path, context: &Context) -> Result<Manifest, CommandError> {
    read_either(path, context, false)
}

/// Reads a manifest that stands alone, or a layer.
pub fn read_any(path: &Path, context: &Context) -> Result<Manifest, CommandError> {
    read_either(path, context, true)
}

fn read_either(path: &Path, context: &Context, may_be_layer: bool) -> Result<Manifest, CommandError> {
    let name = path.display().to_string();
    check::refuse_errors(&check::manifest(&name, &context.settings.directory)?, context)?;
    let text = std::fs::read_to_string(path).map_err(|error| CommandError::usage(format!("{name}: {error}")))?;
    let format = Format::of_name(&name).unwrap_or_else(|| Format::of_text(&text));
    let document = Document::parse(&name, text, format)
        .map_err(|error| CommandError::new(ErrorKind::Findings, format!("{name}: {}", error.message)))?;
    if !may_be_layer && modules_content(&document.root).is_some_and(|content| is_layered(&content.value)) {
        let message = format!("{name} is a layered deployment, which a device cannot run alone");
        return Err(CommandError::new(ErrorKind::Findings, message).hint(format!(
            "Merge it with its base, `edgectl layers BASE {name} -o merged.json`, and deploy merged.json."
        )));
    }
    from_document(name, &document.root.to_value())
}

/// Renders the solution's template for a platform. What is wrong with it is shown, and errors end the command.
pub fn render(solution: &Solution, platform: &str, context: &Context) -> Result<Manifest, CommandError> {
    of_template(solution, checked_template(solution, platform, context)?)
}

/// Reads the solution's template for a platform. What is wrong with it is shown, and errors end the command.
pub fn checked_template(solution: &Solution, platform: &str, context: &Context) -> Result<Template, CommandError> {
    let environment = &context.settings.environment;
    let options = RenderOptions { platform: Some(platform), compat: false, environment };
    let template = match Template::load(solution, options) {
        Err(RenderError::Unreadable(findings)) => {
            check::refuse_errors(&[*findings], context)?;
            return Err(CommandError::new(ErrorKind::Findings, "the template cannot be read"));
        }
        template => template?,
    };
    check::refuse_errors(&check::findings(&template), context)?;
    Ok(template)
}

/// Renders a template that was checked.
pub fn of_template(solution: &Solution, template: Template) -> Result<Manifest, CommandError> {
    let name = solution.template.file_name().unwrap_or_default().to_string_lossy().into_owned();
    from_document(name, &template.render().manifest)
}

fn from_document(name: String, document: &Value) -> Result<Manifest, CommandError> {
    let content = document.get("content").unwrap_or(document);
    let modules = content.get("modulesContent").or_else(|| content.get("moduleContent")).ok_or_else(|| {
        CommandError::new(ErrorKind::Findings, format!("{name}: there is no modulesContent"))
            .hint("Run `edgectl validate` on it.")
    })?;
    Ok(Manifest { name, modules_content: modules.clone() })
}
