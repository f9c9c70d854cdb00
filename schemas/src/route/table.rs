//! All routes of a hub together.

use crate::route::body::evaluation::Evaluation;
use crate::route::body::paths::BodyPaths;
use crate::route::condition::compile::Condition;
use crate::route::definition::{Priority, RouteDefinition};
use crate::route::error::RouteError;
use crate::route::message::MessageView;
use crate::route::parser::Route;
use crate::route::sink::Endpoint;
use crate::route::source::{MessageSource, SourcePattern};

/// Routes that are ready for messages. Swapped whole when the configuration changes.
#[derive(Debug, Clone, Default)]
pub struct RouteTable {
    /// The most urgent first, and as they were given within a priority.
    routes: Vec<CompiledRoute>,
    paths: BodyPaths,
    endpoints: Vec<Endpoint>,
}

/// A route that is ready for messages.
#[derive(Debug, Clone)]
pub struct CompiledRoute {
    /// The name under which it was defined.
    pub name: Box<str>,
    /// Its place among the routes of the table.
    pub position: usize,
    /// Where it sends.
    pub endpoint: Endpoint,
    /// How urgent its messages are.
    pub priority: Priority,
    /// How long they are kept, in seconds; 0 for as long as the hub keeps those without a time of their own.
    pub time_to_live_secs: u32,
    source: SourcePattern,
    condition: Condition,
    /// Which of the endpoints of the table.
    endpoint_index: usize,
}

/// A route that kept a table from being made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("route '{name}': {}", errors.first().map(ToString::to_string).unwrap_or_default())]
pub struct InvalidRoute {
    /// The name under which it was defined.
    pub name: Box<str>,
    /// What is wrong with it, the first first; never empty.
    pub errors: Vec<RouteError>,
}

impl RouteTable {
    /// Compiles routes. One bad route spoils all; every bad one is named.
    pub fn new<'d>(definitions: impl IntoIterator<Item = &'d RouteDefinition>) -> Result<Self, Vec<InvalidRoute>> {
        let mut table = Self::default();
        let mut invalid = Vec::new();
        for definition in definitions {
            if let Err(errors) = table.add(definition) {
                invalid.push(InvalidRoute { name: definition.name.clone(), errors });
            }
        }
        table.routes.sort_by_key(|route| route.priority);
        for (position, route) in table.routes.iter_mut().enumerate() {
            route.position = position;
        }
        if invalid.is_empty() { Ok(table) } else { Err(invalid) }
    }

    /// The routes, the most urgent first.
    pub fn routes(&self) -> &[CompiledRoute] {
        &self.routes
    }

    /// The endpoints that any route sends to, each once.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The routes that take a message: for each endpoint the most urgent one, the first of equally urgent ones.
    pub fn evaluate<M: MessageView + ?Sized>(&self, message: &M) -> Vec<&CompiledRoute> {
        let source = MessageSource::new(message.source());
        let evaluation = Evaluation::new(message, &self.paths);
        let mut is_served = vec![false; self.endpoints.len()];
        let mut taken = Vec::new();
        for route in &self.routes {
            if !is_served[route.endpoint_index] && route.verdict(source, &evaluation) == Verdict::Taken {
                is_served[route.endpoint_index] = true;
                taken.push(route);
            }
        }
        taken
    }

    /// What every single route says to a message, whether another has its endpoint or not.
    pub fn trace<M: MessageView + ?Sized>(&self, message: &M) -> Vec<(&CompiledRoute, Verdict)> {
        let source = MessageSource::new(message.source());
        let evaluation = Evaluation::new(message, &self.paths);
        self.routes.iter().map(|route| (route, route.verdict(source, &evaluation))).collect()
    }

    fn add(&mut self, definition: &RouteDefinition) -> Result<(), Vec<RouteError>> {
        let route = Route::parse(&definition.text).map_err(|error| vec![error])?;
        let condition = route.compile_condition(&definition.text, &mut self.paths)?;
        let endpoint = route.sink.endpoint;
        let known = self.endpoints.iter().position(|known| *known == endpoint);
        let endpoint_index = known.unwrap_or_else(|| {
            self.endpoints.push(endpoint.clone());
            self.endpoints.len() - 1
        });
        self.routes.push(CompiledRoute {
            name: definition.name.clone(),
            position: self.routes.len(),
            endpoint,
            priority: definition.priority,
            time_to_live_secs: definition.time_to_live_secs,
            source: route.source.pattern,
            condition,
            endpoint_index,
        });
        Ok(())
    }
}

/// What a route says to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The message comes from elsewhere.
    OtherSource,
    /// The condition is true.
    Taken,
    /// The condition is false.
    Refused,
    /// The condition is neither: something it asks for is not there.
    Undefined,
}

impl CompiledRoute {
    fn verdict<M: MessageView + ?Sized>(&self, source: MessageSource<'_>, evaluation: &Evaluation<'_, M>) -> Verdict {
        if !self.source.matches(source) {
            return Verdict::OtherSource;
        }
        match self.condition.evaluate(evaluation) {
            Some(true) => Verdict::Taken,
            Some(false) => Verdict::Refused,
            None => Verdict::Undefined,
        }
    }
}
