//! The text format of Prometheus, version 0.0.4.

use std::fmt::Write as _;

use super::family::{Family, Sample};

/// What HTTP calls the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes metrics with all their values.
pub fn write(families: &[Family]) -> String {
    let mut text = String::new();
    for Family { name, help, kind, samples } in families {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP {name} {}", escaped(help, false));
        let _ = writeln!(text, "# TYPE {name} {}", kind.as_str());
        for sample in samples {
            write_sample(&mut text, sample);
        }
    }
    text
}

fn write_sample(text: &mut String, Sample { name, labels, value }: &Sample) {
    text.push_str(name);
    for (index, (label, value)) in labels.iter().enumerate() {
        text.push(if index == 0 { '{' } else { ',' });
        let _ = write!(text, "{label}=\"{}\"", escaped(value, true));
    }
    if !labels.is_empty() {
        text.push('}');
    }
    let _ = match value {
        Some(value) if value.is_finite() => writeln!(text, " {value}"),
        Some(value) if *value == f64::INFINITY => writeln!(text, " +Inf"),
        Some(value) if *value == f64::NEG_INFINITY => writeln!(text, " -Inf"),
        _ => writeln!(text, " NaN"),
    };
}

/// A text in which nothing is taken for the end of the line, or of the quotes that it stands in.
fn escaped(text: &str, is_quoted: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '"' if is_quoted => escaped.push_str("\\\""),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::metrics::metric::Kind;

    /// Reads a sample as strictly as Prometheus does: a name, labels in quotes with three escapes, a number.
    fn read(line: &str) -> Option<Sample> {
        let end = line.find(['{', ' '])?;
        let (name, mut rest) = line.split_at(end);
        let mut labels = BTreeMap::new();
        while let Some(after) = rest.strip_prefix(['{', ',']) {
            let (label, value) = after.split_once("=\"")?;
            let mut characters = value.char_indices();
            let mut text = String::new();
            let end = loop {
                match characters.next()? {
                    (end, '"') => break end,
                    (_, '\\') => text.push(match characters.next()?.1 {
                        'n' => '\n',
                        same @ ('\\' | '"') => same,
                        _ => return None,
                    }),
                    (_, other) => text.push(other),
                }
            };
            labels.insert(label.to_owned(), text);
            rest = &value[end + 1..];
        }
        let number = rest.strip_prefix('}').unwrap_or(rest).strip_prefix(' ')?;
        let value = if number == "NaN" { None } else { Some(number.parse().ok()?) };
        Some(Sample { name: name.to_owned(), labels, value })
    }

    #[test]
    fn the_format_is_that_of_the_documentation() {
        let labels = [("id".to_owned(), "a\"\\\n".to_owned()), ("to".to_owned(), String::new())].into_iter().collect();
        let samples = vec![
            Sample { name: "m_sum".to_owned(), labels, value: Some(0.5) },
            Sample { name: "m".to_owned(), labels: BTreeMap::new(), value: None },
        ];
        let help = "a\\b \"c\"\nd".to_owned();
        let text = write(&[Family { name: "m".to_owned(), help, kind: Kind::Summary, samples }]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines, [r#"# HELP m a\\b "c"\nd"#, "# TYPE m summary", r#"m_sum{id="a\"\\\n",to=""} 0.5"#, "m NaN"]);
    }

    proptest! {
        #[test]
        fn whatever_a_label_holds_is_read_again(
            labels in prop::collection::btree_map("[a-z_]{1,8}", any::<String>(), 0..4),
            value in prop::option::of(-1e12..1e12),
        ) {
            let sample = Sample { name: "metric_total".to_owned(), labels, value };
            let mut text = String::new();
            write_sample(&mut text, &sample);
            let line = text.strip_suffix('\n').unwrap();
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(read(line), Some(sample));
        }
    }
}
