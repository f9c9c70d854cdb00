//! Compilers for a platform: this machine's own, a cross compiler, or zig, which is one for all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::image::error::ImageError;
use crate::image::platform::Platform;
use crate::image::tool;

/// What platforms are called by compilers.
struct Names {
    platform: &'static str,
    /// Debian's cross compilers: the prefix of their names, and the packages.
    gcc: &'static str,
    packages: &'static str,
    /// The target of zig, with a C library that programs are linked with whole.
    zig: &'static str,
    /// Rust's targets, the one whose programs need nothing first.
    rust: [&'static str; 2],
    /// What `CC` has at its end in builds for several platforms.
    suffix: &'static str,
    /// What such a machine says that it is, as `CMake` wants to know.
    machine: &'static str,
}

const NAMES: [Names; 4] = [
    Names {
        platform: "linux/amd64",
        gcc: "x86_64-linux-gnu",
        packages: "gcc-x86-64-linux-gnu libc6-dev-amd64-cross",
        zig: "x86_64-linux-musl",
        rust: ["x86_64-unknown-linux-musl", "x86_64-unknown-linux-gnu"],
        suffix: "x86_64_unknown_linux_gnu",
        machine: "x86_64",
    },
    Names {
        platform: "linux/arm64",
        gcc: "aarch64-linux-gnu",
        packages: "gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
        zig: "aarch64-linux-musl",
        rust: ["aarch64-unknown-linux-musl", "aarch64-unknown-linux-gnu"],
        suffix: "aarch64_unknown_linux_gnu",
        machine: "aarch64",
    },
    Names {
        platform: "linux/arm/v7",
        gcc: "arm-linux-gnueabihf",
        packages: "gcc-arm-linux-gnueabihf libc6-dev-armhf-cross",
        zig: "arm-linux-musleabihf",
        rust: ["armv7-unknown-linux-musleabihf", "armv7-unknown-linux-gnueabihf"],
        suffix: "armv7_unknown_linux_gnueabihf",
        machine: "armv7l",
    },
    Names {
        platform: "linux/riscv64",
        gcc: "riscv64-linux-gnu",
        packages: "gcc-riscv64-linux-gnu libc6-dev-riscv64-cross",
        zig: "riscv64-linux-musl",
        rust: ["riscv64gc-unknown-linux-musl", "riscv64gc-unknown-linux-gnu"],
        suffix: "riscv64gc_unknown_linux_gnu",
        machine: "riscv64",
    },
];

fn names(platform: &Platform) -> Result<&'static Names, ImageError> {
    NAMES.iter().find(|names| names.platform.parse().is_ok_and(|known: Platform| known.accepts(platform))).ok_or_else(
        || {
            let known: Vec<&str> = NAMES.iter().map(|names| names.platform).collect();
            ImageError::Unbuildable {
                reason: format!("nothing is compiled for {platform} here"),
                hint: format!(
                    "Platforms with a compiler are {}; others are built with a Dockerfile.",
                    known.join(", ")
                ),
            }
        },
    )
}

/// A C compiler for a platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiler {
    /// The program.
    pub program: PathBuf,
    /// Its first arguments.
    pub arguments: Vec<String>,
}

impl Compiler {
    /// The command that compiles.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        command
    }

    /// What `CC` is set to.
    pub fn words(&self) -> String {
        let program = [self.program.display().to_string()];
        program.into_iter().chain(self.arguments.iter().cloned()).collect::<Vec<_>>().join(" ")
    }

    /// Whether it is zig.
    pub fn is_zig(&self) -> bool {
        self.arguments.first().is_some_and(|mode| mode == "cc")
    }

    /// The compiler for C++ that belongs to it, if there is one.
    pub fn for_cpp(&self) -> Option<Self> {
        if self.is_zig() {
            let arguments = [&["c++".to_owned()], &self.arguments[1..]].concat();
            return Some(Self { program: self.program.clone(), arguments });
        }
        let name = self.program.file_name()?.to_str()?;
        let (before, after) = [("gcc", "g++"), ("clang", "clang++"), ("cc", "c++")]
            .iter()
            .find_map(|(c, cpp)| Some((name.strip_suffix(c)?, cpp)))?;
        let program = self.program.with_file_name(format!("{before}{after}"));
        program.is_file().then(|| Self { program, arguments: self.arguments.clone() })
    }
}

