//! What a route can see of a message.

/// What a message has under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup<'m> {
    /// Nothing.
    Absent,
    /// The name without a value.
    Null,
    /// A value.
    Value(&'m str),
}

/// A message as routes see it. Names are found in any case.
pub trait MessageView {
    /// Where it comes from: see [`source`](crate::route::source).
    fn source(&self) -> &str;
    /// An application property.
    fn property(&self, name: &str) -> Lookup<'_>;
    /// A system property, under the name that routes use, without `$`.
    fn system_property(&self, name: &str) -> Lookup<'_>;
    /// The payload.
    fn body(&self) -> &[u8];
}
