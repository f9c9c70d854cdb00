//! All templates that there are: the built-in ones and the user's own, which lie in a directory of theirs, one below
//! it for each, with a note beside it of where it came from.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::scaffold::description::Kind;
use crate::scaffold::error::ScaffoldError;
use crate::scaffold::name;
use crate::scaffold::parameter::Parameter;
use crate::scaffold::staging::Staged;
use crate::scaffold::template::{RenderedFile, Template};
use crate::scaffold::tree::Files;

/// A text that is at least this like a name was probably meant to be it, from 0 to 1.
const LIKENESS: f64 = 0.7;
/// A shorter name is like too many texts.
const LEAST_LIKENED: usize = 3;
/// How the note beside a template ends.
const NOTE: &str = ".json";

/// Where a template came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// The directory, the archive or the address of the repository.
    pub from: String,
    /// The commit that it is pinned to, of a repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// A hash of its files: `sha256:` and hexadecimal digits.
    pub digest: String,
}

/// A template as it is listed.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// Its name on the command line.
    pub name: String,
    /// What is made from it.
    pub kind: Kind,
    /// The language of a module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Other names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// One line for people.
    pub description: String,
    /// What it asks for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<Parameter>,
    /// Where it came from; nothing, if it is built in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
}

/// The templates that there are.
#[derive(Debug, Clone)]
pub struct Library {
    place: Option<PathBuf>,
}

impl Library {
    /// The built-in templates, and the user's in `place`; none for a user without a home.
    pub fn new(place: Option<&Path>) -> Self {
        Self { place: place.map(Path::to_owned) }
    }

    /// All templates, the built-in ones before the user's, in order of their names.
    pub fn all(&self) -> Result<Vec<Template>, ScaffoldError> {
        let mut all = Template::built_in_below("module")?;
        all.extend(Template::built_in_below("solution")?);
        for name in self.user_names()? {
            all.push(Template::in_directory(&name, &self.directory_of(&name)?)?);
        }
        Ok(all)
    }

    /// The names of the languages that modules can be made in, and of the user's templates of modules.
    pub fn languages(&self) -> Result<Vec<String>, ScaffoldError> {
        let modules = self.all()?.into_iter().filter(|template| template.description.kind == Kind::Module);
        Ok(modules.map(|template| template.name).collect())
    }

