//! What goes into an image: layers of files, how they are run, and what they were made from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::image::error::ImageError;
use crate::image::kind::ModuleKind;
use crate::image::oci::base::Base;
use crate::image::oci::config::Settings;
use crate::image::oci::files::Files;
use crate::image::plan::PlannedModule;
use crate::image::platform::Platform;
use crate::output::progress::Line;

use super::{c, go, node, python, rust};

/// What is to be made.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// The module.
    pub module: &'a PlannedModule,
    /// The solution that it is in.
    pub root: &'a Path,
    /// A folder for everything that is made on the way.
    pub workspace: &'a Path,
    /// What it runs on.
    pub platform: &'a Platform,
    /// What it is put on.
    pub base: Option<&'a Base>,
    /// Whether programs must need nothing beside themselves.
    pub whole: bool,
    /// The process environment.
    pub environment: &'a BTreeMap<String, String>,
    /// Where it is said how far it is.
    pub line: &'a Line<'a>,
}

impl Job<'_> {
    /// Whether the platform is one that the module is debugged on.
    pub fn is_debug(&self) -> bool {
        self.module.platform.strip_suffix(".debug").is_some()
    }

    /// A folder of this platform's own.
    pub fn own_workspace(&self, name: &str) -> Result<PathBuf, ImageError> {
        let path = self.workspace.join(name).join(self.module.platform.replace(['/', '\\'], "-"));
        std::fs::create_dir_all(&path).map_err(ImageError::io(&path))?;
        Ok(path)
    }
}

/// The layers of a module, and what is known of them.
#[derive(Debug, Default)]
pub struct Content {
    /// The layers, the one that changes least first.
    pub parts: Vec<Part>,
    /// How they are run.
    pub settings: Settings,
    /// Files that it was made from and that lie outside the module's directory.
    pub outside: Vec<PathBuf>,
    /// The programs that made it.
    pub tools: Vec<PathBuf>,
    /// What of others is in it.
    pub packages: Vec<Package>,
}

/// A layer that is still to be written.
#[derive(Debug)]
pub struct Part {
    /// What it holds, in a word or two.
    pub purpose: &'static str,
    /// Its files.
    pub files: Files,
    /// What they were made from, where that is known better than by looking at them all.
    pub key: Option<String>,
}

/// Something of others that is in an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Package {
    /// The ecosystem, as package URLs name it: `cargo`, `pypi`, `npm`, `golang`.
    pub ecosystem: String,
    /// Its name there.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Under which licence, as an SPDX expression, if it says.
    pub license: Option<String>,
}

/// Makes what goes into an image, with the tools of this machine.
pub fn make(job: Job<'_>) -> Result<Content, ImageError> {
    match ModuleKind::detect(&job.module.directory)? {
        ModuleKind::Rust => rust::make(job),
        ModuleKind::C => c::make(job),
        ModuleKind::Go => go::make(job),
        ModuleKind::Python => python::make(job),
        ModuleKind::Node => node::make(job),
    }
}

/// Where the program of an image with nothing else lies.
pub fn program_path(name: &str) -> String {
    format!("/app/{name}")
}

/// An image with one program.
pub fn of_program(name: &str, program: &Path) -> Content {
    let path = program_path(name);
    let mut files = Files::default();
    files.add_program(&path, program);
    Content {
        parts: vec![Part { purpose: "program", files, key: None }],
        settings: Settings { entrypoint: vec![path], directory: Some("/app".to_owned()), ..Settings::default() },
        ..Content::default()
    }
}
