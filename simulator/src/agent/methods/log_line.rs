//! A line of a log as the runtime's own modules write it: `<level> yyyy-MM-dd HH:mm:ss.fff zzz rest`.

/// The level of lines that name none: informational.
const DEFAULT_LEVEL: u8 = 6;

/// A line, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedLine<'l> {
    /// As in syslog: 0 is an emergency, 7 is for debugging.
    pub level: u8,
    /// The time as it is written there, if it is.
    pub timestamp: Option<&'l str>,
    /// What it says: the whole line where nothing follows the time.
    pub text: &'l str,
}

/// Takes a line apart.
pub fn parse(line: &str) -> ParsedLine<'_> {
    let (level, rest) = match level(line) {
        Some((level, rest)) => (level, rest),
        None => (DEFAULT_LEVEL, line),
    };
    let rest = rest.trim_start();
    match timestamp(rest) {
        Some((timestamp, text)) if !text.trim().is_empty() => {
            ParsedLine { level, timestamp: Some(timestamp), text: text.trim_start() }
        }
        Some((timestamp, _)) => ParsedLine { level, timestamp: Some(timestamp), text: line },
        None if rest.is_empty() => ParsedLine { level, timestamp: None, text: line },
        None => ParsedLine { level, timestamp: None, text: rest },
    }
}

/// `<3> rest`.
fn level(line: &str) -> Option<(u8, &str)> {
    let (number, rest) = line.strip_prefix('<')?.split_once('>')?;
    let number = number.parse().ok().filter(|level| *level <= 7)?;
    Some((number, rest))
}

/// `2019-02-14 16:15:35.243 -08:00 rest`, by its shape.
fn timestamp(text: &str) -> Option<(&str, &str)> {
    const SHAPE: &[u8] = b"0000-00-00 00:00:00.000 +00:00";
    let bytes = text.as_bytes().get(..SHAPE.len())?;
    let fits = bytes.iter().zip(SHAPE).all(|(byte, shape)| match shape {
        b'0' => byte.is_ascii_digit(),
        b'+' => matches!(byte, b'+' | b'-'),
        _ => byte == shape,
    });
    fits.then(|| text.split_at(SHAPE.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_of_others_are_kept_whole() {
        assert_eq!(parse("hello"), ParsedLine { level: 6, timestamp: None, text: "hello" });
        assert_eq!(parse("<4> hello"), ParsedLine { level: 4, timestamp: None, text: "hello" });
        assert_eq!(parse("<9> hello").level, 6);
        let bare = "<4> 2019-02-14 16:15:35.243 -08:00 ";
        assert_eq!(parse(bare), ParsedLine { level: 4, timestamp: Some("2019-02-14 16:15:35.243 -08:00"), text: bare });
    }

    proptest! {
        #[test]
        fn any_line_is_read(line in "\\PC{0,60}", level in 0_u8..10) {
            let line = format!("<{level}> 2019-02-14 16:15:35.243 -08:00{line}");
            let parsed = parse(&line);
            prop_assert!(line.ends_with(parsed.text) && parsed.level <= 7);
            let _ = parse(&line[3..]);
        }
    }
}
