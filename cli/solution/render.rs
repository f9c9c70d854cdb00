//! From a deployment template to the manifest it stands for.
//!
//! In a solution made for iotedgedev the manifest is the one that tool writes, byte for byte. What it would silently
//! leave wrong, a variable nobody set, a placeholder without a module, comes back as findings.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use edgectl_schemas::diagnostic::{Diagnostic, Findings};
use edgectl_schemas::document::document::{Document, Format};
use edgectl_schemas::document::expand::expand;
use edgectl_schemas::document::node::{Kind, Member, Node, Span};
use edgectl_schemas::document::write;
use edgectl_schemas::manifest::content::{Section, for_each_module, modules};
use edgectl_schemas::manifest::create_options::CHUNK_CHARACTERS;
use edgectl_schemas::manifest::variable::left_over;
use edgectl_schemas::rules;
use serde_json::Value;

use super::dotenv;
use super::placeholder::{ModuleImage, Placeholders};
use super::solution::Solution;
use crate::error::{CommandError, ErrorKind};

/// Member of a template that says which version of the template's form it has.
const TEMPLATE_VERSION: &str = "$schema-template";

/// How to render.
#[derive(Debug, Clone, Copy)]
pub struct RenderOptions<'a> {
    /// The platform; `DEFAULT_PLATFORM` of the solution where absent.
    pub platform: Option<&'a str>,
    /// Accept silently what iotedgedev accepts.
    pub compat: bool,
    /// The process environment.
    pub environment: &'a BTreeMap<String, String>,
}

/// A template whose variables and images were replaced; create options are still as written.
#[derive(Debug)]
pub struct Template {
    /// The document; places lead back to the template.
    pub document: Document,
    /// The platform.
    pub platform: String,
    /// The images the manifest uses and the solution builds.
    pub images: Vec<ModuleImage>,
    /// What is wrong, a file each; the template's own come first.
    pub findings: Vec<Findings>,
    /// Where the manifest is written by default; absolute.
    pub output: PathBuf,
}

/// A manifest that was rendered.
#[derive(Debug)]
pub struct Rendered {
    /// The manifest's text.
    pub text: String,
    /// The manifest.
    pub manifest: Value,
    /// The platform.
    pub platform: String,
    /// Where it is written by default; absolute.
    pub output: PathBuf,
    /// The images it uses and the solution builds.
    pub images: Vec<ModuleImage>,
    /// What is wrong, a file each.
    pub findings: Vec<Findings>,
}

/// Why there is no manifest.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The template is no document.
    #[error("{}: cannot be read as a deployment template", .0.name)]
    Unreadable(Box<Findings>),
}

impl From<RenderError> for CommandError {
    fn from(error: RenderError) -> Self {
        match &error {
            RenderError::Read { path, source } if source.kind() == std::io::ErrorKind::NotFound => {
                Self::usage(format!("{}: no such file", path.display()))
                    .hint("Name a deployment template, or go into the directory of a solution.")
            }
            RenderError::Read { .. } => Self::failed(error.to_string()),
            RenderError::Unreadable(findings) => {
                let reason = findings.diagnostics.first().map_or("", |found| &found.message);
                Self::new(ErrorKind::Findings, format!("{}: {reason}", findings.name))
            }
        }
    }
}

/// Renders the solution's template.
pub fn render(solution: &Solution, options: RenderOptions<'_>) -> Result<Rendered, RenderError> {
    Template::load(solution, options).map(Template::render)
}

impl Template {
    /// Reads the solution's template and replaces variables and images.
    pub fn load(solution: &Solution, options: RenderOptions<'_>) -> Result<Self, RenderError> {
        let read_error = |path: &Path| {
            let path = path.to_owned();
            move |source| RenderError::Read { path, source }
        };
        let variables =
            dotenv::variables(&solution.root, options.environment).map_err(read_error(&solution.root.join(".env")))?;
        let path = solution.template_with(&variables);
        let source = std::fs::read_to_string(&path).map_err(read_error(&path))?;
        let name = path.strip_prefix(&solution.root).unwrap_or(&path).display().to_string();
        Self::read(solution, &path, &name, source, &variables, options)
    }

