//! Queries over devices, modules and jobs.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::post;
use axum::{Json, Router};
use edgectl_hub::cloud::query::{Answer, TwinRow};
use edgectl_schemas::query::parser::statement;
use edgectl_schemas::query::statement::Collection;
use serde_json::{Map, Value, json};

use super::access::{Holder, ServiceConnect};
use super::answer::ServiceError;
use super::page::Page;
use super::service::Service;
use super::shape;

/// The path.
pub fn routes() -> Router<Service> {
    Router::new().route("/devices/query", post(query))
}

/// `POST /devices/query`: `{"query": "SELECT …"}`.
async fn query(
    _: Holder<ServiceConnect>,
    State(service): State<Service>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Result<Response, ServiceError> {
    let page = Page::read(&headers)?;
    let text = body.get("query").and_then(Value::as_str).ok_or_else(|| ServiceError::invalid("query is missing"))?;
    let statement = statement(text).map_err(|error| {
        ServiceError::invalid(format!("the query is wrong at character {}: {error}", error.column(text)))
    })?;
    Ok(match service.hub.query(&statement) {
        Answer::Twins(rows) => page.of(&rows, "Twin", |row| twin(&service, row)),
        Answer::Values(values) => {
            let whole = statement.from == Collection::Jobs && !statement.is_aggregate();
            page.of(&values, if whole { "deviceJob" } else { "raw" }, Value::clone)
        }
    })
}

/// A twin as queries show it: with the configurations that are applied to it.
fn twin(service: &Service, row: &TwinRow) -> Value {
    let mut shape = shape::twin(&service.hub, &row.registration, &row.twin);
    if !row.configurations.is_empty() {
        let applied = row.configurations.iter().map(|name| (name.clone(), json!({ "status": "Applied" })));
        shape["configurations"] = Value::Object(applied.collect::<Map<_, _>>());
    }
    shape
}