/// What a foreign machine for which is compiled says that it is; none for this one.
pub fn foreign_machine(platform: &Platform) -> Result<Option<&'static str>, ImageError> {
    let names = names(platform)?;
    Ok((!Platform::of_machine().accepts(platform)).then_some(names.machine))
}

/// Finds a C compiler for a platform.
pub fn c_compiler(environment: &BTreeMap<String, String>, platform: &Platform) -> Result<Compiler, ImageError> {
    let names = names(platform)?;
    let plain = |program: PathBuf| Compiler { program, arguments: Vec::new() };
    if let Some(named) = environment.get(&format!("CC_{}", names.suffix)) {
        let mut words = named.split_whitespace();
        let first = words.next().unwrap_or_default();
        let program = tool::find(environment, first).unwrap_or_else(|| first.into());
        return Ok(Compiler { program, arguments: words.map(str::to_owned).collect() });
    }
    let own = Platform::of_machine().accepts(platform);
    let cross = [format!("{}-gcc", names.gcc)];
    let candidates: &[String] = if own { &["cc".to_owned(), "gcc".to_owned(), "clang".to_owned()] } else { &cross };
    if let Some(found) = candidates.iter().find_map(|name| tool::find(environment, name)) {
        return Ok(plain(found));
    }
    if let Some(zig) = zig(environment) {
        let arguments = ["cc", "-target", names.zig].map(str::to_owned).to_vec();
        return Ok(Compiler { program: zig, arguments });
    }
    let hint = if own {
        "Install one; on Debian and Ubuntu: `apt-get install gcc libc6-dev`.".to_owned()
    } else {
        format!(
            "On Debian and Ubuntu: `apt-get install {}`; or zig, which compiles for all: `pip install ziglang`.",
            names.packages
        )
    };
    Err(ImageError::Missing { what: format!("there is no C compiler for {platform}"), hint })
}

/// Finds zig: on the search path, or in Python's packages.
pub fn zig(environment: &BTreeMap<String, String>) -> Option<PathBuf> {
    if let Some(found) = tool::find(environment, "zig") {
        return Some(found);
    }
    let python = ["python3", "python"].iter().find_map(|name| tool::find(environment, name))?;
    let mut command = Command::new(python);
    command.args(["-I", "-c", "import ziglang, os; print(os.path.join(os.path.dirname(ziglang.__file__), 'zig'))"]);
    let mut path = None;
    let ended = tool::run(&mut command, |text| path = Some(PathBuf::from(text))).ok()?;
    path.filter(|path| ended.success && path.is_file())
}

/// How cargo compiles for a platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RustTarget {
    /// The target's name.
    pub triple: &'static str,
    /// Whether programs must be told to need nothing else.
    pub static_flag: bool,
    /// The linker that cargo has to be told of, with which C is compiled too; none for the one it knows.
    pub linker: Option<PathBuf>,
    /// Whether `cargo zigbuild` does it, and where zig is.
    pub zig: Option<PathBuf>,
}

