//! `settings.image`, and the credentials for its registry.

use super::subject::Subject;
use crate::diagnostic::Diagnostic;
use crate::document::node::{Member, Node};
use crate::manifest::image_reference::{DOCKER_HUB, expand_upstream, normalize, registry};
use crate::manifest::variable::is_open;
use crate::rules;

/// The images of the runtime.
const RUNTIME: &[&str] = &["azureiotedge-agent", "azureiotedge-hub"];
/// The oldest minor version of the runtime that is still supported, `1.N`. 1.5 ended on 2026-11-10.
const SUPPORTED_MINOR: u32 = 6;

pub fn check<'d>(subject: &mut Subject<'d>, member: &'d Member) {
    let Some(text) = subject.string(member) else { return };
    // A variable or a placeholder that nothing replaced is reported where templates are rendered.
    if is_open(text) {
        return;
    }
    let span = member.value.span;
    let image = match normalize(text) {
        Ok(image) => image,
        Err(error) => {
            let mut found = Diagnostic::new(&rules::INVALID_IMAGE, span, error.to_string());
            if let Some((tagged, digest)) = text.trim().split_once('@') {
                let untagged = tagged.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(tagged, |(n, _)| n);
                found = found.help(format!("With a digest there is no tag: `{untagged}@{digest}`."));
            }
            subject.add(found);
            return;
        }
    };
    if has_unknown_variable(&image) {
        let message = format!("{text:?} begins with a `$` word that is not `$upstream` and a port");
        subject.report(&rules::INVALID_IMAGE, span, message);
    }
    let repository = image.rsplit_once(':').map_or(&*image, |(repository, _)| repository);
    if path_of(repository).chars().any(|c| c.is_ascii_uppercase()) {
        let message = format!("the repository of {text:?} has capital letters, which no registry takes");
        let found = Diagnostic::new(&rules::IMAGE_CASE, span, message);
        subject.add(found.fix(span, quoted_lower_case(text)));
    }
    mutable_tag(subject, member, text, &image);
    end_of_life(subject, member, &image);
}

fn quoted_lower_case(text: &str) -> String {
    let (repository, tag) = text.rsplit_once(':').map_or((text, ""), |(repository, tag)| (repository, tag));
    let (repository, tag) = if tag.contains('/') { (text, "") } else { (repository, tag) };
    let colon = if tag.is_empty() { "" } else { ":" };
    format!("\"{}{colon}{tag}\"", repository.to_lowercase())
}

/// The path of a repository, without the registry's host.
fn path_of(repository: &str) -> &str {
    match repository.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => path,
        _ => repository,
    }
}

/// `$upstream:PORT` is the parent's registry; no other word with a port is known.
fn has_unknown_variable(image: &str) -> bool {
    let rest = image.strip_prefix("http://").unwrap_or(image);
    let is_variable = rest.starts_with('$') && rest.split('/').next().is_some_and(|host| host.contains(':'));
    is_variable && !matches!(expand_upstream(image, Some("parent")), Ok(Some(_)))
}

fn mutable_tag(subject: &mut Subject<'_>, member: &Member, text: &str, image: &str) {
    if !image.ends_with(":latest") {
        return;
    }
    let message = if text.trim().ends_with(":latest") {
        format!("{text:?} has the tag `latest`: what runs depends on when it was pulled")
    } else {
        format!("{text:?} has no tag, which means `latest`: what runs depends on when it was pulled")
    };
    subject.report(&rules::MUTABLE_TAG, member.value.span, message);
}

fn end_of_life(subject: &mut Subject<'_>, member: &Member, image: &str) {
    let Some((repository, tag)) = image.rsplit_once(':') else { return };
    let name = repository.rsplit('/').next().unwrap_or(repository);
    if !RUNTIME.contains(&name) {
        return;
    }
    let mut parts = tag.split(['.', '-']);
    let (major, minor) = (parts.next().and_then(|p| p.parse().ok()), parts.next().and_then(|p| p.parse::<u32>().ok()));
    if major == Some(1u32) && minor.is_some_and(|minor| minor < SUPPORTED_MINOR) {
        let message = format!("version {tag} of the runtime is no longer supported");
        let found = Diagnostic::new(&rules::END_OF_LIFE, member.value.span, message);
        subject.add(found.help("The current version is 1.6; an update within 1.x needs no change of the manifest."));
    }
}

/// A credential is used for images whose registry is its address, letter for letter.
pub fn credential_address(subject: &mut Subject<'_>, credential: &Member, member: &Member, address: &str) {
    if address.trim().is_empty() || is_open(address) {
        return;
    }
    let images: Vec<String> = subject
        .modules
        .iter()
        .filter_map(|entry| entry.member.value.get("settings").and_then(|s| s.get("image")).and_then(Node::text))
        .map(str::to_owned)
        .collect();
    if images.iter().any(|image| is_open(image)) || images.iter().any(|image| registry(image.trim()) == address) {
        return;
    }
    if subject.is_layered {
        return;
    }
    let host = address.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let host = host.split('/').next().unwrap_or(host);
    let meant = images.iter().map(|image| registry(image.trim())).find(|registry| registry.eq_ignore_ascii_case(host));
    let is_docker_hub = matches!(host, "docker.io" | "index.docker.io" | "hub.docker.com" | "registry-1.docker.io");
    let meant = meant.or_else(|| is_docker_hub.then_some(DOCKER_HUB));
    let found = match meant {
        Some(meant) => Diagnostic::new(
            &rules::CREDENTIAL_ADDRESS,
            member.value.span,
            format!("no image has the registry {address:?}, so the credential `{}` is never used", credential.key),
        )
        .help(format!("The address is compared letter for letter: write {meant:?}."))
        .fix(member.value.span, format!("{meant:?}")),
        None => Diagnostic::new(
            &rules::UNUSED_CREDENTIAL,
            member.value.span,
            format!("no image comes from the registry {address:?}"),
        ),
    };
    subject.add(found);
}
