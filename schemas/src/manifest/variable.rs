//! Variables of templates that nobody replaced: `${NAME}`, `$NAME` in capital letters, and the `#{NAME}#` of
//! deployment pipelines. What they stand for is unknown, so what holds one is not judged further.

use crate::document::node::Span;

/// The variables left in a text: name and place.
pub fn left_over(text: &str) -> Vec<(&str, Span)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = text[at..].find('$').map(|offset| at + offset) {
        at = start + 1;
        let rest = &text[at..];
        let (name, length) = match rest.strip_prefix('{') {
            Some(body) => match body.find('}') {
                Some(end) if is_name(&body[..end]) => (&body[..end], end + 2),
                _ => continue,
            },
            None => {
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
                if !is_capital_name(&rest[..end]) {
                    continue;
                }
                (&rest[..end], end)
            }
        };
        at += length;
        found.push((name, Span::new(start, at)));
    }
    found
}

/// Whether a text holds a variable, a placeholder of an image or of a pipeline.
pub fn is_open(text: &str) -> bool {
    // Most texts have neither sign, and looking for a single one is quick.
    (text.contains('$') && (text.contains("${") || !left_over(text).is_empty()))
        || (text.contains('#') && text.contains("#{"))
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Words such as `$edgeHub`, `$body` or `$version` are no variables; those in capital letters are.
fn is_capital_name(text: &str) -> bool {
    let first: Vec<char> = text.chars().take_while(|c| !c.is_ascii_lowercase()).collect();
    first.len() > 1 && first[0].is_ascii_uppercase() && is_name(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_and_words_of_manifests_are_not() {
        let names = |text: &'static str| left_over(text).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names("${A}/$REGISTRY_NAME:$TAG_x/$b"), ["A", "REGISTRY_NAME", "TAG_x"]);
        assert!(names("$edgeHub $upstream $body.A $version ${MODULES.x} $ $$ ${").is_empty());
        assert!(is_open("#{Path}#:/data") && is_open("${MODULES.x}") && !is_open("$upstream:443/a"));
    }
}