/// Finds out how cargo can compile for a platform. `sysroot` is rustc's own, `whole` says whether programs must need
/// nothing beside themselves.
pub fn rust_target(
    environment: &BTreeMap<String, String>,
    sysroot: &Path,
    platform: &Platform,
    whole: bool,
) -> Result<RustTarget, ImageError> {
    let names = names(platform)?;
    let [musl, gnu] = names.rust;
    let installed = |triple: &&&str| sysroot.join("lib/rustlib").join(triple).join("lib").is_dir();
    let order = if whole { [musl, gnu] } else { [gnu, musl] };
    let triple = *order.iter().find(installed).ok_or_else(|| ImageError::Missing {
        what: format!("Rust has no target for {platform}"),
        hint: format!("`rustup target add {}`.", order[0]),
    })?;
    let target = RustTarget { triple, static_flag: whole && triple == gnu, linker: None, zig: None };
    let configured = format!("CARGO_TARGET_{}_LINKER", triple.to_uppercase().replace('-', "_"));
    if Platform::of_machine().accepts(platform) || environment.contains_key(&configured) {
        return Ok(target);
    }
    if let Some(gcc) = tool::find(environment, &format!("{}-gcc", names.gcc)) {
        return Ok(RustTarget { linker: Some(gcc), ..target });
    }
    match (tool::find(environment, "cargo-zigbuild"), zig(environment)) {
        (Some(_), Some(zig)) => Ok(RustTarget { zig: Some(zig), ..target }),
        _ => Err(ImageError::Missing {
            what: format!("there is no linker for {triple}"),
            hint: format!(
                "On Debian and Ubuntu: `apt-get install {}`; or zig, which links for all: `pip install cargo-zigbuild \
                 ziglang`.",
                names.packages
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn machine(programs: &[&str], targets: &[&str]) -> (tempfile::TempDir, BTreeMap<String, String>) {
        let place = tempfile::tempdir().unwrap();
        for name in programs {
            let path = place.path().join(name);
            fs::write(&path, "#!/bin/sh\n").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        for target in targets {
            fs::create_dir_all(place.path().join("lib/rustlib").join(target).join("lib")).unwrap();
        }
        let environment = BTreeMap::from([("PATH".to_owned(), place.path().display().to_string())]);
        (place, environment)
    }

    /// A platform that is not this machine's.
    fn other() -> Platform {
        "linux/riscv64".parse().unwrap()
    }

    #[test]
    fn a_cross_compiler_is_taken_before_zig_and_what_is_missing_is_told() {
        let (place, environment) = machine(&["riscv64-linux-gnu-gcc", "zig"], &[]);
        let found = c_compiler(&environment, &other()).unwrap();
        assert_eq!(found.words(), place.path().join("riscv64-linux-gnu-gcc").display().to_string());
        let (place, environment) = machine(&["zig"], &[]);
        let zig = place.path().join("zig");
        assert_eq!(
            c_compiler(&environment, &other()).unwrap().words(),
            format!("{} cc -target riscv64-linux-musl", zig.display())
        );
        let zig = c_compiler(&environment, &other()).unwrap();
        assert_eq!(zig.for_cpp().unwrap().arguments, ["c++", "-target", "riscv64-linux-musl"]);
        let (place, environment) = machine(&["riscv64-linux-gnu-gcc"], &[]);
        assert_eq!(c_compiler(&environment, &other()).unwrap().for_cpp(), None);
        fs::write(place.path().join("riscv64-linux-gnu-g++"), "").unwrap();
        let found = c_compiler(&environment, &other()).unwrap().for_cpp().unwrap();
        assert_eq!(found.words(), place.path().join("riscv64-linux-gnu-g++").display().to_string());
        let (_place, environment) = machine(&[], &[]);
        let error = c_compiler(&environment, &other()).unwrap_err();
        assert!(error.hint().unwrap().contains("gcc-riscv64-linux-gnu"), "{error:?}");
        assert!(c_compiler(&environment, &"linux/s390x".parse().unwrap()).is_err());
    }

    #[test]
    fn a_target_whose_programs_need_nothing_is_taken_first_and_what_is_missing_is_told() {
        let (gnu, musl) = ("riscv64gc-unknown-linux-gnu", "riscv64gc-unknown-linux-musl");
        let (place, environment) = machine(&["riscv64-linux-gnu-gcc"], &[gnu, musl]);
        let found = rust_target(&environment, place.path(), &other(), true).unwrap();
        assert_eq!((found.triple, found.static_flag), (musl, false));
        let found = rust_target(&environment, place.path(), &other(), false).unwrap();
        assert_eq!((found.triple, found.static_flag), (gnu, false));
        let (place, environment) = machine(&["cargo-zigbuild", "zig"], &[gnu]);
        let found = rust_target(&environment, place.path(), &other(), true).unwrap();
        assert_eq!((found.static_flag, found.zig), (true, Some(place.path().join("zig"))));
        let (place, environment) = machine(&[], &[gnu]);
        let error = rust_target(&environment, place.path(), &other(), true).unwrap_err();
        assert!(error.hint().unwrap().contains("cargo-zigbuild"), "{error:?}");
        let (place, environment) = machine(&[], &[]);
        let error = rust_target(&environment, place.path(), &other(), true).unwrap_err();
        assert!(error.hint().unwrap().contains("rustup target add"), "{error:?}");
    }
}
