//! Tree to program: names and types are resolved once, so that a message costs little.

use crate::route::body::path::BodyPath;
use crate::route::body::paths::BodyPaths;
use crate::route::condition::evaluate::Node;
use crate::route::condition::expression::{
    Arithmetic, BinaryOperator, Comparison, Expression, ExpressionKind, Literal, UnaryOperator,
};
use crate::route::condition::function::{Function, Signature};
use crate::route::condition::types::StaticType;
use crate::route::error::{Problem, RouteError, Span};

/// How a body query begins, in any case.
const BODY_PREFIX: &str = "$body.";

/// A condition that can be evaluated.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    pub(in crate::route) node: Node,
    kind: StaticType,
}

impl Condition {
    /// Compiles the condition of a text. What it needs of the body is added to the paths. Without an expression it
    /// is undefined for every message, as an empty condition is.
    pub fn compile(
        text: &str,
        expression: Option<&Expression>,
        paths: &mut BodyPaths,
    ) -> Result<Self, Vec<RouteError>> {
        let Some(expression) = expression else {
            return Ok(Self { node: Node::Undefined, kind: StaticType::Undefined });
        };
        let mut compiler = Compiler { text, paths, errors: Vec::new() };
        let typed = compiler.expression(expression);
        if compiler.errors.is_empty() { Ok(Self { node: typed.node, kind: typed.kind }) } else { Err(compiler.errors) }
    }

    /// The condition that is true for every message, which a route without one has.
    pub fn always() -> Self {
        Self { node: Node::Bool(true), kind: StaticType::Bool }
    }

    /// The type of its value. Only a bool or a value of the body can route a message.
    pub fn kind(&self) -> StaticType {
        self.kind
    }
}

struct Typed {
    node: Node,
    kind: StaticType,
}

const UNDEFINED: Typed = Typed { node: Node::Undefined, kind: StaticType::Undefined };

struct Compiler<'c> {
    text: &'c str,
    paths: &'c mut BodyPaths,
    errors: Vec<RouteError>,
}

