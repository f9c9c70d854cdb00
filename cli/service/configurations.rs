//! Requests about configurations and queries.

use edgectl_schemas::sas;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::error::CommandError;
use crate::service::client::{ServiceClient, TIMEOUT};

impl ServiceClient {
    /// All configurations.
    pub async fn configurations(&self) -> Result<Vec<Value>, CommandError> {
        let found = self.request(Method::GET, "/configurations", None, TIMEOUT).await?;
        Ok(found.as_array().cloned().unwrap_or_default())
    }

    /// A configuration; none if there is no such one.
    pub async fn find_configuration(&self, id: &str) -> Result<Option<Value>, CommandError> {
        match self.answer(Method::GET, &path(id), None, None, TIMEOUT).await? {
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, bytes) => self.read(status, &bytes).map(Some),
        }
    }

    /// Makes a configuration, or changes the one whose etag is given.
    pub async fn put_configuration(
        &self,
        id: &str,
        configuration: &Value,
        etag: Option<&str>,
    ) -> Result<Value, CommandError> {
        let if_match = etag.map(|etag| format!("\"{etag}\""));
        let (status, bytes) =
            self.answer(Method::PUT, &path(id), Some(configuration), if_match.as_deref(), TIMEOUT).await?;
        self.read(status, &bytes)
    }

    /// Removes a configuration.
    pub async fn remove_configuration(&self, id: &str) -> Result<(), CommandError> {
        self.request(Method::DELETE, &path(id), None, TIMEOUT).await.map(|_| ())
    }

    /// Answers a query with the first thousand rows.
    pub async fn query(&self, query: &str) -> Result<Vec<Value>, CommandError> {
        let found = self.request(Method::POST, "/devices/query", Some(&json!({ "query": query })), TIMEOUT).await?;
        Ok(found.as_array().cloned().unwrap_or_default())
    }
}

fn path(id: &str) -> String {
    format!("/configurations/{}", sas::encode(id))
}
