//! Requests about configurations and queries.

use edgectl_schemas::sas;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::error::CommandError;
use crate::service::client::{ServiceClient, TIMEOUT};

/// The header that says where the next page of an answer begins.
const CONTINUATION: &str = "x-ms-continuation";

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

    /// Answers a query with all its rows, page by page.
    pub async fn query(&self, query: &str) -> Result<Vec<Value>, CommandError> {
        let mut rows = Vec::new();
        let mut continuation: Option<String> = None;
        loop {
            let header = continuation.as_deref().map(|place| (CONTINUATION, place));
            let body = json!({ "query": query });
            let (status, headers, bytes) =
                self.send(Method::POST, "/devices/query", Some(&body), header, TIMEOUT).await?;
            if let Value::Array(page) = self.read(status, &bytes)? {
                rows.extend(page);
            }
            continuation = headers.get(CONTINUATION).and_then(|place| place.to_str().ok()).map(str::to_owned);
            if continuation.is_none() {
                return Ok(rows);
            }
        }
    }
}

fn path(id: &str) -> String {
    format!("/configurations/{}", sas::encode(id))
}
