//! What a request for logs asks for: which modules, which of their lines, and how these are given.

use jiff::Timestamp;
use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use serde_json::Value;

use super::method::MethodError;
use crate::runtime::log_time;

/// Matches every module.
const ALL: &str = "all";

/// A request for logs.
#[derive(Debug)]
pub struct LogRequest {
    /// Which lines of which modules; of several items for a module the first one counts.
    pub items: Vec<LogItem>,
    /// Whether the answer is compressed.
    pub is_gzip: bool,
    /// Whether each line is a JSON object.
    pub is_json: bool,
}

/// Lines of modules.
#[derive(Debug, Clone)]
pub struct LogItem {
    /// Matches the names of the modules.
    id: Regex,
    /// At most so many of the last lines.
    pub tail: Option<usize>,
    /// None older.
    pub since: Option<Timestamp>,
    /// None newer.
    pub until: Option<Timestamp>,
    /// Only lines of this level.
    pub level: Option<u8>,
    /// Only lines in which this is found.
    pub pattern: Option<Regex>,
}

#[derive(Deserialize)]
struct WrittenItem {
    id: String,
    #[serde(default)]
    filter: Option<WrittenFilter>,
}

#[derive(Default, Deserialize)]
struct WrittenFilter {
    tail: Option<usize>,
    since: Option<Value>,
    until: Option<Value>,
    loglevel: Option<u8>,
    regex: Option<String>,
}

impl LogRequest {
    /// Reads a request's payload. Times are counted back from `now`.
    pub fn read(request: &Value, now: Timestamp) -> Result<Self, MethodError> {
        let word = |name: &str| member(request, name).and_then(Value::as_str).unwrap_or_default().to_lowercase();
        let is_gzip = match word("encoding").as_str() {
            "" | "none" => false,
            "gzip" => true,
            other => return Err(argument(format!("the encoding {other:?} is neither none nor gzip"))),
        };
        let is_json = match word("contentType").as_str() {
            "" | "text" => false,
            "json" => true,
            other => return Err(argument(format!("the contentType {other:?} is neither text nor json"))),
        };
        let items = match member(request, "items") {
            Some(Value::Array(items)) if !items.is_empty() => {
                items.iter().map(|item| LogItem::read(item, now)).collect()
            }
            // One item may stand alone.
            Some(item @ Value::Object(_)) => LogItem::read(item, now).map(|item| vec![item]),
            _ => Err(argument("the request has no \"items\"".to_owned())),
        };
        Ok(Self { items: items?, is_gzip, is_json })
    }

    /// The modules that are asked for, each with the item that tells which of its lines; in the order of their names.
    pub fn select(&self, modules: impl IntoIterator<Item = String>) -> Vec<(String, &LogItem)> {
        let mut selected: Vec<(String, &LogItem)> = modules
            .into_iter()
            .filter_map(|module| {
                let item = self.items.iter().find(|item| item.matches(&module))?;
                Some((module, item))
            })
            .collect();
        selected.sort_by_cached_key(|(module, _)| module.to_lowercase());
        selected
    }
}

impl LogItem {
    fn read(item: &Value, now: Timestamp) -> Result<Self, MethodError> {
        let item: WrittenItem = serde_json::from_value(item.clone()).map_err(|error| argument(error.to_string()))?;
        let filter = item.filter.unwrap_or_default();
        let pattern = |text: &str, any_case| {
            let pattern = RegexBuilder::new(text).case_insensitive(any_case).build();
            pattern.map_err(|error| argument(error.to_string()))
        };
        if item.id.trim().is_empty() {
            return Err(argument("an item has no \"id\"".to_owned()));
        }
        let id = if item.id.eq_ignore_ascii_case(ALL) { "" } else { item.id.as_str() };
        Ok(Self {
            id: pattern(id, true)?,
            tail: filter.tail,
            since: time(filter.since.as_ref(), now)?,
            until: time(filter.until.as_ref(), now)?,
            level: filter.loglevel,
            pattern: filter.regex.as_deref().map(|text| pattern(text, false)).transpose()?,
        })
    }

    /// Whether it asks for a module.
    pub fn matches(&self, module: &str) -> bool {
        self.id.is_match(module)
    }
}

fn argument(reason: String) -> MethodError {
    MethodError::Argument(reason)
}

/// A time as text or number; none where there is none.
pub(super) fn time(written: Option<&Value>, now: Timestamp) -> Result<Option<Timestamp>, MethodError> {
    let time = match written {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => log_time::parse(text, now),
        Some(other) => log_time::parse(&other.to_string(), now),
    };
    time.map(Some).map_err(|error| argument(error.to_string()))
}

/// A member of an object, its name in any case.
pub(super) fn member<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    value.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}
