//! Requests to the provisioning service that stands beside a simulated hub.

use edgectl_schemas::sas;
use reqwest::Method;
use serde_json::{Value, json};

use crate::error::CommandError;
use crate::service::client::{ServiceClient, TIMEOUT};

impl ServiceClient {
    /// `{"idScope", "serviceHost"}`: what devices need to know.
    pub async fn provisioning(&self) -> Result<Value, CommandError> {
        self.request(Method::GET, "/provisioning", None, TIMEOUT).await
    }

    /// Makes an enrolment, and returns it with its keys.
    pub async fn put_enrollment(&self, group: bool, name: &str, terms: &Value) -> Result<Value, CommandError> {
        self.request(Method::PUT, &path(group, name), Some(terms), TIMEOUT).await
    }

    /// All enrolments of single devices, or all groups.
    pub async fn enrollments(&self, group: bool) -> Result<Vec<Value>, CommandError> {
        let query = json!({ "query": "SELECT *" });
        let found = self.request(Method::POST, &path(group, "query"), Some(&query), TIMEOUT).await?;
        Ok(found.as_array().cloned().unwrap_or_default())
    }

    /// Removes an enrolment.
    pub async fn remove_enrollment(&self, group: bool, name: &str) -> Result<(), CommandError> {
        self.request(Method::DELETE, &path(group, name), None, TIMEOUT).await.map(|_| ())
    }
}

fn path(group: bool, name: &str) -> String {
    format!("/{}/{}", if group { "enrollmentGroups" } else { "enrollments" }, sas::encode(name))
}
