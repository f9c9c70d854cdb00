//! Configurations: automatic deployments for many devices.

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use edgectl_hub::clock::text_of;
use edgectl_hub::cloud::configurations::all::ConfigurationError;
use edgectl_hub::cloud::configurations::configuration::Configuration;
use edgectl_hub::cloud::target::target;
use edgectl_schemas::query::parser::statement;
use serde_json::{Map, Value, json};
use tokio::task::spawn_blocking;

use super::access::{Holder, RegistryRead, RegistryWrite};
use super::answer::ServiceError;
use super::registry::Top;
use super::service::Service;
use super::shape;

type Answer = Result<Response, ServiceError>;

/// The paths.
pub fn routes() -> Router<Service> {
    Router::new()
        .route("/configurations", get(list))
        .route("/configurations/", get(list))
        .route("/configurations/testQueries", post(test_queries))
        .route("/configurations/{id}", get(show).put(put).delete(remove))
}

/// `GET /configurations?top=N`: the highest priority first.
async fn list(_: Holder<RegistryRead>, State(service): State<Service>, Query(top): Query<Top>) -> Answer {
    let mut all = service.hub.configurations().all();
    all.sort_by_key(|configuration| std::cmp::Reverse((configuration.priority, configuration.created_ms)));
    let shown = all.iter().take(top.most()).map(|configuration| shown(&service, configuration));
    Ok(Json(shown.collect::<Vec<_>>()).into_response())
}

/// `GET /configurations/{id}`.
async fn show(_: Holder<RegistryRead>, State(service): State<Service>, Path(id): Path<String>) -> Answer {
    let found = service.hub.configurations().require(&id)?;
    Ok(Json(shown(&service, &found)).into_response())
}

/// `PUT /configurations/{id}`.
async fn put(
    _: Holder<RegistryWrite>,
    State(service): State<Service>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Answer {
    let condition = shape::condition(&headers);
    let wanted = read(id, &body)?;
    let hub = service.hub.clone();
    // It may be for thousands of devices.
    let put = spawn_blocking(move || hub.put_configuration(wanted, condition)).await;
    let put = put.map_err(|error| ServiceError::failed(error.to_string()))??;
    Ok(Json(shown(&service, &put)).into_response())
}

/// `DELETE /configurations/{id}`.
async fn remove(
    _: Holder<RegistryWrite>,
    State(service): State<Service>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let condition = shape::condition(&headers);
    let removed = spawn_blocking(move || service.hub.remove_configuration(&id, condition)).await;
    removed.map_err(|error| ServiceError::failed(error.to_string()))??;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /configurations/testQueries`: `{"targetCondition", "customMetricQueries": {name: query}}`.
async fn test_queries(_: Holder<RegistryRead>, Json(body): Json<Value>) -> Answer {
    let condition = body.get("targetCondition").and_then(Value::as_str).unwrap_or_default();
    let of_condition = target(condition).err().map(|error| error.to_string());
    let queries = body.get("customMetricQueries").and_then(Value::as_object).cloned().unwrap_or_default();
    let errors: Map<String, Value> = queries
        .into_iter()
        .filter_map(|(name, query)| {
            let text = query.as_str().unwrap_or_default();
            let error = statement(text).err()?;
            Some((name, json!(format!("wrong at character {}: {error}", error.column(text)))))
        })
        .collect();
    Ok(Json(json!({ "targetConditionError": of_condition, "customMetricQueryErrors": errors })).into_response())
}

fn read(id: String, body: &Value) -> Result<Configuration, ServiceError> {
    let object = |pointer: &str| body.pointer(pointer).and_then(Value::as_object).cloned().unwrap_or_default();
    let texts = |pointer: &str| {
        let texts = object(pointer).into_iter().map(|(name, value)| match value {
            Value::String(text) => Ok((name, text)),
            other => Err(ServiceError::invalid(format!("{name}: {other} is not a text"))),
        });
        texts.collect::<Result<_, _>>()
    };
    if body.get("id").and_then(Value::as_str).is_some_and(|named| named != id) {
        return Err(ServiceError::invalid("the id in the body is not that in the path"));
    }
    let mut content = object("/content");
    content.retain(|_, value| !value.is_null() && *value != json!({}));
    Ok(Configuration {
        id,
        labels: texts("/labels")?,
        content,
        target_condition: body.get("targetCondition").and_then(Value::as_str).unwrap_or_default().to_owned(),
        priority: body.get("priority").and_then(Value::as_i64).unwrap_or_default(),
        metrics: texts("/metrics/queries")?,
        created_ms: 0,
        updated_ms: 0,
        etag: 0,
    })
}

fn shown(service: &Service, configuration: &Configuration) -> Value {
    let metrics = |counts: edgectl_hub::cloud::configurations::counts::Counts| {
        let (mut results, mut queries) = (Map::new(), Map::new());
        for (name, (query, count)) in counts {
            results.insert(name.clone(), json!(count));
            queries.insert(name, json!(query));
        }
        json!({ "results": results, "queries": queries })
    };
    json!({
        "id": configuration.id,
        "schemaVersion": "1.0",
        "labels": configuration.labels,
        "content": configuration.content,
        "targetCondition": configuration.target_condition,
        "createdTimeUtc": text_of(configuration.created_ms),
        "lastUpdatedTimeUtc": text_of(configuration.updated_ms),
        "priority": configuration.priority,
        "systemMetrics": metrics(service.hub.system_metrics(configuration)),
        "metrics": metrics(service.hub.custom_metrics(configuration)),
        "etag": shape::etag_text(configuration.etag),
    })
}

impl From<ConfigurationError> for ServiceError {
    fn from(error: ConfigurationError) -> Self {
        let text = error.to_string();
        match error {
            ConfigurationError::NotFound(_) => Self::of(StatusCode::NOT_FOUND, "ConfigurationNotFound", text),
            ConfigurationError::Exists(_) => Self::of(StatusCode::CONFLICT, "ConfigurationAlreadyExists", text),
            ConfigurationError::Precondition(_) => {
                Self::of(StatusCode::PRECONDITION_FAILED, "PreconditionFailed", text)
            }
            ConfigurationError::Invalid(_) => Self::invalid(text),
            ConfigurationError::TooMany => Self::of(StatusCode::FORBIDDEN, "ConfigurationCountLimitExceeded", text),
            ConfigurationError::Documents(_) => Self::failed(text),
        }
    }
}
