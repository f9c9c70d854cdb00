//! Outputs and inputs that routes name, against what the modules have: the sources of modules that the solution builds, and
//! the modules that edgectl knows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use edgectl_schemas::diagnostic::{Diagnostic, Rule, did_you_mean};
use edgectl_schemas::document::document::Document;
use edgectl_schemas::document::node::{Kind, Node, Span};
use edgectl_schemas::manifest::content::{ModuleEntry, modules, modules_content, route_texts};
use edgectl_schemas::manifest::variable::is_open;
use edgectl_schemas::route::parser::Route;
use edgectl_schemas::route::sink::Endpoint;
use edgectl_schemas::rules;
use edgectl_simulator::builtin::catalog::Builtin;

use super::files::SKIPPED;
use super::placeholder::ModuleImage;

/// Largest source file that is looked into, in bytes.
const MAX_FILE: u64 = 1024 * 1024;
/// Most files of one module that are looked into; a module with more is not judged.
const MAX_FILES: usize = 2000;
/// Longest name of an output or an input that is kept.
const MAX_NAME: usize = 128;

/// Outputs and inputs that no module has. `images` are those that the solution builds.
pub fn unknown(document: &Document, images: &[ModuleImage]) -> Vec<Diagnostic> {
    let entries = modules(&document.root);
    if !entries.iter().any(|entry| is_judged(entry, images)) {
        return Vec::new();
    }
    let mut known = BTreeMap::new();
    let mut found = Vec::new();
    for node in route_texts(&document.root) {
        let text = node.text().unwrap_or_default();
        let Some(route) = Route::parse(text).ok().filter(|_| !is_open(text)) else { continue };
        let source = route.source.pattern.module().zip(route.source.pattern.output());
        let sink = match &route.sink.endpoint {
            Endpoint::Module { module, input } => Some((&**module, &**input)),
            Endpoint::Upstream => None,
        };
        let sides = [(Side::Output, source, route.source.span), (Side::Input, sink, route.sink.span)];
        for (side, names, part) in sides {
            let Some((module, name)) = names else { continue };
            let Some(entry) = entries.iter().find(|entry| entry.name.eq_ignore_ascii_case(module)) else { continue };
            let known = known.entry(entry.name).or_insert_with(|| Endpoints::of(document, entry, images));
            if known.has(side, name) {
                continue;
            }
            // The name stands last in its part of the route.
            let offset = part.of(text).rfind(name).map_or(part.start, |offset| part.start + offset);
            let place = document.inside(node, Span::new(offset, (offset + name.len()).min(part.end)));
            found.push(known.finding(side, entry, name, place));
        }
    }
    found
}

/// Whether anything can be known of a module's ends.
fn is_judged(entry: &ModuleEntry<'_>, images: &[ModuleImage]) -> bool {
    built_by(entry, images).is_some() || builtin(entry).is_some()
}

fn built_by<'i>(entry: &ModuleEntry<'_>, images: &'i [ModuleImage]) -> Option<&'i ModuleImage> {
    images.iter().find(|image| image.modules.iter().any(|name| name == entry.name))
}

fn builtin(entry: &ModuleEntry<'_>) -> Option<Builtin> {
    let image = entry.member.value.get("settings")?.get("image")?;
    Builtin::for_image(image.text()?)
}

/// Which end of a module a route names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Output,
    Input,
}

/// What is known of the ends of a module.
enum Endpoints {
    /// All of them.
    Listed(Builtin),
    /// Every word of its sources, among which their names must be.
    Words(BTreeSet<String>),
    /// Nothing.
    Unknown,
}

impl Endpoints {
    fn of(document: &Document, entry: &ModuleEntry<'_>, images: &[ModuleImage]) -> Self {
        if let Some(image) = built_by(entry, images) {
            let mut words = BTreeSet::new();
            let mut files = 0;
            let is_whole = read_directory(&image.directory, &mut words, &mut files)
                && (image.context.starts_with(&image.directory)
                    || read_directory(&image.context, &mut words, &mut files));
            if !is_whole || files == 0 {
                return Self::Unknown;
            }
            words_of_node(&entry.member.value, &mut words);
            let twin = modules_content(&document.root).and_then(|content| content.value.get(entry.name));
            if let Some(twin) = twin {
                words_of_node(twin, &mut words);
            }
            return Self::Words(words);
        }
        builtin(entry).map_or(Self::Unknown, Self::Listed)
    }

