//! What `BuildKit` says of a build: protocol buffers, of which only names and output are of interest here.
//!
//! The message is `moby.buildkit.v1.StatusResponse`: field 1 are vertexes (3: name, 7: error), field 3 are logs (4: the
//! bytes).

/// Something that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A step of the build.
    Step(String),
    /// What a program wrote.
    Output(String),
}

/// Reads what was said; what cannot be read is passed over.
pub fn read(message: &[u8]) -> Vec<Said> {
    let mut said = Vec::new();
    for (field, content) in fields(message) {
        let wanted = match field {
            1 => 3,
            3 => 4,
            _ => continue,
        };
        for (_, text) in fields(content).into_iter().filter(|(inner, _)| *inner == wanted) {
            let text = String::from_utf8_lossy(text).into_owned();
            said.push(if field == 1 { Said::Step(text) } else { Said::Output(text) });
        }
    }
    said
}

/// The fields of a message that are messages, texts or bytes.
fn fields(mut message: &[u8]) -> Vec<(u64, &[u8])> {
    let mut found = Vec::new();
    while let Some((key, rest)) = number(message) {
        let content = match key & 7 {
            0 => number(rest).map(|(_, rest)| rest),
            1 => rest.get(8..),
            5 => rest.get(4..),
            2 => number(rest).and_then(|(length, rest)| {
                let length = usize::try_from(length).ok()?;
                found.push((key >> 3, rest.get(..length)?));
                rest.get(length..)
            }),
            _ => None,
        };
        match content {
            Some(rest) => message = rest,
            None => break,
        }
    }
    found
}

/// A number of seven bits a byte, the lowest first.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * index).min(63);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_and_output_are_found() {
        let message = [0x0a, 6, 0x0a, 1, b'd', 0x1a, 1, b'n', 0x1a, 5, 0x18, 1, 0x22, 1, b'o'];
        assert_eq!(read(&message), [Said::Step("n".to_owned()), Said::Output("o".to_owned())]);
    }

    proptest! {
        #[test]
        fn whatever_an_engine_says_is_read(message in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = read(&message);
        }
    }
}
