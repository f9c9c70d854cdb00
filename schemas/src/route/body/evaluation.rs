//! A message while conditions look at it.

use std::borrow::Cow;
use std::cell::OnceCell;

use crate::route::body::paths::{BodyPaths, Slot};
use crate::route::body::scan::{Found, scan};
use crate::route::body::text::{Encoding, JSON};
use crate::route::condition::value::Value;
use crate::route::message::{Lookup, MessageView};

/// A message with what was found in its body, which is read when the first condition asks and never again.
pub struct Evaluation<'m, M: ?Sized> {
    message: &'m M,
    paths: &'m BodyPaths,
    body: OnceCell<Option<Body<'m>>>,
}

struct Body<'m> {
    text: Cow<'m, str>,
    found: Vec<Found>,
}

impl<'m, M: MessageView + ?Sized> Evaluation<'m, M> {
    /// A message, and the paths to which the conditions that will look at it were compiled.
    pub fn new(message: &'m M, paths: &'m BodyPaths) -> Self {
        Self { message, paths, body: OnceCell::new() }
    }

    /// The message.
    pub fn message(&self) -> &'m M {
        self.message
    }

    /// What the body has in a slot: undefined if it cannot be looked into at all, null if it has nothing there.
    pub(in crate::route) fn body_value(&self, slot: Slot) -> Value<'_> {
        let Some(body) = self.body.get_or_init(|| self.read_body()) else { return Value::Undefined };
        match body.found.get(slot.0) {
            None => Value::Undefined,
            Some(Found::Missing | Found::Null) => Value::Null,
            Some(Found::Bool(truth)) => Value::Bool(*truth),
            Some(Found::Number(number)) => Value::number(*number),
            Some(Found::Slice(range)) => Value::Text(Cow::Borrowed(&body.text[range.clone()])),
            Some(Found::Text(text)) => Value::Text(Cow::Borrowed(text)),
            Some(Found::Object) => Value::Object,
        }
    }

    fn read_body(&self) -> Option<Body<'m>> {
        let Lookup::Value(encoding) = self.message.system_property("contentEncoding") else { return None };
        let encoding = Encoding::named(encoding)?;
        let Lookup::Value(content_type) = self.message.system_property("contentType") else { return None };
        if !content_type.eq_ignore_ascii_case(JSON) {
            return None;
        }
        let text = encoding.decode(self.message.body());
        let found = scan(&text, self.paths)?;
        Some(Body { text, found })
    }
}