    /// Replaces variables and images in a template's text. `path` is where it stands, or would stand.
    pub fn read(
        solution: &Solution,
        path: &Path,
        name: &str,
        source: String,
        variables: &BTreeMap<String, String>,
        options: RenderOptions<'_>,
    ) -> Result<Self, RenderError> {
        let platform =
            options.platform.unwrap_or_else(|| variables.get("DEFAULT_PLATFORM").map_or("amd64", |p| p.trim()));
        let (mut document, mut found) = read(name, source, variables, options.compat)?;

        let directory = path.parent().unwrap_or(&solution.root);
        let mut placeholders = Placeholders::collect(directory, platform, variables, options.compat);
        let bypassed = variables.get("BYPASS_MODULES").map_or("", String::as_str);
        let images = replace_images(&mut document, &mut placeholders, bypassed, &mut found);
        found.extend(left_over_variables(&document));

        let mut findings = vec![Findings::of(&document, found)];
        findings.append(&mut placeholders.findings);
        findings.retain(|findings| !options.compat && !findings.diagnostics.is_empty());
        let output = solution.root.join(variables.get("CONFIG_OUTPUT_DIR").map_or("config", |path| path.trim()));
        let output = output.join(output_name(path, &document.root, platform, variables));
        Ok(Self { document, platform: platform.to_owned(), images, findings, output })
    }

    /// Cuts create options into chunks and writes the manifest.
    pub fn render(self) -> Rendered {
        let mut root = self.document.root;
        for_each_module(&mut root, &mut |_, _, module| chunk_create_options(module));
        if let Kind::Object(members) = &mut root.kind {
            members.retain(|member| member.key != TEMPLATE_VERSION);
        }
        Rendered {
            text: write::pretty(&root),
            manifest: root.to_value(),
            platform: self.platform,
            output: self.output,
            images: self.images,
            findings: self.findings,
        }
    }
}

/// Expands and reads the template's text.
fn read(
    name: &str,
    source: String,
    variables: &BTreeMap<String, String>,
    compat: bool,
) -> Result<(Document, Vec<Diagnostic>), RenderError> {
    let expanded = expand(&source, variables, compat);
    let format = Format::of_name(name).unwrap_or_else(|| Format::of_text(&source));
    let map = expanded.map.clone();
    let text = expanded.text.clone();
    let document =
        Document::parse_expanded(name, source.clone(), expanded.text, expanded.map, format).map_err(|mut error| {
            let variable = left_over(&text).into_iter().find(|(_, span)| span.start == error.span.start);
            let place = |span| map.to_source(span);
            let findings = match variable {
                Some((variable, span)) => {
                    let message = format!("the variable `{variable}` is not set");
                    let found = Diagnostic::new(&rules::UNDEFINED_VARIABLE, place(span), message);
                    Findings { name: name.to_owned(), source, diagnostics: vec![found] }
                }
                None => {
                    error.span = place(error.span);
                    Findings::unreadable(name, source, &error, format)
                }
            };
            RenderError::Unreadable(Box::new(findings))
        })?;
    // These were found in the source itself, where no piece before them can have been shifted back wrongly.
    let reserved = expanded.reserved.into_iter().filter_map(|(variable, _)| {
        let start = document.text().find(&format!("${variable}"))?;
        let message = format!("a variable is called `{variable}`, which is a part of the manifest; it is not used");
        let span = Span::new(start, start + variable.len() + 1);
        Some(Diagnostic::new(&rules::RESERVED_VARIABLE, span, message))
    });
    let found = reserved.collect();
    Ok((document, found))
}

