//! Numbers and texts as they stand in a cell.

/// Messages a second.
pub(super) fn rate(rate: Option<f64>) -> String {
    match rate {
        None => "-".to_owned(),
        Some(rate) if rate < 100.0 => format!("{rate:.1}/s"),
        Some(rate) => format!("{rate:.0}/s"),
    }
}

/// A share of the machine.
pub(super) fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{share:.1}%"))
}

/// Bytes of memory.
#[expect(clippy::cast_precision_loss, reason = "one digit behind the point is all that is shown")]
pub(super) fn memory(bytes: Option<u64>) -> String {
    let Some(bytes) = bytes else { return "-".to_owned() };
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    if mebibytes < 1024.0 { format!("{mebibytes:.1} MiB") } else { format!("{:.1} GiB", mebibytes / 1024.0) }
}

/// A text without what would move the cursor or change colours.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            // An escape sequence: up to its final letter.
            '\u{1b}' => {
                if characters.next() == Some('[') {
                    characters.by_ref().find(|character| ('@'..='~').contains(character));
                }
            }
            '\t' => plain.push_str("    "),
            character if character.is_control() => {}
            character => plain.push(character),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_their_cells() {
        assert_eq!((rate(None), rate(Some(3.25)), rate(Some(1234.6))), ("-".into(), "3.2/s".into(), "1235/s".into()));
        assert_eq!((memory(Some(12 << 20)), memory(Some(3 << 30))), ("12.0 MiB".into(), "3.0 GiB".into()));
        assert_eq!(percent(Some(3.0)), "3.0%");
    }

    #[test]
    fn a_text_moves_no_cursor() {
        assert_eq!(plain("\u{1b}[31mred\u{1b}[0m\tcell\r\u{7}\u{1b}[2J"), "red    cell");
        assert_eq!(plain("\u{1b}"), "");
    }
}
