//! Many identities in one request: `POST /devices` with a list of what is to be done with each.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing};
use edgectl_hub::cloud::registry::{Condition, Order, RegistryError};
use edgectl_schemas::ids::Identity;
use serde_json::{Value, json};

use super::access::{Holder, RegistryWrite};
use super::answer::ServiceError;
use super::body::JsonBody;
use super::service::Service;
use super::{registry, shape};

/// Most identities in one request.
pub const MAX_ITEMS: usize = 100;

/// The path, which it shares with the list of devices.
pub fn routes() -> Router<Service> {
    let both = || routing::get(registry::list_devices).post(many);
    Router::new().route("/devices", both()).route("/devices/", both())
}

/// What is done with an identity. The service compares these names without regard to case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Create,
    Update,
    CreateOrUpdate,
    Delete,
    UpdateTwin,
}

/// An entry of the list, read.
struct Item {
    mode: Mode,
    /// Whether its etag has to be that of what is there.
    if_match: bool,
    identity: Identity,
    document: Value,
}

async fn many(
    _: Holder<RegistryWrite>,
    State(service): State<Service>,
    JsonBody(items): JsonBody<Vec<Value>>,
) -> Result<Response, ServiceError> {
    if items.is_empty() || items.len() > MAX_ITEMS {
        return Err(ServiceError::invalid(format!("{} identities: 1 to {MAX_ITEMS} are taken", items.len())));
    }
    let items = items.into_iter().map(Item::read).collect::<Result<Vec<_>, _>>()?;
    let mut errors = Vec::new();
    let mut told = |item: &Item, error: ServiceError| errors.push(item.error(&error));
    let (orders, others): (Vec<Item>, Vec<Item>) = items.into_iter().partition(Item::is_order);
    let mut placed = Vec::new();
    for item in &orders {
        match item.order(&service) {
            Ok(order) => placed.push((item, order)),
            Err(error) => told(item, error),
        }
    }
    let (items, orders): (Vec<&Item>, Vec<Order>) = placed.into_iter().unzip();
    let outcomes = service.hub.put_identities(orders).map_err(RegistryError::from)?;
    for (item, outcome) in items.into_iter().zip(outcomes) {
        let outcome = outcome.map_err(ServiceError::from).and_then(|()| item.change_twin(&service, None));
        if let Err(error) = outcome {
            told(item, error);
        }
    }
    for item in &others {
        if let Err(error) = item.carry_out(&service) {
            told(item, error);
        }
    }
    let status = if errors.is_empty() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let body = json!({ "isSuccessful": errors.is_empty(), "errors": errors, "warnings": [] });
    Ok((status, Json(body)).into_response())
}

impl Item {
    fn read(document: Value) -> Result<Self, ServiceError> {
        let text = |name: &str| document.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let device = text("id").ok_or_else(|| ServiceError::invalid("an identity has no id"))?;
        let identity = match text("moduleId") {
            Some(module) => shape::module_identity(device, module)?,
            None => Identity::device(shape::device_id(device)?),
        };
        let name = text("importMode").unwrap_or("create").to_ascii_lowercase();
        let (mode, if_match) = match name.strip_suffix("ifmatchetag") {
            Some(mode) => (mode, true),
            None => (name.as_str(), false),
        };
        let mode = match mode {
            "create" => Mode::Create,
            "update" => Mode::Update,
            "createorupdate" => Mode::CreateOrUpdate,
            "delete" => Mode::Delete,
            "updatetwin" => Mode::UpdateTwin,
            _ => return Err(ServiceError::invalid(format!("importMode {name:?} does not exist"))),
        };
        Ok(Self { mode, if_match, identity, document })
    }

    fn is_order(&self) -> bool {
        matches!(self.mode, Mode::Create | Mode::Update | Mode::CreateOrUpdate)
    }

    /// The etag that is there has to be this one; none where any will do.
    fn etag(&self, names: &[&str]) -> Option<u64> {
        let text = names.iter().find_map(|name| self.document.get(name)).and_then(Value::as_str);
        match text.map(|text| text.trim_matches('"')) {
            Some(etag) if self.if_match && etag != "*" => Some(shape::etag(etag)),
            _ => None,
        }
    }

    fn order(&self, service: &Service) -> Result<Order, ServiceError> {
        let present = match self.etag(&["eTag", "etag"]) {
            Some(etag) => Condition::Etag(etag),
            None => Condition::Present,
        };
        let exists = service.hub.registry().get(&self.identity).is_some();
        let condition = match self.mode {
            Mode::Update => present,
            Mode::CreateOrUpdate if exists => present,
            _ => Condition::Absent,
        };
        let (identity, wanted) = (self.identity.clone(), shape::wanted(&self.document)?);
        Ok(Order { identity, wanted, condition: Some(condition) })
    }

    fn carry_out(&self, service: &Service) -> Result<(), ServiceError> {
        if self.mode == Mode::UpdateTwin {
            service.hub.registry().require(&self.identity)?;
            return self.change_twin(service, self.etag(&["twinETag", "twinEtag"]));
        }
        let condition = self.etag(&["eTag", "etag"]).map(Condition::Etag);
        Ok(service.hub.remove_identity(&self.identity, condition)?)
    }

    /// Sets tags and desired properties, if any are given.
    fn change_twin(&self, service: &Service, etag: Option<u64>) -> Result<(), ServiceError> {
        let change = shape::change(&self.document, false)?;
        if change.tags.is_some() || change.desired.is_some() {
            service.hub.change_twin(&self.identity, &change, etag)?;
        }
        Ok(())
    }

    fn error(&self, error: &ServiceError) -> Value {
        json!({
            "deviceId": self.identity.device,
            "moduleId": self.identity.module,
            "errorCode": error.code(),
            "errorStatus": error.text(),
            "operation": format!("{:?}", self.mode),
        })
    }
}
