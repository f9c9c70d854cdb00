//! A program in C, or C++: with make where there is a Makefile, with `CMake` where it has its file, else with the compiler
//! alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::content::{Content, Job, of_program};
use super::elf;
use super::stage;
use super::toolchain::{self, Compiler};
use crate::image::error::ImageError;
use crate::image::tool;

/// How a compiler says that a header is not there: before its name, and after it.
const NO_HEADER: (&str, &str) = ("fatal error: ", ".h: No such file or directory");
/// How a linker says that a library is not there.
const NO_LIBRARY: &str = "cannot find -l";

/// Compiles the module and says what goes into its image.
pub fn make(job: Job<'_>) -> Result<Content, ImageError> {
    let (program, tools) = compile(job)?;
    elf::check(&program, job.platform, job.base.is_some())?;
    let mut content = of_program(&name_of(&program), &program);
    content.tools = tools;
    Ok(content)
}

/// Compiles the module. Returns the program, and those that made it.
pub fn compile(job: Job<'_>) -> Result<(PathBuf, Vec<PathBuf>), ImageError> {
    let compiler = toolchain::c_compiler(job.environment, job.platform)?;
    let workspace = job.own_workspace("c")?;
    let sources = workspace.join("src");
    stage::sync(job.root, &job.module.directory, &sources)?;
    let mut tools = vec![compiler.program.clone()];
    let program = if sources.join("CMakeLists.txt").is_file() {
        tools.push(with_cmake(job, &compiler, &sources, &workspace.join("build"))?);
        find_program(job, &workspace.join("build"))?
    } else if sources.join("Makefile").is_file() {
        tools.push(with_make(job, &compiler, &sources)?);
        find_program(job, &sources)?
    } else {
        alone(job, &compiler, &sources, &workspace)?
    };
    Ok((program, tools))
}

/// What the compiler is told, beside what a Makefile says.
fn flags(job: Job<'_>, compiler: &Compiler) -> (&'static str, &'static str) {
    // What debuggers read of zig's own libraries says where on this machine those were compiled.
    let link = match (job.whole, compiler.is_zig() && !job.is_debug()) {
        (true, true) => "-static -s",
        (true, false) => "-static",
        (false, true) => "-s",
        (false, false) => "",
    };
    (if job.is_debug() { "-g -O0" } else { "-O2" }, link)
}

fn with_cmake(job: Job<'_>, compiler: &Compiler, sources: &Path, build: &Path) -> Result<PathBuf, ImageError> {
    let cmake = find(job, "cmake", "cmake")?;
    let (_, link) = flags(job, compiler);
    let kind = if job.is_debug() { "Debug" } else { "Release" };
    if !build.join("CMakeCache.txt").is_file() {
        let mut command = Command::new(&cmake);
        command
            .env("CC", compiler.words())
            .arg("-S")
            .arg(sources)
            .arg("-B")
            .arg(build)
            .args([format!("-DCMAKE_BUILD_TYPE={kind}"), format!("-DCMAKE_EXE_LINKER_FLAGS={link}")]);
        if let Some(cpp) = compiler.for_cpp() {
            command.env("CXX", cpp.words());
        }
        if let Some(machine) = toolchain::foreign_machine(job.platform)? {
            command.args(["-DCMAKE_SYSTEM_NAME=Linux".to_owned(), format!("-DCMAKE_SYSTEM_PROCESSOR={machine}")]);
        }
        // Where the sources are shows in no image.
        for name in ["CFLAGS", "CXXFLAGS"] {
            let own = job.environment.get(name).map(|own| format!("{own} ")).unwrap_or_default();
            let map = |place: &Path| format!("-ffile-prefix-map={}=.", place.display());
            command.env(name, format!("{own}{} {}", map(sources), map(build)));
        }
        if let Err(error) = run(job, &mut command, "cmake") {
            // What was found out half would be believed the next time.
            let _ = fs::remove_dir_all(build);
            return Err(error);
        }
    }
    run(job, Command::new(&cmake).arg("--build").arg(build).arg("--parallel"), "cmake --build")?;
    Ok(cmake)
}

fn with_make(job: Job<'_>, compiler: &Compiler, sources: &Path) -> Result<PathBuf, ImageError> {
    let make = find(job, "make", "make")?;
    let (optimise, link) = flags(job, compiler);
    let mut command = Command::new(&make);
    command.arg("-C").arg(sources).arg(format!("CC={}", compiler.words()));
    for (name, value) in [("CFLAGS", optimise), ("LDFLAGS", link)] {
        let own = job.environment.get(name).map(|own| format!("{own} ")).unwrap_or_default();
        command.env(name, format!("{own}{value}"));
    }
    run(job, &mut command, "make")?;
    Ok(make)
}

