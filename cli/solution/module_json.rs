//! `module.json`: what the image of a module is built from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use edgectl_schemas::diagnostic::Diagnostic;
use edgectl_schemas::document::document::Document;
use edgectl_schemas::document::node::{Kind, Node, Span};
use edgectl_schemas::document::write;
use edgectl_schemas::rules;
use serde::{Deserialize, Serialize};

/// The file's name.
pub const FILE: &str = "module.json";

/// Who builds an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Builder {
    /// We do, without a container engine.
    Own,
    /// A container engine, with the module's Dockerfile.
    Dockerfile,
}

/// The member `edgectl` of `module.json`, which other tools pass over: how the image is built.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BuildSettings {
    /// Who builds it; with a Dockerfile where there is one, if it does not say.
    #[serde(default)]
    pub builder: Option<Builder>,
    /// The base image: `oci:DIRECTORY`, `oci-archive:FILE`, `docker-archive:FILE`, or a name in a registry.
    #[serde(default)]
    pub base: Option<String>,
    /// What platforms of the module's own naming run on: `"gpuamd64": "linux/amd64"`.
    #[serde(default)]
    pub platforms: BTreeMap<String, String>,
    /// The program, where there are several.
    #[serde(default)]
    pub program: Option<String>,
}

/// What `module.json` says. Everything but `repository` may be left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleJson {
    /// `image.repository`.
    pub repository: String,
    /// `image.tag.version`; `0.0.0` where absent.
    pub version: String,
    /// `image.tag.platforms`: the name of a platform, which may be any word, and the Dockerfile for it, relative to
    /// the module's directory.
    pub platforms: Vec<(String, String)>,
    /// `image.buildOptions`, as written.
    pub build_options: Vec<String>,
    /// `image.contextPath`, relative to the module's directory; `.` where absent.
    pub context_path: String,
    /// `language`.
    pub language: Option<String>,
    /// `edgectl`, which is ours.
    pub build: BuildSettings,
}

impl ModuleJson {
    /// Reads a document whose variables were replaced. What is missing has its default; what has the wrong type is
    /// reported, and none comes back.
    pub fn read(document: &Document) -> Result<Self, Vec<Diagnostic>> {
        let mut reader = Reader { wrong: Vec::new() };
        let root = &document.root;
        let image = reader.object(Some(root), "module.json").and_then(|root| reader.object(root.get("image"), "image"));
        let tag = image.and_then(|image| reader.object(image.get("tag"), "image.tag"));
        let platforms = tag.and_then(|tag| reader.object(tag.get("platforms"), "image.tag.platforms"));
        let read = Self {
            repository: reader.text(image, "repository").unwrap_or_default(),
            version: reader.text(tag, "version").unwrap_or_else(|| "0.0.0".to_owned()),
            platforms: reader.platforms(platforms),
            build_options: reader.texts(image.and_then(|image| image.get("buildOptions"))),
            context_path: reader.text(image, "contextPath").unwrap_or_else(|| ".".to_owned()),
            language: reader.text(Some(root), "language"),
            build: reader.build_settings(root.get("edgectl")),
        };
        if image.is_some() && read.repository.is_empty() {
            let span = image.map_or(Span::default(), |image| Span::new(image.span.start, image.span.start + 1));
            reader.wrong.push(
                Diagnostic::new(&rules::INVALID_MODULE_FILE, span, "`image.repository` is missing or empty")
                    .help("Name the repository the image is pushed to, such as `registry.example.com/filter`."),
            );
        }
        if reader.wrong.is_empty() { Ok(read) } else { Err(reader.wrong) }
    }

    /// The tag of the image for a platform: repository in lower case, version, container tag if any, platform.
    pub fn image(&self, platform: &str, container_tag: &str) -> String {
        let repository = self.repository.to_lowercase();
        if container_tag.is_empty() {
            format!("{repository}:{}-{platform}", self.version)
        } else {
            format!("{repository}:{}-{container_tag}-{platform}", self.version)
        }
    }

    /// The Dockerfile for a platform.
    pub fn dockerfile(&self, directory: &Path, platform: &str) -> Option<PathBuf> {
        self.platforms.iter().find(|(name, _)| name == platform).map(|(_, file)| directory.join(file))
    }
}

struct Reader {
    wrong: Vec<Diagnostic>,
}

impl Reader {
    fn wrong(&mut self, node: &Node, name: &str, expected: &str) {
        let message = format!("`{name}` is {}, not {expected}", node.kind_name());
        self.wrong.push(Diagnostic::new(&rules::INVALID_MODULE_FILE, node.span, message));
    }

    fn object<'a>(&mut self, node: Option<&'a Node>, name: &str) -> Option<&'a Node> {
        let node = node?;
        if node.members().is_none() {
            self.wrong(node, name, "an object");
            return None;
        }
        Some(node)
    }

    fn text(&mut self, holder: Option<&Node>, name: &str) -> Option<String> {
        let node = holder?.get(name)?;
        match &node.kind {
            Kind::String(text) => Some(text.to_string()),
            // A version is often written as a number.
            Kind::Number(_) => Some(write::compact(node)),
            _ => {
                self.wrong(node, name, "a string");
                None
            }
        }
    }

    fn build_settings(&mut self, node: Option<&Node>) -> BuildSettings {
        let Some(node) = node else { return BuildSettings::default() };
        serde_json::from_value(node.to_value()).unwrap_or_else(|error| {
            let message = format!("`edgectl` is not as it should be: {error}");
            self.wrong.push(Diagnostic::new(&rules::INVALID_MODULE_FILE, node.span, message));
            BuildSettings::default()
        })
    }

    fn platforms(&mut self, node: Option<&Node>) -> Vec<(String, String)> {
        let mut platforms: Vec<(String, String)> = Vec::new();
        for member in node.and_then(Node::members).unwrap_or_default() {
            match member.value.text() {
                Some(file) => {
                    platforms.retain(|(name, _)| *name != member.key);
                    platforms.push((member.key.to_string(), file.to_owned()));
                }
                None => self.wrong(&member.value, &member.key, "the path of a Dockerfile"),
            }
        }
        platforms
    }

    fn texts(&mut self, node: Option<&Node>) -> Vec<String> {
        let Some(node) = node else { return Vec::new() };
        let Some(elements) = node.elements() else {
            self.wrong(node, "buildOptions", "an array of strings");
            return Vec::new();
        };
        let mut texts = Vec::new();
        for element in elements {
            match element.text() {
                Some(text) => texts.push(text.to_owned()),
                None => self.wrong(element, "buildOptions", "a string"),
            }
        }
        texts
    }
}
