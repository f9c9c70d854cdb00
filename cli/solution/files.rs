//! Checks files of a solution: deployment manifests, templates, layers, `module.json`, and the solution file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use edgectl_schemas::diagnostic::{Diagnostic, Findings};
use edgectl_schemas::document::document::{Document, Format, MAX_BYTES, ParseError};
use edgectl_schemas::document::expand::expand;
use edgectl_schemas::document::node::{Node, Span};
use edgectl_schemas::manifest::checks::run::{Purpose, check as check_manifest};
use edgectl_schemas::manifest::content::{ModuleEntry, modules, modules_content};
use edgectl_schemas::manifest::variable::is_open;
use edgectl_schemas::rules;

use super::module_json::{self, ModuleJson};
use super::render::{RenderError, RenderOptions, Template, left_over_variables};
use super::solution::{self, SOLUTION_FILE, Solution};
use super::{check, dotenv, endpoints, placeholder};

/// Directories that hold no files of a solution.
pub const SKIPPED: &[&str] = &["node_modules", "target", "bin", "obj", "venv", "__pycache__"];

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileKind {
    Manifest,
    Template,
    Module,
    Solution,
}

/// A file to check.
#[derive(Debug, Clone)]
pub struct Input {
    /// Where it is; for standard input, where it would be.
    pub path: PathBuf,
    /// Its name as people know it.
    pub name: String,
    /// Its text, if it was read already.
    pub text: Option<String>,
    /// Whether it was named, or found in a directory, where files of other kinds are passed over.
    pub named: bool,
}

/// Finds the files that may belong to a solution, in a directory and below it.
pub fn find(directory: &Path, shown: &Path) -> Vec<Input> {
    let mut inputs = Vec::new();
    let mut entries: Vec<_> = std::fs::read_dir(directory).into_iter().flatten().flatten().collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let Ok(kind) = entry.file_type() else { continue };
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || SKIPPED.contains(&name.as_str()) {
            continue;
        }
        let shown = shown.join(&name);
        if kind.is_dir() {
            inputs.extend(find(&entry.path(), &shown));
        } else if kind.is_file() && Format::of_name(&name).is_some() {
            let name = shown.display().to_string();
            let name = name.strip_prefix("./").unwrap_or(&name).to_owned();
            inputs.push(Input { path: entry.path(), name, text: None, named: false });
        }
    }
    inputs
}

/// Checks files, on all processors. What comes back is in the order of the files; files that are of no kind we know
/// are left out unless they were named.
pub fn check_all(inputs: &[Input], options: RenderOptions<'_>) -> Vec<Findings> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(input) = inputs.get(index) else { return done };
            done.push((index, check_input(input, options)));
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(inputs.len());
    let mut results: Vec<(usize, Vec<Findings>)> = if workers < 2 {
        worker()
    } else {
        std::thread::scope(|scope| {
            let handles: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
            // A worker that failed is a bug of ours, and must not pass as a file without findings.
            handles
                .into_iter()
                .flat_map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        })
    };
    results.sort_by_key(|(index, _)| *index);
    // The same module.json may be reached from several templates.
    let mut all: Vec<Findings> = Vec::new();
    for findings in results.into_iter().flat_map(|(_, findings)| findings) {
        if !all.contains(&findings) || findings.diagnostics.is_empty() {
            all.push(findings);
        }
    }
    all
}

fn check_input(input: &Input, options: RenderOptions<'_>) -> Vec<Findings> {
    let unreadable = |message: String| {
        let found = Diagnostic::new(&rules::NOT_READABLE, Span::default(), message);
        vec![Findings { name: input.name.clone(), source: String::new(), diagnostics: vec![found] }]
    };
    let text = match &input.text {
        Some(text) => text.clone(),
        None => match read_bounded(&input.path) {
            Ok(text) => text,
            Err(_) if !input.named => return Vec::new(),
            Err(error) => return unreadable(format!("the file cannot be read: {error}")),
        },
    };
    let format = Format::of_name(&input.name).unwrap_or_else(|| Format::of_text(&text));
    if text.len() > MAX_BYTES {
        return unreadable(format!("the document is larger than {} MiB", MAX_BYTES / 1024 / 1024));
    }
    match guess(&input.path, &text) {
        Some(FileKind::Template) => template(input, text, options),
        Some(FileKind::Module) => vec![module(input, text, options)],
        Some(FileKind::Solution) => vec![parsed(input, text, format, solution::check)],
        Some(FileKind::Manifest) => manifest(input, text, format, options),
        None if input.named => manifest(input, text, format, options),
        None => Vec::new(),
    }
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    let length = std::fs::metadata(path)?.len();
    if length > MAX_BYTES as u64 {
        let message = format!("it has {length} bytes, the most is {MAX_BYTES}");
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, message));
    }
    std::fs::read_to_string(path)
}

