//! A whole query.

use std::fmt;

use super::expression::{Expression, path};

/// What a query asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// What of each row.
    pub select: Select,
    /// Most rows.
    pub top: Option<usize>,
    /// Of what.
    pub from: Collection,
    /// Of which of them; all without it.
    pub condition: Option<Expression>,
    /// What rows that are counted together have in common.
    pub group_by: Vec<Vec<String>>,
}

/// What is selected.
#[derive(Debug, Clone, PartialEq)]
pub enum Select {
    /// `*`: rows as they are.
    Everything,
    /// Some values.
    Items(Vec<Item>),
}

/// A value that is selected, and its name in the result.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The value.
    pub value: Selected,
    /// Its name; the value gives it one where this does not.
    pub name: Option<String>,
}

/// A value of a row, or of many.
#[derive(Debug, Clone, PartialEq)]
pub enum Selected {
    /// Of each row.
    Value(Expression),
    /// Of all rows of a group.
    Aggregate(Aggregate, Option<Expression>),
}

/// A function over rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Aggregate {
    Count,
    Average,
    Sum,
    Minimum,
    Maximum,
}

impl Aggregate {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Count, Self::Average, Self::Sum, Self::Minimum, Self::Maximum];

    /// Its name, which is compared without regard to case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "COUNT",
            Self::Average => "AVG",
            Self::Sum => "SUM",
            Self::Minimum => "MIN",
            Self::Maximum => "MAX",
        }
    }
}

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collection {
    /// `devices`
    Devices,
    /// `devices.modules`
    Modules,
    /// `devices.jobs`
    Jobs,
}

impl Collection {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Devices => "devices",
            Self::Modules => "devices.modules",
            Self::Jobs => "devices.jobs",
        }
    }
}

impl Statement {
    /// Whether rows are counted together.
    pub fn is_aggregate(&self) -> bool {
        let has = |items: &[Item]| items.iter().any(|item| matches!(item.value, Selected::Aggregate(..)));
        !self.group_by.is_empty() || matches!(&self.select, Select::Items(items) if has(items))
    }
}

impl fmt::Display for Statement {
    /// As it can be read again.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SELECT ")?;
        if let Some(top) = self.top {
            write!(formatter, "TOP {top} ")?;
        }
        match &self.select {
            Select::Everything => formatter.write_str("*")?,
            Select::Items(items) => {
                for (index, item) in items.iter().enumerate() {
                    write!(formatter, "{}{item}", if index > 0 { ", " } else { "" })?;
                }
            }
        }
        write!(formatter, " FROM {}", self.from.name())?;
        if let Some(condition) = &self.condition {
            write!(formatter, " WHERE {condition}")?;
        }
        for (index, names) in self.group_by.iter().enumerate() {
            formatter.write_str(if index > 0 { ", " } else { " GROUP BY " })?;
            path(names, formatter)?;
        }
        Ok(())
    }
}

impl fmt::Display for Item {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Selected::Value(expression) => expression.fmt(formatter)?,
            Selected::Aggregate(function, None) => write!(formatter, "{}()", function.name())?,
            Selected::Aggregate(function, Some(of)) => write!(formatter, "{}({of})", function.name())?,
        }
        match &self.name {
            Some(name) => write!(formatter, " AS [[{name}]]"),
            None => Ok(()),
        }
    }
}
