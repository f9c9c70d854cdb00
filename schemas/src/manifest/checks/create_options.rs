//! `settings.createOptions`: its chunks, and the JSON inside.

use super::container;
use super::run::Purpose;
use super::subject::Subject;
use crate::diagnostic::Diagnostic;
use crate::document::document::{Document, Format};
use crate::document::node::{Kind, Member, Node, Span};
use crate::manifest::create_options::{CHUNK_CHARACTERS, InvalidCreateOptions, chunk_number};
use crate::rules;

/// Most chunks that every tool takes; the agent itself takes 100.
const DOCUMENTED_CHUNKS: usize = 8;
/// Longest text of a twin's value, in bytes.
const LONGEST_VALUE: usize = 4096;

/// Create options as a tree whose places can be found in the document.
pub struct Options<'d> {
    /// The tree; its places are places in `text`, or in the document if there is no text.
    pub root: std::borrow::Cow<'d, Node>,
    /// The chunks whose texts, one after another, are the text.
    chunks: Vec<&'d Node>,
}

impl Options<'_> {
    /// The place in the document of a place in the tree.
    pub fn place(&self, document: &Document, span: Span) -> Span {
        if self.chunks.is_empty() {
            return span;
        }
        let mut offset = 0;
        for chunk in &self.chunks {
            let length = chunk.text().map_or(0, str::len);
            if span.start < offset + length || (span.start == offset + length && length > 0) {
                let end = span.end.min(offset + length);
                return document.inside(chunk, Span::new(span.start - offset, end - offset));
            }
            offset += length;
        }
        self.chunks.last().map_or(span, |chunk| chunk.span)
    }
}

