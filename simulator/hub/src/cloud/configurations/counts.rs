//! How many devices a configuration is for, has reached, and with what success: the queries that the service makes for each
//! configuration, and their results.

use std::collections::BTreeMap;

use edgectl_schemas::query::parser::statement;

use super::configuration::Configuration;
use crate::cloud::hub::CloudHub;
use crate::cloud::query::Answer;
use crate::cloud::target::target;

/// A query of a configuration with the number of its results.
pub type Counts = BTreeMap<String, (String, usize)>;

impl CloudHub {
    /// The service's own metrics of a configuration.
    pub fn system_metrics(&self, configuration: &Configuration) -> Counts {
        let id = &configuration.id;
        let condition = configuration.target_condition.trim();
        let mut queries: Vec<(&str, String)> = Vec::new();
        if configuration.deployment().is_some() {
            // As the service writes it, without parentheses around the condition.
            let and = if condition == "*" { String::new() } else { format!(" and {condition}") };
            let applied = format!(
                "select deviceId from devices.modules where moduleId = '$edgeAgent' and configurations.[[{id}]].status = 'Applied'"
            );
            let reported = "properties.desired.$version = properties.reported.lastDesiredVersion and properties.reported.lastDesiredStatus.code";
            queries.push((
                "targetedCount",
                format!("select deviceId from devices where capabilities.iotEdge = true{and}"),
            ));
            queries.push(("reportedSuccessfulCount", format!("{applied} and {reported} = 200")));
            queries.push(("reportedFailedCount", format!("{applied} and {reported} != 200")));
            queries.push(("appliedCount", applied));
        } else {
            let of_modules = configuration.paths().is_some_and(|(_, modules)| modules);
            let from = if of_modules {
                "select deviceId, moduleId from devices.modules"
            } else {
                "select deviceId from devices"
            };
            let targeted = match condition {
                "*" => from.to_owned(),
                _ if of_modules => format!("select deviceId, moduleId {condition}"),
                _ => format!("{from} where {condition}"),
            };
            queries.push(("targetedCount", targeted));
            queries.push(("appliedCount", format!("{from} where configurations.[[{id}]].status = 'Applied'")));
        }
        if target(condition).is_ok_and(|target| target.condition.is_none()) {
            // Without a condition it is for nobody.
            queries.retain(|(name, _)| *name != "targetedCount");
            queries.push(("targetedCount", String::new()));
        }
        queries.into_iter().map(|(name, query)| self.counted(name, query)).collect()
    }

    /// The metrics that a configuration brought along.
    pub fn custom_metrics(&self, configuration: &Configuration) -> Counts {
        configuration.metrics.iter().map(|(name, query)| self.counted(name, query.clone())).collect()
    }

    fn counted(&self, name: &str, query: String) -> (String, (String, usize)) {
        let count = statement(&query).map_or(0, |statement| match self.query(&statement) {
            Answer::Twins(rows) => rows.len(),
            Answer::Values(values) => values.len(),
        });
        (name.to_owned(), (query, count))
    }
}
