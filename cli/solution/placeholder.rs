//! Image placeholders, `${MODULES.name}` and `${MODULEDIR<path>}`, and the images they stand for.

use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};

use edgectl_schemas::diagnostic::{Diagnostic, Findings, did_you_mean};
use edgectl_schemas::document::document::{Document, Format};
use edgectl_schemas::document::expand::expand;
use edgectl_schemas::document::node::Node;
use edgectl_schemas::rules;

use super::module_json::{BuildSettings, FILE, ModuleJson};

/// An image that a directory of the solution is built into, and that the manifest uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleImage {
    /// The directory as the placeholder names it.
    pub name: String,
    /// The modules of the manifest that run it.
    pub modules: Vec<String>,
    /// Whether `BYPASS_MODULES` says that none of those modules wants it built.
    pub bypassed: bool,
    /// The platform, as `module.json` calls it: `amd64`, `amd64.debug`, or any other word.
    pub platform: String,
    /// The image's reference: `registry.example.com/filter:0.0.1-amd64`.
    pub image: String,
    /// The module's directory, absolute.
    pub directory: PathBuf,
    /// Its Dockerfile, absolute; it may lie outside the directory, and outside the context.
    pub dockerfile: PathBuf,
    /// The build context, absolute.
    pub context: PathBuf,
    /// Options for the engine's build, as written in `module.json`.
    pub build_options: Vec<String>,
    /// The language `module.json` names.
    pub language: Option<String>,
    /// How it is built.
    pub build: BuildSettings,
}

/// A directory with a `module.json`.
struct Source {
    /// `MODULES.filter` or `MODULEDIR<../filter>`.
    base: String,
    directory: PathBuf,
    file: ModuleJson,
}

/// The placeholders of a solution.
pub struct Placeholders<'a> {
    template_directory: PathBuf,
    platform: &'a str,
    variables: &'a BTreeMap<String, String>,
    replace_reserved: bool,
    sources: Vec<Source>,
    /// Placeholder, or image, to source and platform.
    images: HashMap<String, (usize, String)>,
    /// What is wrong with module files.
    pub findings: Vec<Findings>,
}

impl<'a> Placeholders<'a> {
    /// Reads the module files in the modules directory beside the template.
    pub fn collect(
        template_directory: &Path,
        platform: &'a str,
        variables: &'a BTreeMap<String, String>,
        replace_reserved: bool,
    ) -> Self {
        let mut placeholders = Self {
            template_directory: template_directory.to_owned(),
            platform,
            variables,
            replace_reserved,
            sources: Vec::new(),
            images: HashMap::new(),
            findings: Vec::new(),
        };
        let modules = template_directory.join(variables.get("MODULES_PATH").map_or("modules", |path| path.trim()));
        let mut names: Vec<String> = std::fs::read_dir(&modules)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        for name in names {
            let directory = modules.join(&name);
            if directory.join(FILE).exists() {
                placeholders.add(format!("MODULES.{name}"), directory);
            }
        }
        placeholders
    }

    /// Reads the module file that a placeholder names by its path, if the image is such a placeholder.
    pub fn add_directory_of(&mut self, image: &Node) -> Option<Diagnostic> {
        let path = module_directory(image.text()?)?;
        let base = format!("MODULEDIR<{path}>");
        if self.sources.iter().any(|source| source.base == base) {
            return None;
        }
        let directory = self.template_directory.join(path);
        if !directory.join(FILE).exists() {
            let message = format!("{} has no {FILE}", normal(&directory).display());
            return Some(Diagnostic::new(&rules::NO_MODULE_FILE, image.span, message));
        }
        self.add(base, directory);
        None
    }

    fn add(&mut self, base: String, directory: PathBuf) {
        let path = normal(&directory.join(FILE));
        let name = path.display().to_string();
        let Ok(source) = std::fs::read_to_string(&path) else { return };
        let expanded = expand(&source, self.variables, self.replace_reserved);
        let kept = expanded.text.clone();
        let read = Document::parse_expanded(&name, source, expanded.text, expanded.map, Format::Json);
        let document = match read {
            Ok(document) => document,
            Err(error) => {
                self.findings.push(Findings::unreadable(&name, kept, &error, Format::Json));
                return;
            }
        };
        match ModuleJson::read(&document) {
            Ok(file) => self.register(Source { base, directory: normal(&directory), file }),
            Err(wrong) => self.findings.push(Findings::of(&document, wrong)),
        }
    }

    fn register(&mut self, source: Source) {
        let index = self.sources.len();
        let base = &source.base;
        let container_tag = self.variables.get("CONTAINER_TAG").map_or("", |tag| tag.trim());
        for (platform, _) in &source.file.platforms {
            let image = source.file.image(platform, container_tag);
            let entry = (index, platform.clone());
            self.images.insert(format!("${{{base}.{platform}}}"), entry.clone());
            self.images.insert(image, entry.clone());
            if platform == self.platform {
                self.images.insert(format!("${{{base}}}"), entry);
            } else if platform.strip_suffix(".debug") == Some(self.platform) {
                self.images.insert(format!("${{{base}.debug}}"), entry);
            }
        }
        self.sources.push(source);
    }

