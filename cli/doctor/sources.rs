//! The modules that a solution builds, and the files beside them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use edgectl_schemas::diagnostic::{Diagnostic, Severity};
use edgectl_schemas::rules;

use super::ask::ask;
use super::check::{Check, Finding, Scope, listed};
use super::fix::Fix;
use super::fix::is_open_to_others;
use super::manifest::NO_SOLUTION;
use super::patient::Patient;
use crate::image::kind::ModuleKind;
use crate::image::records;
use crate::solution::dotenv;
use crate::solution::solution::STATE_DIRECTORY;

/// The file with the solution's variables.
const VARIABLES: &str = ".env";

/// What names of variables with secrets have in them.
const SECRET_WORDS: [&str; 6] = ["PASSWORD", "SECRET", "TOKEN", "KEY", "CONNECTION_STRING", "CREDENTIAL"];

/// The checks of this file.
pub const CHECKS: &[Check] = &[
    Check { code: "DOC505", title: "the folders of modules are there", scope: Scope::Solution, examine: folders },
    Check { code: "DOC506", title: "each module.json is valid", scope: Scope::Solution, examine: module_files },
    Check { code: "DOC507", title: ".env is the user's alone", scope: Scope::Solution, examine: private_variables },
    Check { code: "DOC508", title: "git keeps state and secrets out", scope: Scope::Solution, examine: ignored },
    Check { code: "DOC509", title: "modules are built", scope: Scope::Solution, examine: built },
];

fn folders(patient: &Patient<'_>) -> Finding {
    if patient.solution.is_none() {
        return Finding::skipped(NO_SOLUTION);
    }
    let found = patient.findings_of(&[&rules::UNKNOWN_PLACEHOLDER, &rules::NO_MODULE_FILE]);
    match found.first() {
        None => Finding::ok(listed(&patient.sources().into_iter().map(|source| source.name).collect::<Vec<_>>())),
        Some(first) => Finding::error(first.message.clone())
            .cause("The image has nothing that it could be built from.")
            .mend(mend_folder(first)),
    }
}

fn mend_folder(found: &Diagnostic) -> String {
    let name = found.message.split('"').nth(1).map(|name| name.split('.').next().unwrap_or(name));
    match (&found.help, name) {
        (Some(help), _) if help.starts_with("Did you mean") => help.clone(),
        (_, Some(name)) => format!("edgectl add {name}, or take its placeholder out of the template"),
        _ => "edgectl validate".to_owned(),
    }
}

fn module_files(patient: &Patient<'_>) -> Finding {
    let found = patient.findings_of(&[&rules::INVALID_MODULE_FILE, &rules::NO_DOCKERFILE]);
    let worst = found.iter().min_by_key(|found| found.rule.severity);
    match worst {
        None if patient.sources().is_empty() => Finding::skipped("no module is built here"),
        None => Finding::ok("repository, version and Dockerfiles are there"),
        Some(found) if found.rule.severity == Severity::Error => Finding::error(found.message.clone())
            .cause("Its image has no name and cannot be built.")
            .mend("edgectl validate"),
        Some(found) => Finding::warning(found.message.clone())
            .cause("The image cannot be built for that platform.")
            .mend("write the Dockerfile, or take the platform out of module.json"),
    }
}

fn private_variables(patient: &Patient<'_>) -> Finding {
    let Some(root) = &patient.root else { return Finding::skipped(NO_SOLUTION) };
    let path = root.join(VARIABLES);
    let Ok(metadata) = fs::metadata(&path) else { return Finding::skipped("there is none") };
    let text = match fs::read(&path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => {
            return Finding::error(format!("{} cannot be read: {error}", path.display()))
                .mend(format!("sudo chown $(id -u) {}", path.display()));
        }
    };
    let is_secret = |(name, value): &(String, String)| {
        !value.is_empty() && SECRET_WORDS.iter().any(|word| name.to_ascii_uppercase().contains(word))
    };
    let secrets = dotenv::parse(&text, &patient.settings.environment).into_iter().filter(is_secret);
    let secrets: Vec<String> = secrets.map(|(name, _)| name).collect();
    let mode = metadata.permissions().mode() & 0o777;
    if secrets.is_empty() {
        return Finding::ok("no secret stands in it");
    }
    if !is_open_to_others(mode) {
        return Finding::ok(format!("mode {mode:03o}"));
    }
    Finding::warning(format!("others may read it, mode {mode:03o}, with {} in it", listed(&secrets)))
        .cause("Who has an account on this machine can use the registry or the hub in your name.")
        .mend(format!("chmod 600 {}", path.display()))
        .fix(Fix::MakePrivate(vec![path]))
}

fn ignored(patient: &Patient<'_>) -> Finding {
    let Some(root) = &patient.root else { return Finding::skipped(NO_SOLUTION) };
    let is_kept = root.ancestors().any(|folder| folder.join(".git").exists());
    let Some(git) = patient.program("git").filter(|_| is_kept) else {
        return Finding::skipped("the solution is not kept with git");
    };
    let wanted = [format!("{STATE_DIRECTORY}/"), VARIABLES.to_owned()];
    // Git says 1 for what it would take in.
    let is_open =
        |name: &&String| ask(&git, &["check-ignore", "--quiet", name], root).is_ok_and(|answer| !answer.success);
    let open: Vec<String> = wanted.iter().filter(is_open).cloned().collect();
    if open.is_empty() {
        return Finding::ok("both are ignored");
    }
    let file = root.join(".gitignore");
    Finding::warning(format!("git would take in {}", listed(&open)))
        .cause("Keys of the simulated device and passwords would be published with the solution.")
        .mend(format!("printf '{}\\n' >> {}", open.join("\\n"), file.display()))
        .fix(Fix::Append(file, open))
}

fn built(patient: &Patient<'_>) -> Finding {
    let Some(solution) = &patient.solution else { return Finding::skipped(NO_SOLUTION) };
    let sources = patient.sources();
    let own: Vec<_> = sources.iter().filter(|source| ModuleKind::detect(&source.directory).is_ok()).collect();
    if own.is_empty() {
        return Finding::skipped("no module is built as a process");
    }
    let (mut missing, mut broken) = (Vec::new(), Vec::new());
    for source in own {
        match records::lookup(&solution.state(), &source.image) {
            None => missing.push(source.name.as_str()),
            Some(record) if !record.argv.first().is_some_and(|program| Path::new(program).exists()) => {
                broken.push(source.name.as_str());
            }
            Some(_) => {}
        }
    }
    if !broken.is_empty() {
        return Finding::error(format!("what was built of {} is gone", listed(&broken)))
            .cause("The module cannot be started.")
            .mend("edgectl build");
    }
    if !missing.is_empty() {
        return Finding::note(format!("not built yet: {}", listed(&missing))).mend("edgectl build");
    }
    Finding::ok("all of them")
}
