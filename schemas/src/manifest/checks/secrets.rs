//! Secrets that stand in the file itself.

use super::run::Purpose;
use super::subject::Subject;
use crate::diagnostic::Diagnostic;
use crate::document::node::{Kind, Member, Node};
use crate::rules;

/// What connection strings and keys look like.
const MARKS: &[&str] = &["SharedAccessKey=", "AccountKey=", "SharedAccessSignature sr="];

pub fn check(subject: &mut Subject<'_>) {
    let Some(content) = subject.content else { return };
    let mut found = Vec::new();
    visit(subject, content, &mut found);
    subject.found.append(&mut found);
}

fn visit(subject: &Subject<'_>, member: &Member, found: &mut Vec<Diagnostic>) {
    match &member.value.kind {
        Kind::Object(members) => members.iter().for_each(|member| visit(subject, member, found)),
        Kind::Array(elements) => elements.iter().for_each(|element| text(subject, element, found)),
        Kind::String(value) => {
            // A rendered manifest has passwords by nature; a template has no need for one.
            let is_password = subject.purpose == Purpose::Template && member.key.eq_ignore_ascii_case("password");
            if is_password && is_secret(value) && is_literal(subject, &member.value) {
                let message = "the password of a registry stands in the template";
                let help = "Put it into `.env` and write `${NAME}` here.";
                found.push(Diagnostic::new(&rules::LITERAL_SECRET, member.value.span, message).help(help));
            } else {
                text(subject, &member.value, found);
            }
        }
        _ => {}
    }
}

fn text(subject: &Subject<'_>, node: &Node, found: &mut Vec<Diagnostic>) {
    let Some(value) = node.text() else { return };
    // All marks have one, and few texts do.
    if !value.contains('=') {
        return;
    }
    let secret = MARKS.iter().find_map(|mark| value.split_once(mark).map(|(_, behind)| behind));
    let Some(secret) = secret else { return };
    let secret = secret.split([';', '"', '&']).next().unwrap_or(secret);
    if secret.len() >= 16 && is_secret(secret) && is_literal(subject, node) {
        let message = "a key or a connection string with its key stands in the file";
        let help = "Put it into `.env` and write `${NAME}` here, and consider the key known.";
        found.push(Diagnostic::new(&rules::LITERAL_SECRET, node.span, message).help(help));
    }
}

/// Not a stand-in such as `<password>` or `${PASSWORD}`.
fn is_secret(value: &str) -> bool {
    let value = value.trim();
    !value.is_empty() && !value.contains(['$', '<', '{', '*']) && !value.to_ascii_lowercase().contains("your")
}

/// Whether the file has the text itself, and not a variable.
fn is_literal(subject: &Subject<'_>, node: &Node) -> bool {
    let written = subject.document.source.get(subject.document.source_span(node.span).range());
    !written.is_some_and(|written| written.contains('$'))
}
