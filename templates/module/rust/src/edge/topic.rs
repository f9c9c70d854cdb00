//! The topics of a module, and what they mean.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Topics that everything but inputs arrives on.
pub const SUBSCRIPTIONS: [&str; 3] = [
    "$iothub/methods/POST/#",
    "$iothub/twin/res/#",
    "$iothub/twin/PATCH/properties/desired/#",
];

/// What arrived, by its topic.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival<'a> {
    Input { input: String, bag: &'a str },
    Method { name: String, request: &'a str },
    TwinAnswer { status: u16, request: &'a str },
    DesiredPatch,
}

/// Tells what arrived on a topic; nothing if it is none that a module knows.
pub fn parse(topic: &str) -> Option<Arrival<'_>> {
    if let Some(rest) = topic.strip_prefix("$iothub/methods/POST/") {
        let (name, query) = rest.split_once("/?")?;
        return Some(Arrival::Method {
            name: decode(name),
            request: parameter(query, "$rid")?,
        });
    }
    if let Some(rest) = topic.strip_prefix("$iothub/twin/res/") {
        let (status, query) = rest.split_once("/?")?;
        return Some(Arrival::TwinAnswer {
            status: status.parse().ok()?,
            request: parameter(query, "$rid")?,
        });
    }
    if topic.starts_with("$iothub/twin/PATCH/properties/desired/") {
        return Some(Arrival::DesiredPatch);
    }
    let (_, rest) = topic.strip_prefix("devices/")?.split_once("/inputs/")?;
    let (input, bag) = rest.split_once('/').unwrap_or((rest, ""));
    Some(Arrival::Input {
        input: decode(input),
        bag,
    })
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// Percent-encodes all but letters, digits and `-_.~`.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// Undoes [`encode`]; a plus is a plus.
pub fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_told_apart() {
        let input = Arrival::Input {
            input: "input1".to_owned(),
            bag: "k=v",
        };
        assert_eq!(parse("devices/d/modules/m/inputs/input1/k=v"), Some(input));
        let method = Arrival::Method {
            name: "reset".to_owned(),
            request: "7",
        };
        assert_eq!(parse("$iothub/methods/POST/reset/?$rid=7"), Some(method));
        let answer = Arrival::TwinAnswer {
            status: 204,
            request: "a",
        };
        assert_eq!(
            parse("$iothub/twin/res/204/?$rid=a&$version=3"),
            Some(answer)
        );
        assert_eq!(
            parse("$iothub/twin/PATCH/properties/desired/?$version=4"),
            Some(Arrival::DesiredPatch)
        );
        assert_eq!(parse("something/else"), None);
    }
}
