//! A program of cargo, compiled for the platform of an image.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{CargoOpt, DependencyKind, Metadata, MetadataCommand};

use super::content::{Content, Job, Package, of_program};
use super::elf;
use super::toolchain::{self, RustTarget};
use crate::image::error::ImageError;
use crate::image::rust::{self, Binary};
use crate::image::tool;

/// Compiles the module.
pub fn make(job: Job<'_>) -> Result<Content, ImageError> {
    let directory = &job.module.directory;
    let cargo = rust::find_cargo(job.environment)?;
    let binary = rust::binary_target(&cargo, directory, job.module.build.program.as_deref())?;
    let target = toolchain::rust_target(job.environment, &sysroot(job)?, job.platform, job.whole)?;
    let command = command(job, &cargo, &binary, &target);
    let built = rust::compile(command, &binary, job.line)?;
    elf::check(&built.executable, job.platform, job.base.is_some())?;
    let mut content = of_program(&binary.name, &built.executable);
    content.outside = outside(directory, &built.executable);
    content.packages = packages(&cargo, directory, &target);
    content.tools = [Some(cargo.clone()), target.linker, target.zig].into_iter().flatten().collect();
    Ok(content)
}

/// Where the compiler that cargo would use has its libraries.
fn sysroot(job: Job<'_>) -> Result<PathBuf, ImageError> {
    let rustc = job.environment.get("RUSTC").cloned().unwrap_or_else(|| "rustc".to_owned());
    let mut path = PathBuf::new();
    let mut command = Command::new(tool::find(job.environment, &rustc).unwrap_or_else(|| rustc.clone().into()));
    let ended = tool::run(command.args(["--print", "sysroot"]).current_dir(&job.module.directory), |text| {
        path = text.into();
    })?;
    if ended.success {
        return Ok(path);
    }
    Err(ImageError::Missing {
        what: format!("{rustc} does not run: {}", ended.last_lines.last().map_or("it says nothing", String::as_str)),
        hint: "See that `rustc --version` works in the module's directory.".to_owned(),
    })
}

fn command(job: Job<'_>, cargo: &Path, binary: &Binary, target: &RustTarget) -> Command {
    let mut command = rust::command(cargo, &job.module.directory);
    command.arg(if target.zig.is_some() { "zigbuild" } else { "build" });
    command.args(rust::arguments(binary, job.workspace));
    command.args(["--profile", if job.is_debug() { "dev" } else { "release" }, "--target", target.triple]);
    let mut flags = Vec::new();
    if target.static_flag {
        flags.push("-Ctarget-feature=+crt-static".to_owned());
    }
    // Where it was compiled shows in no image.
    flags.push(format!("--remap-path-prefix={}=/module", job.module.directory.display()));
    if let Some(home) = cargo_home(job) {
        flags.push(format!("--remap-path-prefix={}=/cargo", home.display()));
    }
    // Flags in the environment hide those of configuration files; ours come beside whichever there are.
    if let Some(own) = job.environment.get("RUSTFLAGS") {
        command.env("RUSTFLAGS", format!("{own} {}", flags.join(" ")));
    } else {
        let listed: Vec<String> = flags.iter().map(|flag| serde_json::json!(flag).to_string()).collect();
        command.arg("--config").arg(format!("target.{}.rustflags=[{}]", target.triple, listed.join(",")));
    }
    let name = target.triple.replace('-', "_");
    if let Some(linker) = &target.linker {
        command.env(format!("CARGO_TARGET_{}_LINKER", name.to_uppercase()), linker);
        if !job.environment.contains_key(&format!("CC_{name}")) {
            command.env(format!("CC_{name}"), linker);
        }
    }
    if let Some(zig) = &target.zig {
        command.env("CARGO_ZIGBUILD_ZIG_PATH", zig);
    }
    command
}

fn cargo_home(job: Job<'_>) -> Option<PathBuf> {
    let named = job.environment.get("CARGO_HOME").map(PathBuf::from);
    named.or_else(|| Some(Path::new(job.environment.get("HOME")?).join(".cargo")))
}

/// The sources outside the module's directory, as cargo lists them beside the program, and what describes their packages.
fn outside(directory: &Path, executable: &Path) -> Vec<PathBuf> {
    let listed = fs::read_to_string(executable.with_extension("d")).unwrap_or_default();
    let mut found: BTreeSet<PathBuf> = BTreeSet::new();
    for path in listed.lines().flat_map(prerequisites).filter(|path| path.is_absolute() && !path.starts_with(directory))
    {
        found.extend(path.ancestors().map(|above| above.join("Cargo.toml")).find(|manifest| manifest.is_file()));
        found.insert(path);
    }
    for above in directory.ancestors().skip(1) {
        let names = ["Cargo.toml", "Cargo.lock", ".cargo/config.toml", "rust-toolchain.toml", "rust-toolchain"];
        found.extend(names.iter().map(|name| above.join(name)).filter(|path| path.is_file()));
    }
    found.into_iter().collect()
}

/// The files behind the colon of a rule, as make has them: blanks in names have a backslash before them.
fn prerequisites(line: &str) -> Vec<PathBuf> {
    let Some((_, files)) = line.split_once(": ") else { return Vec::new() };
    // No path has a line end in it.
    let marked = files.replace("\\ ", "\n");
    let paths = marked.split(' ').map(|path| path.replace('\n', " "));
    paths.filter(|path| !path.is_empty()).map(PathBuf::from).collect()
}

/// The packages that are compiled in. What cannot be found out is left out: the program is there all the same.
fn packages(cargo: &Path, directory: &Path, target: &RustTarget) -> Vec<Package> {
    let mut command = MetadataCommand::new();
    command
        .cargo_path(cargo)
        .manifest_path(directory.join("Cargo.toml"))
        .features(CargoOpt::SomeFeatures(Vec::new()))
        .other_options(vec!["--offline".to_owned(), "--filter-platform".to_owned(), target.triple.to_owned()]);
    command.exec().map(|metadata| linked(&metadata, directory)).unwrap_or_default()
}

/// What the package in a directory is linked with.
fn linked(metadata: &Metadata, directory: &Path) -> Vec<Package> {
    let manifest = directory.join("Cargo.toml");
    let manifest = manifest.canonicalize().unwrap_or(manifest);
    let own = metadata.packages.iter().find(|package| package.manifest_path.as_std_path() == manifest);
    let Some((own, resolve)) = own.zip(metadata.resolve.as_ref()) else { return Vec::new() };
    let (mut open, mut seen) = (vec![&own.id], BTreeSet::new());
    while let Some(id) = open.pop() {
        let node = resolve.nodes.iter().find(|node| node.id == *id);
        for dependency in node.into_iter().flat_map(|node| &node.deps) {
            let is_linked = dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal);
            if is_linked && seen.insert(&dependency.pkg) {
                open.push(&dependency.pkg);
            }
        }
    }
    let packages = metadata.packages.iter().filter(|package| seen.contains(&package.id));
    packages
        .map(|package| Package {
            ecosystem: "cargo".to_owned(),
            name: package.name.to_string(),
            version: package.version.to_string(),
            // Older packages write a stroke for a choice.
            license: package.license.as_ref().map(|license| license.replace('/', " OR ")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_blanks_are_read_from_rules() {
        let found = prerequisites(r"/t/m: /a/main.rs /b\ c/lib.rs");
        assert_eq!(found, [PathBuf::from("/a/main.rs"), PathBuf::from("/b c/lib.rs")]);
        assert_eq!(prerequisites("nothing"), Vec::<PathBuf>::new());
    }
}
