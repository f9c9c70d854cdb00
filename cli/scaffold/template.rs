//! Templates: those that this program carries, `templates/` of its source, and those of the user.
//!
//! A template is a directory with a `template.yaml` that describes it. Its other files are copied as they are, but
//! those whose names end in `.tera` are rendered and lose that ending. Names of files are rendered as well; a file with
//! `{{platform}}` in its name is rendered for each platform that images are built for, and is told how containers call
//! that platform: `container_platform`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use rust_embed::RustEmbed;
use tera::Tera;

use crate::scaffold::description::Description;
use crate::scaffold::error::ScaffoldError;
use crate::scaffold::tree;

/// The file that describes a template.
pub const DESCRIPTION: &str = "template.yaml";
const RENDERED: &str = ".tera";
/// What a name of a file holds that is rendered for each platform.
const PLATFORM: &str = "{{platform}}";
/// The platforms that images are built for, and what containers call them.
const PLATFORMS: [(&str, &str); 3] =
    [("amd64", "linux/amd64"), ("arm32v7", "linux/arm/v7"), ("arm64v8", "linux/arm64")];
/// How many templates may stand on each other.
const MOST_BASES: usize = 4;

#[derive(RustEmbed)]
#[folder = "templates/"]
struct Embedded;

/// Where the files of a template are.
#[derive(Debug, Clone)]
enum Place {
    /// In this directory of the embedded ones.
    Embedded(String),
    /// In a directory of the machine.
    Directory(PathBuf),
}

/// A template.
#[derive(Debug, Clone)]
pub struct Template {
    /// What it is called.
    pub name: String,
    place: Place,
    /// What it says about itself.
    pub description: Description,
}

/// A file of a rendered template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedFile {
    /// Where it goes, relative to where the template is rendered to.
    pub path: PathBuf,
    /// What it holds.
    pub content: Vec<u8>,
}

impl Template {
    /// Loads the template in the directory `root` of the embedded ones.
    pub fn built_in(root: &str) -> Result<Self, ScaffoldError> {
        let wrong = |reason: String| ScaffoldError::Template { name: root.to_owned(), reason };
        let file =
            Embedded::get(&format!("{root}/{DESCRIPTION}")).ok_or_else(|| wrong("there is no such one".to_owned()))?;
        let description = Description::parse(&file.data).map_err(wrong)?;
        let name = root.rsplit('/').next().unwrap_or(root).to_owned();
        Ok(Self { name, place: Place::Embedded(root.to_owned()), description })
    }

    /// Loads the template in a directory of the machine.
    pub fn in_directory(name: &str, directory: &Path) -> Result<Self, ScaffoldError> {
        let path = directory.join(DESCRIPTION);
        let text = std::fs::read(&path).map_err(|source| ScaffoldError::Io { path, source })?;
        let description = Description::parse(&text).map_err(|reason| ScaffoldError::UserTemplate {
            name: name.to_owned(),
            reason: format!("{DESCRIPTION}: {reason}"),
        })?;
        Ok(Self { name: name.to_owned(), place: Place::Directory(directory.to_owned()), description })
    }

    /// All templates that are embedded in the directory `parent`, in order of their names.
    pub fn built_in_below(parent: &str) -> Result<Vec<Self>, ScaffoldError> {
        let suffix = format!("/{DESCRIPTION}");
        let mut roots: Vec<String> = Embedded::iter()
            .filter_map(|path| path.strip_suffix(&suffix).map(str::to_owned))
            .filter(|root| root.strip_prefix(parent).is_some_and(|rest| rest.starts_with('/')))
            .collect();
        roots.sort();
        roots.iter().map(|root| Self::built_in(root)).collect()
    }

    /// The text of one of its files as it stands in the template.
    pub fn source(&self, path: &str) -> Option<String> {
        let bytes = match &self.place {
            Place::Embedded(root) => Embedded::get(&format!("{root}/{path}"))?.data.into_owned(),
            Place::Directory(directory) => std::fs::read(directory.join(path)).ok()?,
        };
        String::from_utf8(bytes).ok()
    }

    /// The error that it has a mistake.
    pub fn wrong(&self, reason: String) -> ScaffoldError {
        let name = self.name.clone();
        match self.place {
            Place::Embedded(_) => ScaffoldError::Template { name, reason },
            Place::Directory(_) => ScaffoldError::UserTemplate { name, reason },
        }
    }

    fn files(&self) -> Result<BTreeMap<String, Cow<'static, [u8]>>, ScaffoldError> {
        let mut files = BTreeMap::new();
        match &self.place {
            Place::Directory(directory) => {
                files.extend(tree::read(directory)?.into_iter().map(|(path, content)| (path, content.into())));
            }
            Place::Embedded(root) => {
                let prefix = format!("{root}/");
                for path in Embedded::iter() {
                    let Some(name) = path.strip_prefix(&prefix) else { continue };
                    if let Some(file) = Embedded::get(&path) {
                        files.insert(name.to_owned(), file.data);
                    }
                }
            }
        }
        files.remove(DESCRIPTION);
        Ok(files)
    }

    /// Renders all its files, and those of its base that it has none of its own for. A variable without value is an
    /// error, and so is a file that would be written elsewhere.
    pub fn render(&self, values: &tera::Context) -> Result<Vec<RenderedFile>, ScaffoldError> {
        let mut context = tera::Context::new();
        let mut files = BTreeMap::new();
        let mut next = Some(self.clone());
        for _ in 0..MOST_BASES {
            let Some(template) = next else { break };
            for (name, value) in &template.description.values {
                if !context.contains_key(name) {
                    context.insert(name.clone(), value);
                }
            }
            for (name, content) in template.files()? {
                files.entry(name).or_insert(content);
            }
            next = template.description.base.as_deref().map(Self::built_in).transpose()?;
        }
        context.extend(values.clone());
        let renderer = Renderer::new();
        let mut rendered = BTreeMap::new();
        for (name, content) in files {
            for file in renderer.render_file(&name, &content, &context).map_err(|reason| self.wrong(reason))? {
                if rendered.insert(file.path.clone(), file.content).is_some() {
                    return Err(self.wrong(format!("two of its files would be {}", file.path.display())));
                }
            }
        }
        Ok(rendered.into_iter().map(|(path, content)| RenderedFile { path, content }).collect())
    }
}

