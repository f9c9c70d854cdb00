//! The variables of a solution: the process environment, then its `.env` file, then defaults.
//!
//! A variable that is set in the environment wins over the file. The file's syntax is that of python-dotenv, which
//! the solutions of other tools are written for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The file's name, unless `DOTENV_FILE` says another.
const FILE: &str = ".env";

/// Variables that have a value where nobody sets one, and can stand in templates with it.
const DEFAULTS: &[(&str, &str)] = &[
    ("CONFIG_OUTPUT_DIR", "config"),
    ("DEPLOYMENT_CONFIG_TEMPLATE_FILE", "deployment.template.json"),
    ("DEPLOYMENT_CONFIG_DEBUG_TEMPLATE_FILE", "deployment.debug.template.json"),
    ("DEFAULT_PLATFORM", "amd64"),
    ("MODULES_PATH", "modules"),
    ("LOGS_PATH", "logs"),
    ("LOGS_CMD", "start /B start cmd.exe @cmd /k docker logs {0} -f"),
];

/// The file with the variables of the solution at `root`; it may not exist.
pub fn path(root: &Path, environment: &BTreeMap<String, String>) -> PathBuf {
    let named = environment.get("DOTENV_FILE").map(|name| name.trim_matches('"').trim_matches('\''));
    root.join(named.filter(|name| !name.is_empty()).unwrap_or(FILE))
}

/// The variables of the solution at `root`, given the process environment. A missing file is no error.
pub fn variables(
    root: &Path,
    environment: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, std::io::Error> {
    let path = path(root, environment);
    let mut variables = environment.clone();
    match std::fs::read(&path) {
        Ok(bytes) => {
            for (name, value) in parse(&String::from_utf8_lossy(&bytes), environment) {
                variables.entry(name).or_insert(value);
            }
        }
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::IsADirectory) => {}
        Err(error) => return Err(error),
    }
    for (name, value) in DEFAULTS {
        let entry = variables.entry((*name).to_owned()).or_default();
        if entry.trim().is_empty() {
            (*value).clone_into(entry);
        }
    }
    Ok(variables)
}

/// The variables a file sets, the last one of a name winning. `${NAME}` and `${NAME:-default}` in values are replaced
/// from the environment and from the lines above. Lines that make no sense are passed over.
pub fn parse(text: &str, environment: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut variables = BTreeMap::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return variables;
        }
        match binding(rest) {
            Some((name, value, behind)) => {
                if let (Some(name), Some(value)) = (name, value) {
                    let value = interpolate(&value, &|name| {
                        environment.get(name).or_else(|| variables.get(name)).map(String::as_str)
                    });
                    variables.insert(name, value);
                }
                rest = behind;
            }
            None => rest = rest.find(['\r', '\n']).map_or("", |end| &rest[end..]),
        }
    }
}

type Binding<'a> = (Option<String>, Option<String>, &'a str);

/// One line: name, value, and the text behind it. None if the line makes no sense.
fn binding(line: &str) -> Option<Binding<'_>> {
    let mut rest = line;
    if let Some(behind) = rest.strip_prefix("export") {
        let trimmed = blanks(behind);
        if trimmed.len() < behind.len() {
            rest = trimmed;
        }
    }
    let name = if rest.starts_with('#') {
        None
    } else if let Some(quoted) = rest.strip_prefix('\'') {
        let end = quoted.find('\'').filter(|end| *end > 0)?;
        rest = &quoted[end + 1..];
        Some(quoted[..end].to_owned())
    } else {
        let end = rest.find(|c: char| matches!(c, '=' | '#') || c.is_whitespace()).unwrap_or(rest.len());
        let name = (end > 0).then(|| rest[..end].to_owned())?;
        rest = &rest[end..];
        Some(name)
    };
    rest = blanks(rest);
    let mut value = None;
    if let Some(behind) = rest.strip_prefix('=') {
        let (text, behind) = self::value(blanks(behind))?;
        value = Some(text);
        rest = behind;
    }
    rest = blanks(rest);
    if rest.starts_with('#') {
        rest = &rest[line_end(rest)..];
    }
    (rest.is_empty() || rest.starts_with(['\r', '\n'])).then_some((name, value, rest))
}

