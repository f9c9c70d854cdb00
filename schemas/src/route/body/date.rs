//! Strings that the JSON reader of the hub takes for dates.

/// Whether a string is read as a date, so that it can no longer be compared: `2017-03-09T00:00:00`, perhaps with a
/// fraction of up to seven digits and a zone behind it, or `/Date(0)/`.
pub fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    match bytes.first() {
        Some(b'/') => is_ticks(text),
        Some(first) if first.is_ascii_digit() && (19..=40).contains(&bytes.len()) && bytes[10] == b'T' => {
            is_day(&bytes[..10]) && is_time_and_zone(&bytes[11..])
        }
        _ => false,
    }
}

/// `/Date(milliseconds)/`, perhaps with a zone such as `+0100` behind the number.
fn is_ticks(text: &str) -> bool {
    let Some(inner) = text.strip_prefix("/Date(").and_then(|rest| rest.strip_suffix(")/")) else { return false };
    let zone = inner.get(1..).and_then(|rest| rest.find(['+', '-'])).map_or(inner.len(), |at| at + 1);
    let (ticks, zone) = inner.split_at(zone);
    let is_zone = zone.is_empty() || (zone.len() == 5 && zone[1..].bytes().all(|digit| digit.is_ascii_digit()));
    is_zone && ticks.parse::<i64>().is_ok()
}

/// `yyyy-MM-dd` of a day that exists.
fn is_day(bytes: &[u8]) -> bool {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = bytes else { return false };
    let (Some(century), Some(year)) = (two_digits(y1, y2), two_digits(y3, y4)) else { return false };
    let (Some(month), Some(day)) = (two_digits(m1, m2), two_digits(d1, d2)) else { return false };
    let year = u32::from(century) * 100 + u32::from(year);
    let days = match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    year >= 1 && (1..=days).contains(&day)
}

/// `HH:mm:ss` and what may follow it. 24 is an hour if nothing else is.
fn is_time_and_zone(bytes: &[u8]) -> bool {
    let &[h1, h2, b':', m1, m2, b':', s1, s2, ref rest @ ..] = bytes else { return false };
    let (Some(hour), Some(minute), Some(second)) = (two_digits(h1, h2), two_digits(m1, m2), two_digits(s1, s2)) else {
        return false;
    };
    let (fraction, zone) = match rest {
        [b'.', rest @ ..] => {
            let digits = rest.iter().take(7).take_while(|digit| digit.is_ascii_digit()).count();
            if digits == 0 {
                return false;
            }
            rest.split_at(digits)
        }
        _ => rest.split_at(0),
    };
    let is_midnight = minute == 0 && second == 0 && fraction.iter().all(|digit| *digit == b'0');
    minute < 60 && second < 60 && (hour < 24 || (hour == 24 && is_midnight)) && is_zone(zone)
}

fn is_zone(zone: &[u8]) -> bool {
    match zone {
        [] | [b'Z' | b'z'] => true,
        [b'+' | b'-', h1, h2, rest @ ..] => {
            let minutes = rest.strip_prefix(b":").unwrap_or(rest);
            let is_minutes = matches!(minutes, [m1, m2] if two_digits(*m1, *m2).is_some());
            two_digits(*h1, *h2).is_some() && (rest.is_empty() || rest == b":" || is_minutes)
        }
        _ => false,
    }
}

fn two_digits(tens: u8, ones: u8) -> Option<u8> {
    (tens.is_ascii_digit() && ones.is_ascii_digit()).then(|| (tens - b'0') * 10 + (ones - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_recognised() {
        for (text, expected) in [
            ("2017-03-09T00:00:00.000Z", true),
            ("2017-03-09T00:00:00", true),
            ("2020-02-29T23:59:59+01:00", true),
            ("2017-03-09T24:00:00Z", true),
            ("/Date(1489017600000)/", true),
            ("/Date(1489017600000+0100)/", true),
            ("2017-03-09", false),
            ("2017-03-09 00:00:00Z", false),
            ("2017-02-29T00:00:00Z", false),
            ("2017-03-09T24:00:01Z", false),
            ("2017-03-09T00:00:00 UTC", false),
            ("2017-03-09T00:00:00.Z", false),
            ("/Date()/", false),
            ("", false),
        ] {
            assert_eq!(is_date(text), expected, "{text}");
        }
    }
}