/// What templates are rendered with: filters and functions that neither read nor run anything.
struct Renderer(Tera);

impl Renderer {
    fn new() -> Self {
        let mut tera = Tera::new();
        tera.register_filter("json", json);
        Self(tera)
    }

    /// Renders a file: one, or one for each platform. The error says what is wrong.
    fn render_file(&self, name: &str, content: &[u8], values: &tera::Context) -> Result<Vec<RenderedFile>, String> {
        if !name.contains(PLATFORM) {
            return Ok(vec![self.render_once(name, content, values)?]);
        }
        let each = PLATFORMS.iter().map(|(platform, container_platform)| {
            let mut values = values.clone();
            values.insert("platform", platform);
            values.insert("container_platform", container_platform);
            self.render_once(name, content, &values)
        });
        each.collect()
    }

    fn render_once(&self, name: &str, content: &[u8], values: &tera::Context) -> Result<RenderedFile, String> {
        let content = if name.ends_with(RENDERED) {
            let text = std::str::from_utf8(content).map_err(|error| format!("{name}: {error}"))?;
            self.render_text(text, values).map_err(|reason| format!("{name}: {reason}"))?.into_bytes()
        } else {
            content.to_owned()
        };
        let bare = name.strip_suffix(RENDERED).unwrap_or(name);
        let path = if bare.contains('{') {
            self.render_text(bare, values).map_err(|reason| format!("{name}: {reason}"))?
        } else {
            bare.to_owned()
        };
        if !stays_inside(&path) {
            return Err(format!("{name}: it would be written to {path:?}"));
        }
        Ok(RenderedFile { path: path.into(), content })
    }

    fn render_text(&self, text: &str, values: &tera::Context) -> Result<String, String> {
        self.0.render_str(text, values, false).map_err(|error| crate::error::chain(&error))
    }
}

/// A value as JSON; over several lines where it is asked for the indentation of what it stands in, `json(indent=4)`.
fn json(value: tera::Value, arguments: tera::Kwargs, _: &tera::State) -> tera::TeraResult<String> {
    let failed = |error: serde_json::Error| tera::Error::message(error.to_string());
    match arguments.get::<usize>("indent")? {
        None => serde_json::to_string(&value).map_err(failed),
        Some(indent) => {
            let text = serde_json::to_string_pretty(&value).map_err(failed)?;
            Ok(text.replace('\n', &format!("\n{}", " ".repeat(indent))))
        }
    }
}

/// Whether a path stays below where it starts, and out of what git runs and obeys.
pub fn stays_inside(path: &str) -> bool {
    let is_plain = |part: Component<'_>| match part {
        Component::Normal(name) => !name.eq_ignore_ascii_case(".git"),
        _ => false,
    };
    !path.contains(['\\', '\0'])
        && Path::new(path).components().next().is_some()
        && Path::new(path).components().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_without_value_is_an_error() {
        assert!(Renderer::new().render_text("{{ nothing }}", &tera::Context::new()).is_err());
    }

    #[test]
    fn values_become_json() {
        let mut values = tera::Context::new();
        values.insert("value", &serde_json::json!({ "b": ["x\"y"], "a": 1 }));
        let render = |text| Renderer::new().render_text(text, &values).unwrap();
        assert_eq!(render("{{ value | json }}"), r#"{"b":["x\"y"],"a":1}"#);
        assert_eq!(render("{{ value.b | json(indent=2) }}"), "[\n    \"x\\\"y\"\n  ]");
    }

    #[test]
    fn nothing_is_rendered_outside() {
        for path in ["src/main.rs", ".gitignore", "a/.github/x"] {
            assert!(stays_inside(path), "{path}");
        }
        for path in ["", "/etc/passwd", "../a", "a/../../b", ".git/hooks/pre-commit", "a/.GIT/config", "a\\b", "a\0"] {
            assert!(!stays_inside(path), "{path}");
        }
    }

    #[test]
    fn files_for_each_platform_are_rendered_for_each() {
        let values = tera::Context::new();
        let files = Renderer::new()
            .render_file("Dockerfile.{{platform}}.tera", b"FROM --platform={{ container_platform }} x", &values)
            .unwrap();
        let names: Vec<_> = files.iter().map(|file| file.path.to_str().unwrap()).collect();
        assert_eq!(names, ["Dockerfile.amd64", "Dockerfile.arm32v7", "Dockerfile.arm64v8"]);
        assert_eq!(files[1].content, b"FROM --platform=linux/arm/v7 x");
    }

    #[test]
    fn paths_that_climb_out_when_rendered_are_refused() {
        let mut values = tera::Context::new();
        for place in ["../../x", "/etc/x", ".git/config"] {
            values.insert("place", place);
            let error = Renderer::new().render_file("{{ place }}", b"", &values).unwrap_err();
            assert!(error.contains(place), "{error}");
        }
    }
}