fn value(rest: &str) -> Option<(String, &str)> {
    match rest.chars().next() {
        Some(quote @ ('\'' | '"')) => quoted(rest, quote),
        _ => {
            let line = &rest[..line_end(rest)];
            let comment =
                line.char_indices().find(|(at, c)| c.is_whitespace() && line[*at..].trim_start().starts_with('#'));
            let text = comment.map_or(line, |(at, _)| &line[..at]);
            Some((text.trim_end().to_owned(), &rest[line.len()..]))
        }
    }
}

/// A quoted value may span lines. Single quotes know two escapes, double quotes those of C.
fn quoted(rest: &str, quote: char) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        if character == quote {
            return Some((value, &rest[at + 1..]));
        }
        if character != '\\' {
            value.push(character);
            continue;
        }
        let (_, escaped) = characters.next()?;
        match unescape(escaped, quote) {
            Some(meant) => value.push(meant),
            None => value.extend(['\\', escaped]),
        }
    }
    None
}

fn unescape(escaped: char, quote: char) -> Option<char> {
    match (escaped, quote) {
        ('\\' | '\'', _) | ('"', '"') => Some(escaped),
        ('a', '"') => Some('\u{7}'),
        ('b', '"') => Some('\u{8}'),
        ('f', '"') => Some('\u{c}'),
        ('n', '"') => Some('\n'),
        ('r', '"') => Some('\r'),
        ('t', '"') => Some('\t'),
        ('v', '"') => Some('\u{b}'),
        _ => None,
    }
}

fn blanks(text: &str) -> &str {
    text.trim_start_matches(|c: char| c.is_whitespace() && !matches!(c, '\r' | '\n'))
}

fn line_end(text: &str) -> usize {
    text.find(['\r', '\n']).unwrap_or(text.len())
}

fn interpolate<'a>(value: &str, lookup: &dyn Fn(&str) -> Option<&'a str>) -> String {
    let mut result = String::new();
    let mut rest = value;
    while let Some(start) = rest.find("${") {
        let body = &rest[start + 2..];
        let Some(end) = body.find('}') else { break };
        let inside = &body[..end];
        let (name, default) = match inside.split_once(':') {
            None => (inside, None),
            Some((name, default)) => match default.strip_prefix('-') {
                Some(default) => (name, Some(default)),
                // A colon without a hyphen is no reference.
                None => {
                    result.push_str(&rest[..start + 2]);
                    rest = body;
                    continue;
                }
            },
        };
        result.push_str(&rest[..start]);
        result.push_str(lookup(name).or(default).unwrap_or(""));
        rest = &body[end + 1..];
    }
    result + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_python_dotenv_reads_them() {
        let text = "A=plain\nB=\"two\\nlines\" # note\nC='it\\'s ${A}'\nexport D = ${A}/x # note\nE\nF='a'b\nG=a#b\n\
                    H=${NO:-default}${NO}\nI=\"${A\nJ=1\r\n'K L'=2\n#M=3\nN=";
        let variables = parse(text, &BTreeMap::from([("NO2".to_owned(), String::new())]));
        let expected = [
            ("A", "plain"),
            ("B", "two\nlines"),
            ("C", "it's plain"),
            ("D", "plain/x"),
            ("G", "a#b"),
            ("H", "default"),
            ("J", "1"),
            ("K L", "2"),
            ("N", ""),
        ];
        let expected: BTreeMap<String, String> = expected.map(|(a, b)| (a.to_owned(), b.to_owned())).into();
        assert_eq!(variables, expected);
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let environment = BTreeMap::from([("A".to_owned(), "outer".to_owned())]);
        assert_eq!(parse("A=inner\nB=${A}", &environment)["B"], "outer");
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(".env"), "A=inner\nMODULES_PATH=\n").unwrap();
        let variables = variables(directory.path(), &environment).unwrap();
        assert_eq!(variables["A"], "outer");
        assert_eq!(variables["MODULES_PATH"], "modules");
    }
}
