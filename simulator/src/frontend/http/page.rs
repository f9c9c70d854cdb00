//! Long answers in pages: `x-ms-max-item-count` says how long one may be, `x-ms-continuation` where the next begins.

use axum::Json;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use super::answer::ServiceError;

const MAX_ITEMS: usize = 1000;
const COUNT: &str = "x-ms-max-item-count";
const CONTINUATION: &str = "x-ms-continuation";

/// What a client wants of a long answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    from: usize,
    count: usize,
}

impl Page {
    /// Reads the headers of a request.
    pub fn read(headers: &HeaderMap) -> Result<Self, ServiceError> {
        let text = |name: &str| {
            let text = headers.get(name).and_then(|value| value.to_str().ok());
            // One of the SDKs sends these words for nothing.
            text.filter(|text| !matches!(*text, "" | "undefined" | "null" | "None"))
        };
        let wrong = |name: &str| ServiceError::invalid(format!("{name} is not one that was given, or no number"));
        let count = match text(COUNT).map(str::parse::<i64>) {
            // -1 stands for as many as there may be.
            None | Some(Ok(-1)) => MAX_ITEMS,
            Some(Ok(count)) => usize::try_from(count).ok().filter(|count| *count > 0).ok_or_else(|| wrong(COUNT))?,
            Some(Err(_)) => return Err(wrong(COUNT)),
        };
        let from = match text(CONTINUATION) {
            None => 0,
            Some(token) => {
                let bytes = BASE64.decode(token).ok();
                let number = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).and_then(|text| text.parse().ok());
                number.ok_or_else(|| wrong(CONTINUATION))?
            }
        };
        Ok(Self { from, count: count.min(MAX_ITEMS) })
    }

    /// The page of an answer; `kind` names what its items are.
    pub fn of<T>(self, items: &[T], kind: &'static str, show: impl Fn(&T) -> Value) -> Response {
        let end = items.len().min(self.from.saturating_add(self.count));
        let shown: Vec<Value> = items[self.from.min(end)..end].iter().map(show).collect();
        let mut response = Json(shown).into_response();
        let headers = response.headers_mut();
        headers.insert("x-ms-item-type", HeaderValue::from_static(kind));
        if end < items.len()
            && let Ok(token) = HeaderValue::from_str(&BASE64.encode(end.to_string()))
        {
            headers.insert(CONTINUATION, token);
        }
        response
    }
}
