//! What it takes to evaluate conditions on a body: the one thing measured without a server.

use std::hint::black_box;
use std::time::Instant;

use edgectl_schemas::route::definition::{DefinitionForm, RouteDefinition};
use edgectl_schemas::route::message::{Lookup, MessageView};
use edgectl_schemas::route::table::RouteTable;
use serde_json::json;

struct Message<'a>(&'a [u8]);

impl MessageView for Message<'_> {
    fn source(&self) -> &str {
        "/messages/modules/pub0/outputs/on/"
    }
    fn property(&self, _: &str) -> Lookup<'_> {
        Lookup::Absent
    }
    fn system_property(&self, name: &str) -> Lookup<'_> {
        match name {
            "contentType" => Lookup::Value("application/json"),
            "contentEncoding" => Lookup::Value("utf-8"),
            _ => Lookup::Absent,
        }
    }
    fn body(&self) -> &[u8] {
        self.0
    }
}

/// Nanoseconds to evaluate so many routes, each with two fields of the body, on one message.
pub fn nanoseconds(routes: usize, body: &[u8]) -> f64 {
    let definitions: Vec<RouteDefinition> = (0..routes)
        .map(|number| {
            let text = format!(
                "FROM /messages/* WHERE $body.machine.temperature > {} AND $body.ambient.humidity <= 60 \
                 INTO BrokeredEndpoint(\"/modules/sub{number}/inputs/in\")",
                80 + number % 4
            );
            let definition = RouteDefinition::read(&format!("r{number}"), &json!(text), DefinitionForm::TextOnly);
            definition.unwrap().unwrap()
        })
        .collect();
    let table = RouteTable::new(&definitions).unwrap();
    let rounds = 200_000 / routes;
    let begin = Instant::now();
    for _ in 0..rounds {
        assert_eq!(black_box(table.evaluate(black_box(&Message(body)))).len(), routes);
    }
    begin.elapsed().as_nanos() as f64 / rounds as f64
}