    fn has(&self, side: Side, name: &str) -> bool {
        let is_it = |known: &str| known.eq_ignore_ascii_case(name);
        match self {
            Self::Unknown => true,
            Self::Listed(builtin) => builtin_names(*builtin, side).iter().any(|known| is_it(known)),
            // Names may hold characters that end a word.
            Self::Words(words) => words_of(name).all(|part| words.contains(part) || words.iter().any(|w| is_it(w))),
        }
    }

    fn finding(&self, side: Side, entry: &ModuleEntry<'_>, name: &str, place: Span) -> Diagnostic {
        let (rule, end): (&'static Rule, _) = match side {
            Side::Output => (&rules::ROUTE_UNKNOWN_OUTPUT, "output"),
            Side::Input => (&rules::ROUTE_UNKNOWN_INPUT, "input"),
        };
        let module = entry.name;
        let (message, meant) = match self {
            Self::Listed(builtin) => {
                let known = builtin_names(*builtin, side);
                let message = format!("the module `{module}` has no {end} `{name}`, only `{}`", known.join("`, `"));
                (message, did_you_mean(name, known.iter().copied()))
            }
            Self::Words(words) => (
                format!(
                    "no source file of the module `{module}` has the word `{name}`, so it hardly has such an {end}"
                ),
                did_you_mean(name, words.iter().map(String::as_str)),
            ),
            Self::Unknown => (format!("the module `{module}` has no {end} `{name}`"), None),
        };
        let found = Diagnostic::new(rule, place, message);
        let found = match meant {
            Some(meant) => found.help(format!("Did you mean `{meant}`?")),
            None => found,
        };
        found.related(entry.member.key_span, "the module is declared here")
    }
}

fn builtin_names(builtin: Builtin, side: Side) -> &'static [&'static str] {
    match side {
        Side::Output => builtin.outputs(),
        Side::Input => builtin.inputs(),
    }
}

/// Adds the words of all source files; whether all of them were read.
fn read_directory(directory: &Path, words: &mut BTreeSet<String>, files: &mut usize) -> bool {
    let Ok(entries) = std::fs::read_dir(directory) else { return false };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(kind) = entry.file_type() else { return false };
        if kind.is_symlink() {
            return false;
        }
        if name.starts_with('.') || SKIPPED.contains(&name.as_str()) {
            continue;
        }
        if kind.is_dir() {
            if !read_directory(&entry.path(), words, files) {
                return false;
            }
            continue;
        }
        if is_about_the_module(&name) {
            continue;
        }
        *files += 1;
        if *files > MAX_FILES || entry.metadata().is_ok_and(|metadata| metadata.len() > MAX_FILE) {
            return false;
        }
        let Ok(bytes) = std::fs::read(entry.path()) else { return false };
        let text = String::from_utf8_lossy(&bytes);
        for word in words_of(&text) {
            if !words.contains(word) {
                words.insert(word.to_owned());
            }
        }
    }
    true
}

/// Files that speak of a module and are no source of it: how it is built and deployed, and prose.
fn is_about_the_module(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    lower == "module.json"
        || lower.starts_with("dockerfile")
        || lower.starts_with("deployment.")
        || lower.contains(".template.")
        || [".md", ".txt", ".lock"].iter().any(|end| lower.ends_with(end))
}

/// Adds the words of everything that the manifest says of a module: its environment, say.
fn words_of_node(node: &Node, words: &mut BTreeSet<String>) {
    match &node.kind {
        Kind::String(text) => words.extend(words_of(text).map(str::to_owned)),
        Kind::Array(elements) => elements.iter().for_each(|element| words_of_node(element, words)),
        Kind::Object(members) => members.iter().for_each(|member| words_of_node(&member.value, words)),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) => {}
    }
}

fn words_of(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty() && word.len() <= MAX_NAME)
}