/// Puts the images that are built in the place of their placeholders.
fn replace_images(
    document: &mut Document,
    placeholders: &mut Placeholders<'_>,
    bypassed: &str,
    found: &mut Vec<Diagnostic>,
) -> Vec<ModuleImage> {
    for entry in modules(&document.root).iter().filter(|entry| entry.section == Section::User) {
        let image = entry.member.value.get("settings").and_then(|settings| settings.get("image"));
        found.extend(image.and_then(|image| placeholders.add_directory_of(image)));
    }
    let bypass: Vec<&str> = bypassed.split(',').filter(|name| !name.is_empty()).map(str::trim).collect();
    let is_bypassed = |name: &str| bypass.first() == Some(&"*") || bypass.contains(&name);
    let mut images: Vec<ModuleImage> = Vec::new();
    for_each_module(&mut document.root, &mut |section, name, module| {
        let Some(node) = module.get_mut("settings").and_then(|settings| settings.get_mut("image")) else { return };
        let resolved = node.text().filter(|_| section == Section::User).and_then(|image| placeholders.resolve(image));
        let Some(image) = resolved else {
            found.extend(placeholders.explain(node, section == Section::User));
            return;
        };
        node.kind = Kind::String(image.image.as_str().into());
        let index = images.iter().position(|known| known.image == image.image).unwrap_or_else(|| {
            images.push(image);
            images.len() - 1
        });
        images[index].modules.push(name.to_owned());
        images[index].bypassed &= is_bypassed(name);
    });
    images
}

/// Variables that nobody set.
pub fn left_over_variables(document: &Document) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    visit(&document.root, false, &mut |text, place, is_container| {
        for (name, span) in left_over(text) {
            let rule = if is_container { &rules::UNDEFINED_INNER_VARIABLE } else { &rules::UNDEFINED_VARIABLE };
            let message = format!("the variable `{name}` is not set");
            let help = "Set it in `.env` or in the environment.";
            found.push(Diagnostic::new(rule, document.inside_text(text, place, span), message).help(help));
        }
    });
    found
}

/// Calls `look` for every text, names of members included, with its place, and whether it belongs to a container's
/// options.
fn visit(node: &Node, is_container: bool, look: &mut dyn FnMut(&str, Span, bool)) {
    match &node.kind {
        Kind::String(text) => look(text, node.span, is_container),
        Kind::Array(elements) => elements.iter().for_each(|element| visit(element, is_container, look)),
        Kind::Object(members) => {
            for Member { key, key_span, value } in members {
                look(key, *key_span, is_container);
                let opens_container = key == "env" || key.starts_with("createOptions");
                visit(value, is_container || opens_container, look);
            }
        }
        _ => {}
    }
}

/// Turns create options into text and cuts it into chunks. A chunk that was written by hand is overwritten in place.
fn chunk_create_options(module: &mut Node) {
    let Some(settings) = module.get_mut("settings") else { return };
    let Some(options) = settings.get("createOptions") else { return };
    let span = options.span;
    let text = match &options.kind {
        Kind::String(text) => text.to_string(),
        _ => write::compact(options),
    };
    let characters: Vec<char> = text.chars().collect();
    for (index, chunk) in characters.chunks(CHUNK_CHARACTERS).enumerate() {
        let key = if index == 0 { "createOptions".to_owned() } else { format!("createOptions{index:02}") };
        let value = Node { span, kind: Kind::String(chunk.iter().collect()) };
        if let Some(existing) = settings.get_mut(&key) {
            *existing = value;
        } else if let Kind::Object(members) = &mut settings.kind {
            members.push(Member { key: key.into(), key_span: span, value });
        }
    }
}

/// The manifest's file name.
fn output_name(template: &Path, root: &Node, platform: &str, variables: &BTreeMap<String, String>) -> String {
    if let Some(name) = variables.get("DEPLOYMENT_CONFIG_FILE").filter(|name| !name.is_empty()) {
        return name.clone();
    }
    let file = template.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let suffixes = [".template.json", ".json", ".template.jsonc", ".template.yaml", ".template.yml", ".yaml", ".yml"];
    let base = suffixes.iter().find_map(|suffix| file.strip_suffix(suffix)).unwrap_or("deployment");
    let version = root.get(TEMPLATE_VERSION).and_then(Node::text).unwrap_or("");
    // The versions are compared as texts, as they always were.
    if version > "0.0.1" { format!("{base}.{platform}.json") } else { format!("{base}.json") }
}