/// Checks the create options of a module, and gives them if they can be read.
pub fn check<'d>(subject: &mut Subject<'d>, settings: &'d Node) -> Option<Options<'d>> {
    let mut chunks: Vec<(usize, &'d Member)> = Vec::new();
    for member in settings.members().unwrap_or_default() {
        match chunk_number(&member.key) {
            Some(number) => chunks.push((number, member)),
            None if member.key.to_ascii_lowercase().starts_with("createoptions") => {
                let message = format!("`{}` is no chunk of createOptions, and nobody reads it", member.key);
                let found = Diagnostic::new(&rules::CHUNK_SEQUENCE, member.key_span, message);
                subject
                    .add(found.help("The first one is `createOptions`, then `createOptions01`, `createOptions02`, …"));
            }
            None => {}
        }
    }
    chunks.sort_by_key(|(number, _)| *number);
    if !sequence(subject, &chunks) | !texts(subject, &chunks) {
        return None;
    }
    let options = read(subject, &chunks)?;
    container::check(subject, &options);
    Some(options)
}

fn sequence(subject: &mut Subject<'_>, chunks: &[(usize, &Member)]) -> bool {
    for (expected, (found, member)) in chunks.iter().enumerate() {
        if expected == *found {
            continue;
        }
        let error = match expected {
            0 => InvalidCreateOptions::NoFirst(*found),
            expected => InvalidCreateOptions::Gap { expected, found: *found },
        };
        let message = match expected {
            0 => format!("there is `{}`, but no `createOptions`", member.key),
            expected => format!("there is `{}`, but no `createOptions{expected:02}` before it", member.key),
        };
        let found = Diagnostic::new(&rules::CHUNK_SEQUENCE, member.key_span, message);
        subject.add(found.help(format!("The device reports: {error}")));
        return false;
    }
    if let Some((_, member)) = chunks.get(DOCUMENTED_CHUNKS) {
        let message = format!("there are {} chunks, and other tools take at most {DOCUMENTED_CHUNKS}", chunks.len());
        subject.report(&rules::MANY_CHUNKS, member.key_span, message);
    }
    true
}

fn texts(subject: &mut Subject<'_>, chunks: &[(usize, &Member)]) -> bool {
    let mut all_texts = true;
    for (_, member) in chunks {
        match &member.value.kind {
            Kind::String(text) => length(subject, member, text),
            Kind::Null => {}
            Kind::Object(_) if subject.purpose == Purpose::Template => {}
            _ => {
                all_texts = false;
                let message = format!("`{}` is {}, not a string", member.key, member.value.kind_name());
                let mut found = Diagnostic::new(&rules::OPTIONS_NOT_TEXT, member.value.span, message);
                if member.value.members().is_some() {
                    let mut text = String::new();
                    crate::document::write::string(&super::agent::shown(&member.value), &mut text);
                    found = found
                        .help("In a manifest it is the JSON as a string; `edgectl render` writes it from a template.");
                    found = found.fix(member.value.span, text);
                }
                subject.add(found);
            }
        }
    }
    all_texts
}

fn length(subject: &mut Subject<'_>, member: &Member, text: &str) {
    if subject.purpose == Purpose::Template {
        return;
    }
    let characters = text.chars().count();
    if text.len() > LONGEST_VALUE {
        let message =
            format!("`{}` has {} bytes, and a value of a twin at most {LONGEST_VALUE}", member.key, text.len());
        subject.report(&rules::VALUE_LENGTH, member.value.span, message);
    } else if characters > CHUNK_CHARACTERS {
        let message = format!("`{}` has {characters} characters; chunks of {CHUNK_CHARACTERS} are safe", member.key);
        subject.report(&rules::LONG_CHUNK, member.value.span, message);
    }
}

fn read<'d>(subject: &mut Subject<'d>, chunks: &[(usize, &'d Member)]) -> Option<Options<'d>> {
    match parse(subject.document, chunks) {
        Ok(options) => options,
        Err(found) => {
            subject.add(*found);
            None
        }
    }
}

fn parse<'d>(document: &Document, chunks: &[(usize, &'d Member)]) -> Result<Option<Options<'d>>, Box<Diagnostic>> {
    let Some((_, first)) = chunks.first() else { return Ok(None) };
    if first.value.members().is_some() {
        return Ok(Some(Options { root: std::borrow::Cow::Borrowed(&first.value), chunks: Vec::new() }));
    }
    let nodes: Vec<&Node> = chunks.iter().map(|(_, member)| &member.value).collect();
    let text: String = nodes.iter().filter_map(|node| node.text()).collect();
    if text.trim().is_empty() || text.trim() == "null" {
        return Ok(None);
    }
    let mut options = Options { root: std::borrow::Cow::Borrowed(&first.value), chunks: nodes };
    let parsed = Document::parse("createOptions", text.clone(), Format::Json).map_err(|error| {
        let span = options.place(document, error.span);
        let found = Diagnostic::new(&rules::OPTIONS_NOT_JSON, span, format!("createOptions is not JSON: {error}"));
        Box::new(if double_encoded(&text) {
            found.help("It looks as if quotes were escaped once more than needed.")
        } else {
            found
        })
    })?;
    if parsed.root.members().is_none() {
        let message = format!("createOptions holds {}, not an object", parsed.root.kind_name());
        let whole = options.place(document, Span::new(0, text.len()));
        let found = Diagnostic::new(&rules::OPTIONS_NOT_OBJECT, whole, message);
        return Err(Box::new(match &parsed.root.kind {
            Kind::String(_) => found.help("It was turned into a string twice."),
            _ => found,
        }));
    }
    if let Some(extension) = parsed.extension {
        let span = options.place(document, extension);
        let message = "createOptions is strict JSON: no comments, no comma before a closing bracket";
        return Err(Box::new(Diagnostic::new(&rules::OPTIONS_NOT_JSON, span, message)));
    }
    options.root = std::borrow::Cow::Owned(parsed.root);
    Ok(Some(options))
}

fn double_encoded(text: &str) -> bool {
    text.contains("\\\"")
}