/// All files in the module's directory, or in its `src`, are one program.
fn alone(job: Job<'_>, compiler: &Compiler, sources: &Path, workspace: &Path) -> Result<PathBuf, ImageError> {
    let list = |directory: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "c")).collect();
        files.sort();
        files
    };
    let found = if sources.join("src/main.c").is_file() { list(&sources.join("src")) } else { list(sources) };
    if found.is_empty() {
        return Err(ImageError::Unbuildable {
            reason: format!("{} has no file in C", job.module.directory.display()),
            hint: "Give it a main.c, a Makefile or a CMakeLists.txt.".to_owned(),
        });
    }
    let program = workspace.join(job.module.build.program.as_deref().unwrap_or(&directory_name(job)));
    let (optimise, link) = flags(job, compiler);
    let mut command = compiler.command();
    command.args(optimise.split(' ')).args(["-Wall", "-pthread"]).args(link.split(' ').filter(|flag| !flag.is_empty()));
    // Where the sources are shows in no image.
    command.arg(format!("-ffile-prefix-map={}=.", sources.display()));
    command.arg("-o").arg(&program).args(&found).arg("-lm");
    run(job, &mut command, "the C compiler")?;
    Ok(program)
}

fn run(job: Job<'_>, command: &mut Command, name: &'static str) -> Result<(), ImageError> {
    let mut said = Vec::new();
    let ended = tool::run(command, |text| {
        job.line.update(text);
        said.push(text.to_owned());
    })?;
    if ended.success {
        return Ok(());
    }
    job.line.say(&said.join("\n"));
    // A header of the module's own is not one to install.
    let is_own =
        |what: &str| !what.starts_with("library ") && !said.iter().any(|text| text.contains(&format!("<{what}>")));
    if let Some(what) = said.iter().find_map(|text| missing_part(text)).filter(|what| !is_own(what)) {
        return Err(ImageError::Missing {
            what: format!("the compiler found no {what}"),
            hint: "Install the library's package for development; the module's Dockerfiles name those it needs."
                .to_owned(),
        });
    }
    Err(ImageError::Failed { tool: name, reason: None })
}

/// The header or library that a line of the compiler or linker misses.
fn missing_part(text: &str) -> Option<String> {
    if let Some((before, _)) = text.split_once(NO_HEADER.1) {
        return before.split_once(NO_HEADER.0).map(|(_, header)| format!("{header}.h"));
    }
    let (_, library) = text.split_once(NO_LIBRARY)?;
    Some(format!("library {}", library.split([':', ' ']).next().unwrap_or(library)))
}

fn find(job: Job<'_>, name: &str, package: &str) -> Result<PathBuf, ImageError> {
    tool::find(job.environment, name).ok_or_else(|| ImageError::Missing {
        what: format!("{name}, which this module is built with, was not found"),
        hint: format!("Install it; on Debian and Ubuntu: `apt-get install {package}`."),
    })
}

/// The program among what was made: the one that is named, or called as the module is, or the only one.
fn find_program(job: Job<'_>, place: &Path) -> Result<PathBuf, ImageError> {
    let mut found = Vec::new();
    let mut open = vec![place.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).map_err(ImageError::io(&directory))?.flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                // Programs with which CMake finds out what the compiler can do.
                if entry.file_name() != "CMakeFiles" {
                    open.push(path);
                }
            } else if elf::read(&path).ok().flatten().is_some_and(|program| program.is_executable) {
                let is_library = path.file_name().is_some_and(|name| name.to_string_lossy().contains(".so"));
                if !is_library {
                    found.push(path);
                }
            }
        }
    }
    found.sort();
    let wanted = job.module.build.program.clone().unwrap_or_else(|| directory_name(job));
    let named = found.iter().find(|path| name_of(path) == wanted);
    let listed: Vec<String> = found.iter().map(|path| name_of(path)).collect();
    match (named, found.as_slice()) {
        (Some(path), _) => Ok(path.clone()),
        (None, [only]) if job.module.build.program.is_none() => Ok(only.clone()),
        (None, []) => Err(ImageError::Unbuildable {
            reason: "the build made no program".to_owned(),
            hint: "See that its first goal makes one.".to_owned(),
        }),
        (None, _) => Err(ImageError::Unbuildable {
            reason: format!("the build made no program {wanted}, but {}", listed.join(", ")),
            hint: "Name the program with `\"edgectl\": { \"program\": … }` in module.json.".to_owned(),
        }),
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn directory_name(job: Job<'_>) -> String {
    name_of(&job.module.directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told() {
        let header = "src/edge.c:3:10: fatal error: mosquitto.h: No such file or directory";
        assert_eq!(missing_part(header).as_deref(), Some("mosquitto.h"));
        let library = "/usr/bin/ld: cannot find -lcurl: No such file or directory";
        assert_eq!(missing_part(library).as_deref(), Some("library curl"));
        assert_eq!(missing_part("src/edge.c:3:1: error: unknown type name"), None);
    }
}
