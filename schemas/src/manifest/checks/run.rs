//! All rules over one manifest.

use super::subject::Subject;
use super::{agent, envelope, hub, module, routes, secrets, twin};
use crate::diagnostic::{Diagnostic, Findings};
use crate::document::document::Document;

/// What a document is for, as far as it changes the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A manifest, as it is handed to a hub.
    Manifest,
    /// A deployment template whose variables and images were replaced: create options may be objects of any length.
    Template,
}

/// Checks a deployment manifest, a template, or a layered deployment. All that is wrong, with places in the file.
pub fn check(document: &Document, purpose: Purpose) -> Findings {
    Findings::of(document, diagnostics(document, purpose))
}

/// The same, with places in the text that was read, in no order.
pub fn diagnostics(document: &Document, purpose: Purpose) -> Vec<Diagnostic> {
    let mut subject = Subject::new(document, purpose);
    if envelope::is_for_one_module(&subject) {
        return subject.found;
    }
    envelope::check(&mut subject);
    agent::check(&mut subject);
    for entry in subject.modules.clone() {
        module::check(&mut subject, &entry);
    }
    hub::check(&mut subject);
    routes::check(&mut subject);
    twin::check(&mut subject);
    secrets::check(&mut subject);
    subject.found
}