/// What a file is, from its name and its text; it may not even be readable.
fn guess(path: &Path, text: &str) -> Option<FileKind> {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    if name == SOLUTION_FILE {
        return Some(FileKind::Solution);
    }
    let is_manifest = text.contains("modulesContent") || text.contains("moduleContent");
    if name == module_json::FILE && !is_manifest {
        return Some(FileKind::Module);
    }
    // A schema speaks of manifests and is none; it says so at its top.
    let top = text.bytes().take(1024).collect::<Vec<_>>();
    let is_schema = String::from_utf8_lossy(&top).contains("json-schema.org");
    if !is_manifest || is_schema {
        return None;
    }
    Some(if name.contains(".template.") { FileKind::Template } else { FileKind::Manifest })
}

/// Whether a document that is not called one is a template all the same.
fn is_template(document: &Document) -> bool {
    let is_placeholder = |entry: &ModuleEntry<'_>| {
        let image = entry.member.value.get("settings").and_then(|settings| settings.get("image")).and_then(Node::text);
        image.is_some_and(|image| image.contains("${MODULES.") || image.contains("${MODULEDIR<"))
    };
    document.root.get("$schema-template").is_some() || modules(&document.root).iter().any(is_placeholder)
}

fn parsed(input: &Input, text: String, format: Format, rules: impl Fn(&Document) -> Vec<Diagnostic>) -> Findings {
    match Document::parse(&input.name, text.clone(), format) {
        Ok(document) => {
            let found = rules(&document);
            Findings::of(&document, found)
        }
        Err(error) => Findings::unreadable(&input.name, text, &error, format),
    }
}

fn manifest(input: &Input, text: String, format: Format, options: RenderOptions<'_>) -> Vec<Findings> {
    let document = match Document::parse(&input.name, text.clone(), format) {
        Ok(document) => document,
        Err(_) if text.contains("${") => return template(input, text, options),
        Err(error) => return vec![Findings::unreadable(&input.name, text, &error, format)],
    };
    let is_manifest = modules_content(&document.root).is_some();
    if !is_manifest && !input.named {
        return Vec::new();
    }
    if is_template(&document) {
        return template(input, text, options);
    }
    let mut findings = check_manifest(&document, Purpose::Manifest);
    if is_manifest {
        let mut own = left_over_variables(&document);
        own.extend(endpoints::unknown(&document, &[]));
        findings.diagnostics.extend(Findings::of(&document, own).diagnostics);
    }
    vec![findings]
}

fn template(input: &Input, text: String, options: RenderOptions<'_>) -> Vec<Findings> {
    let failure = |message: String| {
        let found = Diagnostic::new(&rules::NOT_READABLE, Span::default(), message);
        vec![Findings { name: input.name.clone(), source: text.clone(), diagnostics: vec![found] }]
    };
    let directory = input.path.parent().unwrap_or(Path::new("."));
    let solution = match Solution::of_template(directory, &input.path) {
        Ok(solution) => solution,
        Err(error) => return failure(error.to_string()),
    };
    let variables = match dotenv::variables(&solution.root, options.environment) {
        Ok(variables) => variables,
        Err(error) => return failure(format!(".env cannot be read: {error}")),
    };
    match Template::read(&solution, &input.path, &input.name, text.clone(), &variables, options) {
        Ok(template) => {
            let found = check::findings(&template);
            if found.iter().any(|findings| findings.name == input.name) { found } else { with_clean(input, found) }
        }
        Err(RenderError::Unreadable(findings)) => vec![*findings],
        Err(error) => failure(error.to_string()),
    }
}

/// A file without findings is counted all the same.
fn with_clean(input: &Input, mut found: Vec<Findings>) -> Vec<Findings> {
    found.insert(0, Findings { name: input.name.clone(), source: String::new(), diagnostics: Vec::new() });
    found
}

fn module(input: &Input, text: String, options: RenderOptions<'_>) -> Findings {
    let directory = input.path.parent().unwrap_or(Path::new(".")).to_owned();
    let root = Solution::find(&directory).map_or_else(|_| directory.clone(), |solution| solution.root);
    let variables: BTreeMap<String, String> =
        dotenv::variables(&root, options.environment).unwrap_or_else(|_| options.environment.clone());
    let expanded = expand(&text, &variables, options.compat);
    let map = expanded.map.clone();
    let document = match Document::parse_expanded(&input.name, text.clone(), expanded.text, expanded.map, Format::Json)
    {
        Ok(document) => document,
        Err(error) => {
            let error = ParseError { span: map.to_source(error.span), message: error.message };
            return Findings::unreadable(&input.name, text, &error, Format::Json);
        }
    };
    let mut found = left_over_variables(&document);
    match ModuleJson::read(&document) {
        Err(wrong) => found.extend(wrong),
        Ok(module) => {
            let platforms = ["image", "tag", "platforms"].iter().try_fold(&document.root, |node, name| node.get(name));
            for (platform, file) in &module.platforms {
                let path = placeholder::normal(&directory.join(file));
                let node =
                    platforms.and_then(|platforms| platforms.get(platform)).map_or(Span::default(), |n: &Node| n.span);
                if !path.is_file() && !is_open(file) {
                    let message = format!("the Dockerfile for {platform} is not there");
                    found.push(Diagnostic::new(&rules::NO_DOCKERFILE, node, message));
                }
            }
        }
    }
    Findings::of(&document, found)
}
