//! The templates that this program carries: `templates/` of its source, embedded.
//!
//! A template is a directory with a `template.yaml` that describes it. Its other files are copied as they are, but
//! those whose names end in `.tera` are rendered and lose that ending. Names of files are rendered as well; a file with
//! `{{platform}}` in its name is rendered for each platform that images are built for, and is told how containers call
//! that platform: `container_platform`.

use std::path::{Component, Path, PathBuf};

use rust_embed::RustEmbed;
use serde::Deserialize;
use tera::Tera;

use crate::scaffold::error::ScaffoldError;

const DESCRIPTION: &str = "template.yaml";
const RENDERED: &str = ".tera";
/// What a name of a file holds that is rendered for each platform.
const PLATFORM: &str = "{{platform}}";
/// The platforms that images are built for, and what containers call them.
const PLATFORMS: [(&str, &str); 3] = [("amd64", "linux/amd64"), ("arm32v7", "linux/arm/v7"), ("arm64v8", "linux/arm64")];

#[derive(RustEmbed)]
#[folder = "templates/"]
struct Embedded;

/// What is made from a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A module of a solution.
    Module,
    /// A solution.
    Solution,
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
}

/// A template.
#[derive(Debug, Clone)]
pub struct Template {
    root: String,
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
    pub fn load(root: &str) -> Result<Self, ScaffoldError> {
        let wrong = |reason: String| ScaffoldError::Template { name: root.to_owned(), reason };
        let file =
            Embedded::get(&format!("{root}/{DESCRIPTION}")).ok_or_else(|| wrong(format!("it has no {DESCRIPTION}")))?;
        let text = std::str::from_utf8(&file.data).map_err(|error| wrong(error.to_string()))?;
        let description = serde_yaml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { root: root.to_owned(), description })
    }

    /// The names of the templates in the directory `parent`, in order.
    pub fn names_in(parent: &str) -> Vec<String> {
        let suffix = format!("/{DESCRIPTION}");
        let mut roots: Vec<String> = Embedded::iter()
            .filter_map(|path| path.strip_suffix(&suffix).map(str::to_owned))
            .filter(|root| root.strip_prefix(parent).is_some_and(|rest| rest.starts_with('/')))
            .collect();
        roots.sort();
        roots
    }

    /// The text of one of its files as it stands in the template.
    pub fn source(&self, path: &str) -> Option<String> {
        let file = Embedded::get(&format!("{}/{path}", self.root))?;
        String::from_utf8(file.data.into_owned()).ok()
    }

    /// Renders all its files. A variable without value is an error.
    pub fn render(&self, values: &tera::Context) -> Result<Vec<RenderedFile>, ScaffoldError> {
        let prefix = format!("{}/", self.root);
        let mut files = Vec::new();
        for path in Embedded::iter() {
            let Some(name) = path.strip_prefix(&prefix) else { continue };
            if name == DESCRIPTION {
                continue;
            }
            let Some(file) = Embedded::get(&path) else { continue };
            if name.contains(PLATFORM) {
                for (platform, container_platform) in PLATFORMS {
                    let mut values = values.clone();
                    values.insert("platform", platform);
                    values.insert("container_platform", container_platform);
                    files.push(render_file(name, &file.data, &values)?);
                }
            } else {
                files.push(render_file(name, &file.data, values)?);
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }
}

fn render_file(name: &str, content: &[u8], values: &tera::Context) -> Result<RenderedFile, ScaffoldError> {
    let wrong = |reason: String| ScaffoldError::Template { name: name.to_owned(), reason };
    let content = if name.ends_with(RENDERED) {
        let text = std::str::from_utf8(content).map_err(|error| wrong(error.to_string()))?;
        render_text(text, values).map_err(&wrong)?.into_bytes()
    } else {
        content.to_owned()
    };
    let name = render_text(name.strip_suffix(RENDERED).unwrap_or(name), values).map_err(&wrong)?;
    let path = PathBuf::from(&name);
    if !stays_inside(&path) {
        return Err(wrong(format!("it would be written to {name}")));
    }
    Ok(RenderedFile { path, content })
}

fn render_text(text: &str, values: &tera::Context) -> Result<String, String> {
    Tera::one_off(text, values, false).map_err(|error| crate::error::chain(&error))
}

fn stays_inside(path: &Path) -> bool {
    path.components().next().is_some() && path.components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_without_value_is_an_error() {
        assert!(render_text("{{ nothing }}", &tera::Context::new()).is_err());
    }

    #[test]
    fn nothing_is_rendered_outside() {
        assert!(stays_inside(Path::new("src/main.rs")));
        for path in ["", "/etc/passwd", "../a", "a/../../b"] {
            assert!(!stays_inside(Path::new(path)), "{path}");
        }
    }
}