    /// The image a whole value of `settings.image` stands for, if one that is built.
    pub fn resolve(&self, image: &str) -> Option<ModuleImage> {
        let (index, platform) = self.images.get(image)?;
        let source = &self.sources[*index];
        let container_tag = self.variables.get("CONTAINER_TAG").map_or("", |tag| tag.trim());
        let name = source.base.strip_prefix("MODULES.").unwrap_or(&source.base);
        Some(ModuleImage {
            name: name.trim_start_matches("MODULEDIR<").trim_end_matches('>').to_owned(),
            modules: Vec::new(),
            bypassed: true,
            platform: platform.clone(),
            image: source.file.image(platform, container_tag),
            dockerfile: normal(&source.file.dockerfile(&source.directory, platform)?),
            context: normal(&source.directory.join(&source.file.context_path)),
            directory: source.directory.clone(),
            build_options: source.file.build_options.clone(),
            language: source.file.language.clone(),
            build: source.file.build.clone(),
        })
    }

    /// Why a value that holds a placeholder stands for no image.
    pub fn explain(&self, node: &Node, is_user_module: bool) -> Option<Diagnostic> {
        let image = node.text()?;
        let start = image.find("${MODULES.").or_else(|| image.find("${MODULEDIR<"))?;
        let whole = start == 0 && image.ends_with('}');
        if !whole || !is_user_module {
            let message = if is_user_module {
                format!("{image:?} holds an image placeholder and something else, so the placeholder is not replaced")
            } else {
                format!("{image:?} is a placeholder in a system module, where none is replaced")
            };
            return Some(Diagnostic::new(&rules::PARTIAL_PLACEHOLDER, node.span, message));
        }
        let inner = &image[2..image.len() - 1];
        let source = self
            .sources
            .iter()
            .filter(|source| {
                inner.strip_prefix(&*source.base).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
            .max_by_key(|source| source.base.len());
        match source {
            Some(source) => Some(self.unsupported(source, inner, node)),
            None if inner.starts_with("MODULEDIR<") => None,
            None => Some(self.unknown(inner, node)),
        }
    }

    fn unsupported(&self, source: &Source, inner: &str, node: &Node) -> Diagnostic {
        let wanted = match &inner[source.base.len()..] {
            "" => self.platform.to_owned(),
            ".debug" => format!("{}.debug", self.platform),
            other => other[1..].to_owned(),
        };
        let platforms: Vec<&str> = source.file.platforms.iter().map(|(name, _)| name.as_str()).collect();
        let found = Diagnostic::new(
            &rules::UNSUPPORTED_PLATFORM,
            node.span,
            format!("{} has no image for the platform {wanted:?}", source.base),
        );
        if platforms.is_empty() {
            found.help(format!("Its {FILE} has no entry under `image.tag.platforms`."))
        } else {
            found.help(format!("Its {FILE} has images for {}.", platforms.join(", ")))
        }
    }

    fn unknown(&self, inner: &str, node: &Node) -> Diagnostic {
        let name = inner.strip_prefix("MODULES.").unwrap_or(inner);
        let names: Vec<&str> = self.sources.iter().filter_map(|source| source.base.strip_prefix("MODULES.")).collect();
        let message = format!("no module directory is called {name:?}");
        let found = Diagnostic::new(&rules::UNKNOWN_PLACEHOLDER, node.span, message);
        let modules = self.variables.get("MODULES_PATH").map_or("modules", |path| path.trim());
        let bare = name.strip_suffix(".debug").unwrap_or(name);
        match did_you_mean(bare, names.iter().copied()) {
            Some(candidate) => {
                let suffix = &name[bare.len()..];
                found.help(format!("Did you mean `${{MODULES.{candidate}{suffix}}}`?"))
            }
            None if names.is_empty() => found.help(format!("There is no module in `{modules}` beside the template.")),
            None => found.help(format!("The modules in `{modules}` are {}.", names.join(", "))),
        }
    }
}

/// The path in a placeholder `${MODULEDIR<path>}`, `${MODULEDIR<path>.debug}`, wherever it stands in the text.
pub fn module_directory(image: &str) -> Option<&str> {
    let rest = &image[image.find("${MODULEDIR<")? + "${MODULEDIR<".len()..];
    // The path may hold '>' itself: the last one that can end it does.
    rest.match_indices('>')
        .map(|(end, _)| end)
        .rfind(|end| {
            let behind = &rest[end + 1..];
            *end > 0
                && (behind.starts_with('}')
                    || (behind.starts_with('.') && behind.len() > 2 && behind[2..].contains('}')))
        })
        .map(|end| &rest[..end])
}

/// A path without `.` and, where the tree of names allows, without `..`.
pub fn normal(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if result.file_name().is_some() => {
                result.pop();
            }
            other => result.push(other),
        }
    }
    result
}
