//! The text of create options, alone and cut into chunks of a manifest.
#![no_main]

use edgectl_schemas::document::document::{Document, Format};
use edgectl_schemas::manifest::checks::run::{Purpose, check};
use edgectl_schemas::manifest::create_options::{chunks, join, parse};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(options) = parse(text) {
        let settings = chunks(&options).into_iter().map(|(key, chunk)| (key, chunk.into())).collect();
        let joined = join(&settings).expect("what was cut can be joined");
        assert_eq!(parse(&joined).expect("and read"), options);
    }
    let middle = (0..=text.len() / 2).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let manifest = serde_json::json!({"modulesContent": {"$edgeAgent": {"properties.desired": {"modules": {"m": {
        "type": "docker", "status": "running", "restartPolicy": "always",
        "settings": {"image": "a:1", "createOptions": text[..middle], "createOptions01": text[middle..]},
    }}}}}});
    let source = manifest.to_string();
    let document = Document::parse("manifest", source.clone(), Format::Json).expect("it was just written");
    for found in check(&document, Purpose::Manifest).diagnostics {
        assert!(source.get(found.span.range()).is_some(), "{found:?}");
    }
});
