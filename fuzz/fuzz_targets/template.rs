//! Deployment templates: variables are replaced, and places lead back to the text as it was written.
#![no_main]

use std::collections::BTreeMap;

use edgectl_schemas::document::document::{Document, Format};
use edgectl_schemas::document::expand::expand;
use edgectl_schemas::manifest::checks::run::{Purpose, check};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let set =
        [("A", "value"), ("NUMBER", "1"), ("edgeHub", "x"), ("MEMBERS", "\"a\": 1, \"b\": \"$A\""), ("EMPTY", "")];
    let variables: BTreeMap<String, String> =
        set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    for replace_reserved in [false, true] {
        let expanded = expand(text, &variables, replace_reserved);
        let read = Document::parse_expanded("t", text.to_owned(), expanded.text, expanded.map, Format::Json);
        let Ok(document) = read else { continue };
        for found in check(&document, Purpose::Template).diagnostics {
            assert!(text.len() >= found.span.end && found.span.start <= found.span.end, "{found:?}");
        }
    }
});
