//! Everything there is to say about the text of one route.

use crate::route::body::paths::BodyPaths;
use crate::route::condition::compile::Condition;
use crate::route::error::Finding;
use crate::route::parser::Route;
use crate::route::sink::Endpoint;
use crate::route::trap;

/// A route as its author should see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// All findings, in the order of the text; the hub takes the route if none is an error.
    pub findings: Vec<Finding>,
    /// Where it sends, if that much could be read.
    pub endpoint: Option<Endpoint>,
    /// The module whose messages it takes, if it takes those of a single one.
    pub source_module: Option<String>,
}

/// Reads, compiles and looks for traps.
pub fn check(text: &str) -> Checked {
    let route = match Route::parse(text) {
        Ok(route) => route,
        Err(error) => return Checked { findings: vec![error.into()], endpoint: None, source_module: None },
    };
    let compiled = route.compile_condition(text, &mut BodyPaths::default());
    let kind = compiled.as_ref().ok().map(Condition::kind);
    let mut findings: Vec<Finding> = compiled.err().unwrap_or_default().into_iter().map(Finding::from).collect();
    findings.extend(trap::find(text, &route, kind).into_iter().map(Finding::from));
    findings.sort_by_key(|finding| finding.span.start);
    Checked {
        findings,
        source_module: route.source.pattern.module().map(str::to_owned),
        endpoint: Some(route.sink.endpoint),
    }
}
