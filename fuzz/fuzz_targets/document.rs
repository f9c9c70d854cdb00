//! Manifests in JSON and YAML: reading, every rule, and the way from each finding back to its place.
#![no_main]

use edgectl_schemas::document::document::{Document, Format};
use edgectl_schemas::manifest::checks::run::{Purpose, check};

libfuzzer_sys::fuzz_target!(|text: &str| {
    for format in [Format::Json, Format::Yaml] {
        let Ok(document) = Document::parse("manifest", text.to_owned(), format) else { continue };
        for purpose in [Purpose::Manifest, Purpose::Template] {
            for found in check(&document, purpose).diagnostics {
                assert!(text.get(found.span.range()).is_some(), "{found:?}");
            }
        }
    }
});