    /// The template of a kind with a name or alias, whatever its case.
    pub fn find(&self, kind: Kind, text: &str) -> Result<Template, ScaffoldError> {
        let wanted = text.to_lowercase();
        let parent = if kind == Kind::Module { "module" } else { "solution" };
        let built_in = Template::built_in_below(parent)?;
        let is_wanted =
            |template: &&Template| template.name == wanted || template.description.aliases.contains(&wanted);
        if let Some(found) = built_in.iter().find(is_wanted) {
            return Ok(found.clone());
        }
        let user_names = self.user_names()?;
        if let Some(name) = user_names.iter().find(|name| name.as_str() == text) {
            let template = Template::in_directory(name, &self.directory_of(name)?)?;
            if template.description.kind != kind {
                return Err(template.wrong(format!("it is of another kind: nothing but a {} can be made from it", {
                    if kind == Kind::Module { "solution" } else { "module" }
                })));
            }
            return Ok(template);
        }
        let known: Vec<String> = built_in.into_iter().map(|template| template.name).chain(user_names).collect();
        let meant = known
            .iter()
            .filter(|name| name.len() >= LEAST_LIKENED)
            .map(|name| (strsim::jaro_winkler(name, &wanted), name))
            .filter(|(likeness, _)| *likeness >= LIKENESS)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, name)| name.clone());
        Err(ScaffoldError::Unknown { kind, name: text.to_owned(), known, meant })
    }

    /// The template of any kind with a name.
    pub fn by_name(&self, name: &str) -> Result<Option<Template>, ScaffoldError> {
        Ok(self.all()?.into_iter().find(|template| template.name == name))
    }

    /// The template as it is listed.
    pub fn listed(&self, template: &Template) -> Listed {
        let note = self.place.as_ref().and_then(|place| fs::read(place.join(format!("{}{NOTE}", template.name))).ok());
        let is_user = self.directory_of(&template.name).is_ok_and(|directory| directory.is_dir());
        let description = template.description.clone();
        Listed {
            name: template.name.clone(),
            kind: description.kind,
            language: description.language,
            aliases: description.aliases,
            description: description.summary,
            parameters: description.parameters,
            source: note.filter(|_| is_user).and_then(|note| serde_json::from_slice(&note).ok()),
        }
    }

    /// Keeps a template under a name, all of it or nothing.
    pub fn add(&self, name: &str, files: Files, source: &Source) -> Result<Template, ScaffoldError> {
        name::check_template(name)?;
        let directory = self.directory_of(name)?;
        let taken = self
            .all()?
            .iter()
            .any(|template| template.name == name || template.description.aliases.iter().any(|alias| alias == name));
        if taken {
            return Err(ScaffoldError::TemplateExists(name.to_owned()));
        }
        let files: Vec<RenderedFile> =
            files.into_iter().map(|(path, content)| RenderedFile { path: path.into(), content }).collect();
        let place = directory.parent().unwrap_or(&directory);
        let staged = Staged::directory(&directory, &files)?;
        // What is no template is not kept.
        Template::in_directory(name, staged.prepared())?;
        let note = place.join(format!("{name}{NOTE}"));
        let text = serde_json::to_vec_pretty(source).unwrap_or_default();
        Staged::file(&note, &text)?.commit()?;
        staged.commit()?;
        Template::in_directory(name, &directory)
    }

    /// Removes a template of the user.
    pub fn remove(&self, name: &str) -> Result<(), ScaffoldError> {
        if !self.user_names()?.iter().any(|known| known == name) {
            let known = self.user_names()?;
            return Err(ScaffoldError::NotTheUsers { name: name.to_owned(), known });
        }
        let directory = self.directory_of(name)?;
        fs::remove_dir_all(&directory).map_err(|source| ScaffoldError::Io { path: directory.clone(), source })?;
        // Without its template a note says nothing.
        let _ = fs::remove_file(directory.with_file_name(format!("{name}{NOTE}")));
        Ok(())
    }

    /// Where a template of that name would be kept.
    pub fn place_of(&self, name: &str) -> Result<PathBuf, ScaffoldError> {
        name::check_template(name)?;
        self.directory_of(name)
    }

    fn directory_of(&self, name: &str) -> Result<PathBuf, ScaffoldError> {
        self.place.as_ref().map(|place| place.join(name)).ok_or(ScaffoldError::NoHome)
    }

    /// A directory of this process's own, for what is looked at before it is kept.
    pub fn scratch(&self) -> Result<PathBuf, ScaffoldError> {
        self.directory_of(&format!(".{}", std::process::id()))
    }

    fn user_names(&self) -> Result<Vec<String>, ScaffoldError> {
        let Some(place) = &self.place else { return Ok(Vec::new()) };
        let failed = |source| ScaffoldError::Io { path: place.clone(), source };
        let entries = match fs::read_dir(place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_dir() && name::check_template(&name).is_ok() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_templates_are_found_by_name_and_alias() {
        let library = Library::new(None);
        for (wanted, name) in [("rust", "rust"), ("PY", "python"), ("node", "javascript"), ("c#", "csharp")] {
            assert_eq!(library.find(Kind::Module, wanted).unwrap().name, name);
        }
        assert_eq!(library.find(Kind::Solution, "industrial").unwrap().name, "industrial");
    }

    #[test]
    fn a_slip_is_recognised() {
        let find = |text| match Library::new(None).find(Kind::Module, text) {
            Err(ScaffoldError::Unknown { meant, known, .. }) => (meant, known),
            other => panic!("{other:?}"),
        };
        let (meant, known) = find("pyton");
        assert_eq!(meant.as_deref(), Some("python"));
        assert_eq!(known, ["c", "csharp", "go", "java", "javascript", "python", "rust", "typescript"]);
        assert_eq!(find("cobol").0, None);
    }

    #[test]
    fn every_built_in_template_is_in_order() {
        for template in Library::new(None).all().unwrap() {
            for parameter in &template.description.parameters {
                assert_eq!(parameter.check(), Ok(()), "{}", template.name);
            }
            let is_language = template.description.language.as_deref() == Some(&*template.name);
            assert_eq!(is_language, template.description.kind == Kind::Module, "{}", template.name);
        }
    }
}
