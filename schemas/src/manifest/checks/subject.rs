//! The manifest under the rules, and what they share.

use super::ports::Bound;
use super::run::Purpose;
use crate::diagnostic::{Diagnostic, Rule, did_you_mean};
use crate::document::document::Document;
use crate::document::node::{Member, Node, Span};
use crate::manifest::content::{self, ModuleEntry, Section};
use crate::rules;

/// A manifest, and what was found wrong with it so far.
pub struct Subject<'d> {
    /// The document.
    pub document: &'d Document,
    /// What it is for.
    pub purpose: Purpose,
    /// The member that holds the content of all modules.
    pub content: Option<&'d Member>,
    /// Whether it is a layer over other deployments: desired properties stand under dotted paths.
    pub is_layered: bool,
    /// All modules under `$edgeAgent`.
    pub modules: Vec<ModuleEntry<'d>>,
    /// The ports of the host that modules bind.
    pub bound: Vec<Bound<'d>>,
    /// What was found.
    pub found: Vec<Diagnostic>,
}

impl<'d> Subject<'d> {
    pub fn new(document: &'d Document, purpose: Purpose) -> Self {
        let content = content::modules_content(&document.root);
        Self {
            document,
            purpose,
            content,
            is_layered: content.is_some_and(|content| content::is_layered(&content.value)),
            modules: content::modules(&document.root),
            bound: Vec::new(),
            found: Vec::new(),
        }
    }

    pub fn add(&mut self, found: Diagnostic) {
        self.found.push(found);
    }

    pub fn report(&mut self, rule: &'static Rule, span: Span, message: impl Into<String>) {
        self.add(Diagnostic::new(rule, span, message));
    }

    /// The desired properties of a module of the content, where they stand whole.
    pub fn desired(&self, module: &str) -> Option<&'d Member> {
        content::desired(&self.content?.value, module)
    }

    /// The user modules.
    pub fn user_modules(&self) -> impl Iterator<Item = &ModuleEntry<'d>> {
        self.modules.iter().filter(|entry| entry.section == Section::User)
    }

    /// Reports members that nobody reads, and members whose name is right but for its case.
    pub fn known_members(&mut self, node: &Node, known: &[&'static str], whose: &str) {
        self.known_members_but(node, known, whose, &|key| key.starts_with("$version") || key.starts_with("$metadata"));
    }

    /// The same, passing over some.
    pub fn known_members_but(
        &mut self,
        node: &Node,
        known: &[&'static str],
        whose: &str,
        is_passed_over: &dyn Fn(&str) -> bool,
    ) {
        for member in node.members().unwrap_or_default() {
            if known.contains(&member.key.as_str()) || is_passed_over(&member.key) {
                continue;
            }
            if let Some(name) = known.iter().find(|name| name.eq_ignore_ascii_case(&member.key)) {
                let found = Diagnostic::new(
                    &rules::NAME_CASE,
                    member.key_span,
                    format!("`{}` is written `{name}`", member.key),
                );
                self.add(found.fix(member.key_span, format!("\"{name}\"")));
                continue;
            }
            let message = format!("{whose} has no property `{}`", member.key);
            let mut found = Diagnostic::new(&rules::UNKNOWN_PROPERTY, member.key_span, message);
            found = match did_you_mean(&member.key, known.iter().copied()) {
                Some(meant) => found.help(format!("Did you mean `{meant}`?")),
                None => found.help(format!("It has {}.", list(known))),
            };
            self.add(found);
        }
    }

    /// A member that has to be there; reports it if it is not.
    pub fn required(&mut self, holder: &'d Node, at: Span, name: &str, whose: &str) -> Option<&'d Member> {
        let member = holder.member_any_case(name);
        if member.is_none() {
            self.report(&rules::MISSING_PROPERTY, at, format!("{whose} has no `{name}`"));
        }
        member
    }

    /// The value as an object; reports it if it is something else.
    pub fn object(&mut self, member: &'d Member) -> Option<&'d Node> {
        if member.value.members().is_none() {
            self.wrong_type(member, "an object");
            return None;
        }
        Some(&member.value)
    }

    /// The value as a text; reports it if it is something else.
    pub fn string(&mut self, member: &'d Member) -> Option<&'d str> {
        let text = member.value.text();
        if text.is_none() {
            self.wrong_type(member, "a string");
        }
        text
    }

    pub fn wrong_type(&mut self, member: &Member, expected: &str) {
        let message = format!("`{}` is {}, not {expected}", member.key, member.value.kind_name());
        self.report(&rules::WRONG_TYPE, member.value.span, message);
    }

    /// Checks a word against those there are, in any case; reports others, and other cases.
    pub fn word(&mut self, member: &'d Member, words: &[&'static str]) {
        let Some(text) = self.string(member) else { return };
        if words.contains(&text) {
            return;
        }
        let span = member.value.span;
        if let Some(word) = words.iter().find(|word| word.eq_ignore_ascii_case(text)) {
            let found = Diagnostic::new(&rules::NAME_CASE, span, format!("`{text}` is written `{word}`"));
            self.add(found.fix(span, format!("\"{word}\"")));
            return;
        }
        let message = format!("`{}` cannot be {text:?}", member.key);
        let mut found = Diagnostic::new(&rules::UNKNOWN_VALUE, span, message);
        if let Some(meant) = did_you_mean(text, words.iter().copied()) {
            found = found.fix(span, format!("\"{meant}\"")).help(format!("Did you mean `{meant}`?"));
        } else {
            found = found.help(format!("It is one of {}.", list(words)));
        }
        self.add(found);
    }
}

/// Words for a person: `a, b and c`.
pub fn list(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [word] => format!("`{word}`"),
        [first @ .., last] => {
            format!("{} and `{last}`", first.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "))
        }
    }
}