impl Compiler<'_> {
    fn expression(&mut self, expression: &Expression) -> Typed {
        match &expression.kind {
            ExpressionKind::Literal(literal) => literal_node(literal),
            ExpressionKind::Property(name) => {
                Typed { node: Node::Property { name: name.clone(), otherwise: None }, kind: StaticType::Text }
            }
            ExpressionKind::SystemProperty(name) => self.system_property(name, expression.span),
            ExpressionKind::EscapedSystemProperty(name) => {
                self.body_query(name, expression.span).unwrap_or_else(|| system_property_node(name))
            }
            ExpressionKind::Call { name, arguments } => self.call(*name, arguments),
            ExpressionKind::Unary { operator, place, operand } => {
                let operand_kind = &operand.kind;
                let operand = self.expression(operand);
                match operator {
                    UnaryOperator::Negate => self.negate(*place, operand),
                    UnaryOperator::Not => self.not(*place, operand, operand_kind),
                }
            }
            ExpressionKind::Binary { operator, place, left, right } => {
                let sides = Sides { left: self.expression(left), right: self.expression(right), place: *place };
                match operator {
                    BinaryOperator::Arithmetic(arithmetic) => self.arithmetic(*arithmetic, sides, [left, right]),
                    BinaryOperator::Concat => self.concat(sides, [left, right]),
                    BinaryOperator::Compare(comparison) => self.compare(*comparison, sides, [left, right]),
                    BinaryOperator::And => self.and(sides),
                    BinaryOperator::Or => self.or(sides),
                    BinaryOperator::Coalesce => self.coalesce(sides, [left, right]),
                }
            }
            ExpressionKind::Broken { problem, place } => {
                self.errors.push(RouteError::new(*place, problem.clone()));
                let kind = match problem {
                    Problem::UnterminatedString => StaticType::Text,
                    _ => StaticType::Undefined,
                };
                Typed { node: Node::Undefined, kind }
            }
        }
    }

    /// `$name`: an application property of that very name comes first. Names with brackets can only be body queries.
    fn system_property(&mut self, name: &str, span: Span) -> Typed {
        let query = self.body_query(name, span).filter(|query| query.kind == StaticType::Query);
        if has_brackets(name) {
            return query.unwrap_or(UNDEFINED);
        }
        let otherwise = query.unwrap_or_else(|| system_property_node(name));
        let kind = otherwise.kind;
        Typed { node: Node::Property { name: name.into(), otherwise: Some(Box::new(otherwise.node)) }, kind }
    }

    /// The body query of a name that begins like one; undefined, with an error, when its path is wrong.
    fn body_query(&mut self, name: &str, span: Span) -> Option<Typed> {
        let path = name.get(BODY_PREFIX.len()..)?;
        if !name[..BODY_PREFIX.len()].eq_ignore_ascii_case(BODY_PREFIX) {
            return None;
        }
        Some(match BodyPath::parse(path) {
            Ok(path) => Typed { node: Node::Body(self.paths.slot(&path)), kind: StaticType::Query },
            Err(error) => {
                let problem = Problem::Arguments {
                    function: name.into(),
                    arguments: StaticType::Text.to_string().into(),
                    detail: format!(". Error: Error in $body query. {error}").into(),
                };
                let advice = "a path is names with `.` between them and perhaps `[number]` behind one";
                self.errors.push(RouteError::new(span, problem).with_advice(Some(advice.into())));
                UNDEFINED
            }
        })
    }

    fn call(&mut self, name: Span, arguments: &[Expression]) -> Typed {
        let written = name.of(self.text);
        let Some(function) = Function::named(written) else {
            self.errors.push(
                RouteError::new(name, Problem::UnknownFunction(written.into())).with_advice(function_advice(written)),
            );
            return UNDEFINED;
        };
        let arguments: Vec<Typed> = arguments.iter().map(|argument| self.expression(argument)).collect();
        let kinds: Vec<StaticType> = arguments.iter().map(|argument| argument.kind).collect();
        match function.signature(&kinds) {
            Some(Signature::Always(truth)) => Typed { node: Node::Bool(truth), kind: StaticType::Bool },
            Some(Signature::Computed(kind)) => {
                let is_body_null = function == Function::IsNull && kinds == [StaticType::Query];
                let mut nodes = arguments.into_iter().map(|argument| argument.node);
                let node = match nodes.next() {
                    Some(argument) if is_body_null => Node::IsBodyNull(Box::new(argument)),
                    first => Node::Call(function, first.into_iter().chain(nodes).collect()),
                };
                Typed { node, kind }
            }
            None => {
                let shown: Vec<String> = kinds.iter().map(ToString::to_string).collect();
                let problem = Problem::Arguments {
                    function: written.into(),
                    arguments: shown.join(", ").into(),
                    detail: "".into(),
                };
                self.errors.push(RouteError::new(name, problem));
                UNDEFINED
            }
        }
    }

    fn negate(&mut self, place: Span, operand: Typed) -> Typed {
        // The runtime has no minus for values of the body, although the check of types would let one pass.
        if operand.kind != StaticType::Number {
            self.unary_error(place, operand.kind, StaticType::Number, None);
            return UNDEFINED;
        }
        Typed { node: Node::Negate(Box::new(operand.node)), kind: StaticType::Number }
    }

    fn not(&mut self, place: Span, operand: Typed, written: &ExpressionKind) -> Typed {
        let node = match operand.kind {
            StaticType::Null => Node::Bool(true),
            StaticType::Undefined => Node::Undefined,
            StaticType::Bool | StaticType::Query => Node::Not(Box::new(operand.node)),
            StaticType::Text | StaticType::Number => {
                let is_bare = !matches!(written, ExpressionKind::Binary { .. });
                let advice = is_bare.then(|| "NOT binds tighter than a comparison: write `NOT (a = b)`".to_owned());
                self.unary_error(place, operand.kind, StaticType::Bool, advice);
                return UNDEFINED;
            }
        };
        Typed { node, kind: StaticType::Bool }
    }

    fn arithmetic(&mut self, operator: Arithmetic, sides: Sides, written: [&Expression; 2]) -> Typed {
        let has_query = sides.has_query();
        // The runtime has no remainder for values of the body, although the check of types would let one pass.
        let is_supported = !(has_query && operator == Arithmetic::Remainder);
        if !is_supported || !sides.are(StaticType::Number) {
            self.binary_error(&sides, StaticType::Number, written);
            return UNDEFINED;
        }
        let kind = if has_query { StaticType::Query } else { StaticType::Number };
        let [left, right] = sides.boxed();
        Typed { node: Node::Arithmetic(operator, left, right), kind }
    }

    fn concat(&mut self, sides: Sides, written: [&Expression; 2]) -> Typed {
        if !sides.are(StaticType::Text) {
            self.binary_error(&sides, StaticType::Text, written);
            return UNDEFINED;
        }
        let nodes = vec![sides.left.node, sides.right.node];
        Typed { node: Node::Call(Function::Concat, nodes.into()), kind: StaticType::Text }
    }

    fn compare(&mut self, operator: Comparison, sides: Sides, written: [&Expression; 2]) -> Typed {
        if !sides.are(sides.left.kind) {
            self.binary_error(&sides, sides.left.kind, written);
            return UNDEFINED;
        }
        let has_query = sides.has_query();
        let [left, right] = sides.boxed();
        Typed { node: Node::Compare { operator, left, right, has_query }, kind: StaticType::Bool }
    }

    fn and(&mut self, sides: Sides) -> Typed {
        if let Some(error) = self.boolean_error(&sides) {
            return error;
        }
        if sides.left.kind == StaticType::Null || sides.right.kind == StaticType::Null {
            return Typed { node: Node::Null, kind: StaticType::Null };
        }
        let has_query = sides.has_query();
        let [left, right] = sides.boxed();
        Typed { node: Node::And { left, right, has_query }, kind: StaticType::Bool }
    }

    fn or(&mut self, sides: Sides) -> Typed {
        if let Some(error) = self.boolean_error(&sides) {
            return error;
        }
        let has_query = sides.has_query();
        match (sides.left.kind, sides.right.kind) {
            (StaticType::Null, StaticType::Null) => return Typed { node: Node::Null, kind: StaticType::Null },
            (StaticType::Null, _) => return Typed { node: sides.right.node, kind: StaticType::Bool },
            (_, StaticType::Null) if !has_query => return Typed { node: sides.left.node, kind: StaticType::Bool },
            _ => {}
        }
        let [left, right] = sides.boxed();
        Typed { node: Node::Or { left, right, has_query }, kind: StaticType::Bool }
    }

    fn coalesce(&mut self, sides: Sides, written: [&Expression; 2]) -> Typed {
        if !sides.are(sides.left.kind) {
            self.binary_error(&sides, sides.left.kind, written);
            return UNDEFINED;
        }
        let kind = if sides.has_query() { StaticType::Query } else { sides.left.kind };
        let [left, right] = sides.boxed();
        Typed { node: Node::Coalesce(left, right), kind }
    }

    /// AND and OR look at the right side as they should only when the left is no value of the body, and then they
    /// refuse a value of the body there: `true AND $body.x` does not compile, `$body.x AND 'a'` does.
    fn boolean_error(&mut self, sides: &Sides) -> Option<Typed> {
        let is_boolean = |kind| matches!(kind, StaticType::Null | StaticType::Bool | StaticType::Undefined);
        let left_is_query = sides.left.kind == StaticType::Query;
        if left_is_query || (is_boolean(sides.left.kind) && is_boolean(sides.right.kind)) {
            return None;
        }
        let advice = (sides.right.kind == StaticType::Query).then(|| {
            "a value of the body may stand only on the left: swap the sides or compare it with `= true`".into()
        });
        self.push_operands(sides, StaticType::Bool, advice);
        Some(UNDEFINED)
    }

    fn unary_error(&mut self, place: Span, have: StaticType, expected: StaticType, advice: Option<String>) {
        let problem = Problem::Operands {
            arity: "unary",
            operator: place.of(self.text).into(),
            have: format!("'{have}'").into(),
            expected: format!("'{expected}'").into(),
        };
        self.errors.push(RouteError::new(place, problem).with_advice(advice));
    }

    fn binary_error(&mut self, sides: &Sides, expected: StaticType, written: [&Expression; 2]) {
        let advice = self.operand_advice(sides, expected, written);
        self.push_operands(sides, expected, advice);
    }

    fn push_operands(&mut self, sides: &Sides, expected: StaticType, advice: Option<String>) {
        let problem = Problem::Operands {
            arity: "binary",
            operator: sides.place.of(self.text).into(),
            have: format!("'{}' and '{}'", sides.left.kind, sides.right.kind).into(),
            expected: format!("'{expected}' and '{expected}'").into(),
        };
        self.errors.push(RouteError::new(sides.place, problem).with_advice(advice));
    }

    fn operand_advice(&self, sides: &Sides, expected: StaticType, written: [&Expression; 2]) -> Option<String> {
        let kinds = [sides.left.kind, sides.right.kind];
        let text_operand = |kind: StaticType| {
            let at = kinds.iter().position(|given| *given == kind)?;
            Some((&written[at].kind, written[at].span.of(self.text)))
        };
        if kinds.contains(&StaticType::Number) || expected == StaticType::Number {
            return match text_operand(StaticType::Text)? {
                (ExpressionKind::Literal(_), written) => Some(format!("write the number without quotes: {written}")),
                (_, written) => Some(format!("properties are strings: write `as_number({written})`")),
            };
        }
        if kinds.contains(&StaticType::Null) {
            let (_, written) = text_operand(StaticType::Text)?;
            return Some(format!(
                "a property is never null: write `NOT is_defined({written})` to find that it is absent"
            ));
        }
        match text_operand(StaticType::Text)? {
            (ExpressionKind::Literal(_), _) => None,
            (_, name) if kinds.contains(&StaticType::Bool) => {
                Some(format!("properties are strings: write `{name} = 'true'`"))
            }
            _ => None,
        }
    }
}

