//! Queries over devices, modules and jobs, as the service answers them.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use edgectl_schemas::query::evaluate::{Row, below, compared, evaluate, holds};
use edgectl_schemas::query::expression::Expression;
use edgectl_schemas::query::statement::{Aggregate, Collection, Item, Select, Selected, Statement};
use serde_json::{Map, Value, json};

use super::hub::CloudHub;
use super::registry::Registration;
use super::twins::{Section, Twin};
use crate::auth::Authentication;
use crate::clock::text_of;

/// The answer to a query.
pub enum Answer {
    /// Devices or modules as they are, in the order of their names.
    Twins(Vec<TwinRow>),
    /// Jobs as they are, or what was selected.
    Values(Vec<Value>),
}

/// A device or module with its twin.
pub struct TwinRow {
    /// Its registration.
    pub registration: Arc<Registration>,
    /// Its twin.
    pub twin: Arc<Twin>,
    /// The configurations that are applied to it, by name.
    pub configurations: Arc<Vec<String>>,
    connected: bool,
    last_activity: Option<String>,
}

impl CloudHub {
    /// Answers a query.
    pub fn query(&self, statement: &Statement) -> Answer {
        let all = statement.top.unwrap_or(usize::MAX);
        let condition = statement.condition.as_ref();
        match statement.from {
            Collection::Devices | Collection::Modules => {
                let mut rows = self.rows(statement.from, condition);
                if statement.select == Select::Everything && statement.group_by.is_empty() {
                    rows.truncate(all);
                    return Answer::Twins(rows);
                }
                Answer::Values(selected(statement, &rows.iter().map(|row| row as &dyn Row).collect::<Vec<_>>()))
            }
            Collection::Jobs => {
                let mut rows: Vec<JobRow> = self.jobs().device_jobs().into_iter().map(JobRow).collect();
                rows.retain(|row| condition.is_none_or(|condition| holds(condition, row)));
                if statement.select == Select::Everything {
                    return Answer::Values(rows.into_iter().take(all).map(|row| row.0).collect());
                }
                Answer::Values(selected(statement, &rows.iter().map(|row| row as &dyn Row).collect::<Vec<_>>()))
            }
        }
    }

    /// The devices or modules for which a condition holds.
    pub fn rows(&self, from: Collection, condition: Option<&Expression>) -> Vec<TwinRow> {
        let modules = from == Collection::Modules;
        let all = self.registry().all().into_iter();
        let rows = all.filter(|item| item.record.identity.module.is_some() == modules).map(|item| self.row(item));
        rows.filter(|row| condition.is_none_or(|condition| holds(condition, row))).collect()
    }

    /// A device or module as a row.
    pub fn row(&self, registration: Arc<Registration>) -> TwinRow {
        let identity = &registration.record.identity;
        TwinRow {
            twin: self.twins().get(identity),
            configurations: self.configurations().applied_to(identity),
            connected: self.is_connected(identity),
            last_activity: self.activity(identity).last_ms.map(text_of),
            registration,
        }
    }
}

/// A job's part for one device, in the service's shape.
struct JobRow(Value);

impl Row for JobRow {
    fn property(&self, names: &[String]) -> Option<Cow<'_, Value>> {
        below(&self.0, unqualified(names, "jobs")).map(Cow::Borrowed)
    }
}

/// Names without the collection that may stand before them: `devices.jobs.jobId` is `jobId`.
fn unqualified<'a>(names: &'a [String], collection: &str) -> &'a [String] {
    match names {
        [devices, of, rest @ ..] if devices.eq_ignore_ascii_case("devices") && of.eq_ignore_ascii_case(collection) => {
            rest
        }
        [devices, rest @ ..] if devices.eq_ignore_ascii_case("devices") => rest,
        names => names,
    }
}

impl Row for TwinRow {
    fn property(&self, names: &[String]) -> Option<Cow<'_, Value>> {
        let (first, rest) = unqualified(names, "modules").split_first()?;
        let record = &self.registration.record;
        let own = |value: Value| if rest.is_empty() { Some(Cow::Owned(value)) } else { None };
        match first.to_ascii_lowercase().as_str() {
            "deviceid" => own(json!(record.identity.device)),
            "moduleid" => own(json!(record.identity.module.as_ref()?)),
            "tags" if rest.is_empty() => Some(Cow::Owned(Value::Object(self.twin.tags.clone()))),
            "tags" => in_map(&self.twin.tags, rest).map(Cow::Borrowed),
            "properties" => match rest.first()?.to_ascii_lowercase().as_str() {
                "desired" => in_section(&self.twin.desired, &rest[1..]),
                "reported" => in_section(&self.twin.reported, &rest[1..]),
                _ => None,
            },
            "configurations" => {
                let Some((name, rest)) = rest.split_first() else {
                    let all = self.configurations.iter().map(|name| (name.clone(), json!({ "status": "Applied" })));
                    return Some(Cow::Owned(Value::Object(all.collect())));
                };
                self.configurations.iter().find(|applied| *applied == name)?;
                match rest {
                    [] => Some(Cow::Owned(json!({ "status": "Applied" }))),
                    [status] if status == "status" => Some(Cow::Owned(json!("Applied"))),
                    _ => None,
                }
            }
            "capabilities" => match rest {
                [] => Some(Cow::Owned(json!({ "iotEdge": self.registration.edge }))),
                [edge] if edge.eq_ignore_ascii_case("iotEdge") => Some(Cow::Owned(json!(self.registration.edge))),
                _ => None,
            },
            "status" => own(json!(if record.enabled { "enabled" } else { "disabled" })),
            "statusreason" => own(json!(self.registration.status_reason.as_ref()?)),
            "statusupdatetime" => own(json!(self.registration.status_updated.as_ref()?)),
            "connectionstate" => own(json!(if self.connected { "Connected" } else { "Disconnected" })),
            "lastactivitytime" => own(json!(self.last_activity.as_ref()?)),
            "devicescope" => own(json!(self.registration.scope.as_ref()?)),
            "parentscopes" => own(json!(self.registration.member().parents)),
            "version" => own(json!(self.twin.version)),
            "modelid" => own(json!("")),
            "authenticationtype" => own(json!(match record.authentication {
                Authentication::Sas { .. } => "sas",
                Authentication::SelfSigned { .. } => "selfSigned",
                Authentication::CertificateAuthority => "certificateAuthority",
                Authentication::None => "none",
            })),
            _ => None,
        }
    }
}

