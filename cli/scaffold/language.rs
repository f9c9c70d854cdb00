//! The languages that modules can be scaffolded in: one for each template in `templates/module`.

use serde::Serialize;

use crate::scaffold::error::ScaffoldError;
use crate::scaffold::template::Template;

/// A text that is at least this like a language was probably meant to be it, from 0 to 1.
const LIKENESS: f64 = 0.7;

/// A language with its template.
#[derive(Debug, Clone)]
pub struct Language {
    /// Its name on the command line.
    pub name: String,
    /// The template of a module in it.
    pub template: Template,
}

/// A language as it is listed.
#[derive(Debug, Clone, Serialize)]
pub struct Listed {
    /// Its name on the command line.
    pub language: String,
    /// Other names.
    pub aliases: Vec<String>,
    /// One line for people.
    pub description: String,
}

impl Language {
    /// All languages, in order of their names.
    pub fn all() -> Result<Vec<Self>, ScaffoldError> {
        Template::names_in("module")
            .iter()
            .map(|root| {
                let template = Template::load(root)?;
                let name = template.description.language.clone().ok_or_else(|| ScaffoldError::Template {
                    name: root.clone(),
                    reason: "it names no language".to_owned(),
                })?;
                Ok(Self { name, template })
            })
            .collect()
    }

    /// The language with a name or alias, whatever its case.
    pub fn find(text: &str) -> Result<Self, ScaffoldError> {
        let wanted = text.to_lowercase();
        let all = Self::all()?;
        if let Some(found) = all
            .iter()
            .find(|language| language.name == wanted || language.template.description.aliases.contains(&wanted))
        {
            return Ok(found.clone());
        }
        let known: Vec<String> = all.into_iter().map(|language| language.name).collect();
        let meant = known
            .iter()
            .map(|name| (strsim::jaro_winkler(name, &wanted), name))
            .filter(|(likeness, _)| *likeness >= LIKENESS)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, name)| name.clone());
        Err(ScaffoldError::Language { language: text.to_owned(), known, meant })
    }

    /// The language as it is listed.
    pub fn listed(&self) -> Listed {
        Listed {
            language: self.name.clone(),
            aliases: self.template.description.aliases.clone(),
            description: self.template.description.summary.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_found_by_name_and_alias() {
        assert_eq!(Language::find("rust").unwrap().name, "rust");
        assert_eq!(Language::find("PY").unwrap().name, "python");
    }

    #[test]
    fn a_slip_is_recognised() {
        let Err(ScaffoldError::Language { meant, known, .. }) = Language::find("pyton") else { panic!("found") };
        assert_eq!(meant.as_deref(), Some("python"));
        assert_eq!(known, ["python", "rust"]);
        let Err(ScaffoldError::Language { meant, .. }) = Language::find("cobol") else { panic!("found") };
        assert_eq!(meant, None);
    }
}
