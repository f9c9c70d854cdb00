//! Whom a configuration or a job is for, as text: a condition over devices, `*` for all of them, or one over modules behind
//! `FROM devices.modules WHERE`.

use edgectl_schemas::query::expression::Expression;
use edgectl_schemas::query::parser::{QueryError, condition};
use edgectl_schemas::query::statement::Collection;

/// What a target condition over modules begins with.
const OF_MODULES: &str = "from devices.modules where ";

/// Whom something is for.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Devices or modules.
    pub of: Collection,
    /// Which of them; none if the text says nothing.
    pub condition: Option<Expression>,
}

/// A target condition that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the target condition is wrong at character {column}: {source}")]
pub struct TargetError {
    /// Where; the first character is 1.
    pub column: usize,
    source: QueryError,
}

/// Reads a target condition.
pub fn target(text: &str) -> Result<Target, TargetError> {
    let trimmed = text.trim_start();
    let of_modules = trimmed.get(..OF_MODULES.len()).is_some_and(|head| head.eq_ignore_ascii_case(OF_MODULES));
    let (of, rest) =
        if of_modules { (Collection::Modules, &trimmed[OF_MODULES.len()..]) } else { (Collection::Devices, trimmed) };
    if rest.trim().is_empty() {
        return Ok(Target { of, condition: None });
    }
    let read = condition(rest).map_err(|source| {
        let before = text.len() - rest.len();
        TargetError { column: source.column(rest) + text[..before].chars().count(), source }
    })?;
    Ok(Target { of, condition: Some(read) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_found_where_it_stands() {
        let column = |text: &str| target(text).unwrap_err().column;
        assert_eq!(column("tags.a = "), 10);
        assert_eq!(column("  tags.a = ?  "), 12);
        assert_eq!(column("FROM devices.modules WHERE tags.a = ?"), 37);
        assert_eq!(target(" ").unwrap().condition, None);
        assert_eq!(target("from DEVICES.modules where moduleId = 'a'").unwrap().of, Collection::Modules);
    }
}