struct Sides {
    left: Typed,
    right: Typed,
    place: Span,
}

impl Sides {
    fn are(&self, expected: StaticType) -> bool {
        expected.accepts(self.left.kind) && expected.accepts(self.right.kind)
    }

    fn has_query(&self) -> bool {
        self.left.kind == StaticType::Query || self.right.kind == StaticType::Query
    }

    fn boxed(self) -> [Box<Node>; 2] {
        [Box::new(self.left.node), Box::new(self.right.node)]
    }
}

fn literal_node(literal: &Literal) -> Typed {
    let (node, kind) = match literal {
        Literal::Bool(truth) => (Node::Bool(*truth), StaticType::Bool),
        Literal::Number(number) => (Node::Number(*number), StaticType::Number),
        Literal::Text(text) => (Node::Text(text.clone()), StaticType::Text),
        Literal::Null => (Node::Null, StaticType::Null),
        Literal::Undefined => (Node::Undefined, StaticType::Undefined),
    };
    Typed { node, kind }
}

fn system_property_node(name: &str) -> Typed {
    if has_brackets(name) {
        return UNDEFINED;
    }
    Typed { node: Node::SystemProperty(name[1..].into()), kind: StaticType::Text }
}

fn has_brackets(name: &str) -> bool {
    name.contains(['[', ']'])
}

fn function_advice(written: &str) -> Option<String> {
    if written.eq_ignore_ascii_case("twin_change_includes") {
        return Some(
            "an edge hub does not have it; route from `/twinChangeNotifications` and look at `$body` instead".into(),
        );
    }
    let lower = written.to_ascii_lowercase();
    let (name, likeness) = crate::route::condition::function::FUNCTIONS
        .iter()
        .map(|(name, _)| (*name, strsim::jaro_winkler(name, &lower)))
        .max_by(|left, right| left.1.total_cmp(&right.1))?;
    (likeness > 0.85).then(|| format!("did you mean `{name}`?"))
}
