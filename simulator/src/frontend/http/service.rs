//! The service API as a whole: its paths, and what all of them share.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, post, put};
use edgectl_hub::cloud::hub::CloudHub;

use super::answer::ServiceError;
use super::{
    bulk, configurations, device_bound, device_messages, enrollments, jobs, keys, method, provisioning, query,
    registry, scope, twins,
};

/// A cloud hub, for handlers.
#[derive(Clone)]
pub struct Service {
    /// The hub.
    pub hub: Arc<CloudHub>,
}

/// The paths of the service.
pub fn router(service: Service) -> Router {
    let fetched_by_devices = device_bound::router(Arc::clone(&service.hub));
    Router::new()
        .merge(bulk::routes())
        .merge(keys::routes())
        .merge(enrollments::routes())
        .merge(provisioning::routes())
        .merge(query::routes())
        .merge(configurations::routes())
        .merge(jobs::routes())
        .route("/devices/{device}", put(registry::put_device).get(registry::get_device).delete(registry::remove_device))
        .route("/devices/{device}/modules", get(registry::list_modules))
        .route(
            "/devices/{device}/modules/{module}",
            put(registry::put_module).get(registry::get_module).delete(registry::remove_module),
        )
        .route("/devices/{device}/applyConfigurationContent", post(registry::apply_content))
        .route("/devices/{device}/messages/devicebound", post(device_messages::send))
        .route("/devices/{device}/commands", delete(device_messages::purge))
        .route("/statistics/devices", get(registry::statistics))
        .route("/statistics/service", get(registry::service_statistics))
        .route("/twins/{device}", get(twins::get_device).patch(twins::patch_device).put(twins::put_device))
        .route(
            "/twins/{device}/modules/{module}",
            get(twins::get_module).patch(twins::patch_module).put(twins::put_module),
        )
        .route("/twins/{device}/methods", post(method::call_device))
        .route("/twins/{device}/modules/{module}/methods", post(method::call_module))
        .merge(edge_hubs())
        .fallback(async || ServiceError::no_such_path())
        // The connection has a limit of its own.
        .layer(DefaultBodyLimit::disable())
        .with_state(service)
        .merge(fetched_by_devices)
}

/// What edge hubs ask.
fn edge_hubs() -> Router<Service> {
    let path = |operation: &str| format!("/devices/{{actor}}/modules/$edgeHub/{operation}");
    Router::new()
        .route(&path("devicesAndModulesInTargetDeviceScope"), post(scope::members_in_scope))
        .route(&path("getDeviceAndModuleOnBehalfOf"), post(scope::member_on_behalf))
        .route(&path("putModuleOnBehalfOf"), post(scope::put_module))
        .route(&path("getModuleOnBehalfOf"), post(scope::get_module))
        .route(&path("getModulesOnTargetDevice"), post(scope::list_modules))
        .route(&path("deleteModuleOnBehalfOf"), post(scope::remove_module))
}