fn in_map<'a>(map: &'a Map<String, Value>, names: &[String]) -> Option<&'a Value> {
    let (first, rest) = names.split_first()?;
    below(map.get(first)?, rest)
}

fn in_section<'a>(section: &'a Section, names: &[String]) -> Option<Cow<'a, Value>> {
    match names {
        [] => Some(Cow::Owned(section.for_service())),
        [version] if version == "$version" => Some(Cow::Owned(json!(section.version))),
        [metadata, rest @ ..] if metadata == "$metadata" => {
            let shown = section.for_service();
            below(shown.get("$metadata")?, rest).cloned().map(Cow::Owned)
        }
        names => in_map(&section.properties, names).map(Cow::Borrowed),
    }
}

/// What a query selects of its rows.
fn selected(statement: &Statement, rows: &[&dyn Row]) -> Vec<Value> {
    let all = statement.top.unwrap_or(usize::MAX);
    let nothing = Vec::new();
    let items = match &statement.select {
        Select::Items(items) => items,
        Select::Everything => &nothing,
    };
    if !statement.is_aggregate() {
        return rows.iter().take(all).map(|row| object(items, &[*row])).collect();
    }
    if statement.group_by.is_empty() {
        return vec![object(items, rows)];
    }
    let mut groups: BTreeMap<String, Vec<&dyn Row>> = BTreeMap::new();
    for row in rows {
        let key: Vec<_> = statement.group_by.iter().map(|names| row.property(names)).collect();
        groups.entry(json!(key).to_string()).or_default().push(*row);
    }
    groups.values().take(all).map(|rows| object(items, rows)).collect()
}

/// The values of a group of rows, by name. A value that is not there is left out.
fn object(items: &[Item], rows: &[&dyn Row]) -> Value {
    let mut object = Map::new();
    for (index, item) in items.iter().enumerate() {
        let value = match &item.value {
            Selected::Value(expression) => rows.first().and_then(|row| evaluate(expression, *row)).map(Cow::into_owned),
            Selected::Aggregate(function, of) => aggregate(*function, of.as_ref(), rows),
        };
        let name = match (&item.name, &item.value) {
            (Some(name), _) => name.clone(),
            (None, Selected::Value(Expression::Path(names))) => names.last().cloned().unwrap_or_default(),
            (None, _) => format!("${}", index + 1),
        };
        if let Some(value) = value {
            object.insert(name, value);
        }
    }
    Value::Object(object)
}

fn aggregate(function: Aggregate, of: Option<&Expression>, rows: &[&dyn Row]) -> Option<Value> {
    let Some(of) = of else { return Some(json!(rows.len())) };
    let values = rows.iter().filter_map(|row| evaluate(of, *row)).map(Cow::into_owned);
    let numbers = |values: &[Value]| values.iter().filter_map(Value::as_f64).collect::<Vec<_>>();
    let values: Vec<Value> = values.collect();
    let extreme = |wanted: Ordering| {
        let better = |best: Value, value: Value| if compared(&value, &best) == Some(wanted) { value } else { best };
        values.iter().cloned().reduce(better)
    };
    match function {
        Aggregate::Count => Some(json!(values.len())),
        Aggregate::Sum => Some(whole(numbers(&values).iter().sum())),
        Aggregate::Average => {
            let numbers = numbers(&values);
            #[expect(clippy::cast_precision_loss, reason = "there are far fewer rows")]
            let count = numbers.len() as f64;
            (!numbers.is_empty()).then(|| whole(numbers.iter().sum::<f64>() / count))
        }
        Aggregate::Minimum => extreme(Ordering::Less),
        Aggregate::Maximum => extreme(Ordering::Greater),
    }
}

/// Whole numbers without a point.
fn whole(value: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and small enough")]
    if value.fract() == 0.0 && value.abs() < 9e15 { json!(value as i64) } else { json!(value) }
}
