//! Routes: reading, every finding, and the condition over a message whose body is a part of the input.
#![no_main]

use edgectl_schemas::route::body::paths::BodyPaths;
use edgectl_schemas::route::check::check;
use edgectl_schemas::route::parser::Route;

libfuzzer_sys::fuzz_target!(|text: &str| {
    for finding in check(text).findings {
        assert!(text.get(finding.span.start..finding.span.end).is_some(), "{finding:?}");
    }
    if let Ok(route) = Route::parse(text) {
        let _ = route.compile_condition(text, &mut BodyPaths::default());
    }
});
