//! The published JSON Schemas, for editors and for other checkers. They say what has which shape; what it means to a
//! device, `manifest::checks` knows.

/// A schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedSchema {
    /// Its name: `deployment`.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// The files it is for, as patterns of editors.
    pub files: &'static [&'static str],
    /// Its text.
    pub text: &'static str,
}

/// All of them.
pub const SCHEMAS: &[PublishedSchema] = &[
    PublishedSchema {
        name: "deployment",
        about: "deployment manifests and layered deployments",
        files: &["config/deployment*.json", "deployment.json", "*.layer.json"],
        text: include_str!("../deployment.schema.json"),
    },
    PublishedSchema {
        name: "deployment-template",
        about: "deployment templates",
        files: &["deployment*.template.json", "deployment*.template.jsonc", "deployment*.template.yaml"],
        text: include_str!("../deployment-template.schema.json"),
    },
    PublishedSchema {
        name: "module",
        about: "module.json",
        files: &["modules/*/module.json"],
        text: include_str!("../module.schema.json"),
    },
    PublishedSchema {
        name: "solution",
        about: "edgectl.yaml",
        files: &["edgectl.yaml"],
        text: include_str!("../solution.schema.json"),
    },
];

/// The schema of that name.
pub fn find(name: &str) -> Option<&'static PublishedSchema> {
    SCHEMAS.iter().find(|schema| schema.name == name)
}
