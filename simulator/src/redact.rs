//! What looks like a secret, and what stands in its place wherever something is shown to others.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use edgectl_schemas::sas::encode;
use regex::Regex;
use serde_json::Value;

/// What stands in place of a secret.
pub const HIDDEN: &str = "***";
/// Parts of names whose values are secrets.
const SECRET_NAMES: [&str; 7] = ["key", "token", "secret", "password", "passwd", "credential", "connectionstring"];
/// Parts of values that are secrets, whatever their names.
const SECRET_VALUES: [&str; 4] = ["accesskey=", "accountkey=", "sharedaccesssignature", "sig="];
/// Names that only seem to have secrets: what is below them is looked at one by one.
const HARMLESS_NAMES: [&str; 1] = ["registrycredentials"];
/// A shorter secret would hide words that are none.
const MIN_SECRET_BYTES: usize = 6;

/// Forms of secrets that are known by their looks, and what is left of each.
static FORMS: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    let forms = [
        (r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\z)", "***"),
        (r"(?i)\bSharedAccessSignature\s+s[rige]+=\S+", "SharedAccessSignature ***"),
        (r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}", "$1 ***"),
        (r"(://[^\s/:@]*):[^\s/@]+@", "$1:***@"),
        (r"(?i)([?&](?:sig|signature|password|token)=)[^\s&;]+", "$1***"),
        // A name and its value, as in an environment, a connection string or JSON, escaped or not.
        (
            r#"(?i)([\w.-]*(?:key|token|secret|password|passwd|credential|connection_?string|\bsig|accesssignature)[\w.-]*\\*["']?\s*[=:]\s*\\*["']?)[^\s"'\\,;&*][^\s"'\\,;&]*"#,
            "$1***",
        ),
    ];
    forms.iter().filter_map(|(form, left)| Some((Regex::new(form).ok()?, *left))).collect()
});

/// Hides secrets: those that are known, and what looks like one.
#[derive(Default)]
pub struct Redactor {
    /// Longest first, since one may be a part of another.
    secrets: Vec<String>,
}

impl Redactor {
    /// Knows these secrets, also as they stand in URLs.
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let mut known = BTreeSet::new();
        for secret in secrets {
            if secret.len() >= MIN_SECRET_BYTES {
                known.insert(encode(&secret));
                // As it stands in JSON.
                let escaped = Value::from(secret.as_str()).to_string();
                known.insert(escaped.trim_matches('"').to_owned());
                known.insert(secret);
            }
        }
        let mut secrets: Vec<String> = known.into_iter().collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self { secrets }
    }

    /// A text without secrets.
    pub fn text(&self, text: &str) -> String {
        let mut text = self.known(text);
        for (form, left) in FORMS.iter() {
            if form.is_match(&text) {
                text = form.replace_all(&text, *left).into_owned();
            }
        }
        text
    }

    /// A document without secrets: those in texts, and all that stands under a name of secrets.
    pub fn document(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.text(text).into(),
            Value::Array(values) => values.iter().map(|value| self.document(value)).collect(),
            Value::Object(members) => {
                let member = |(name, value): (&String, &Value)| {
                    let value = if is_secret_name(name) { hidden(value) } else { self.document(value) };
                    (self.known(name), value)
                };
                Value::Object(members.iter().map(member).collect())
            }
            other => other.clone(),
        }
    }

    /// A text without the secrets that are known.
    pub fn known(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| {
            if text.contains(secret.as_str()) { text.replace(secret.as_str(), HIDDEN) } else { text }
        })
    }
}

/// A value, or what stands in its place.
pub fn shown(name: &str, value: &str) -> String {
    let content = value.to_lowercase();
    let is_secret = is_secret_name(name) || SECRET_VALUES.iter().any(|part| content.contains(part));
    if is_secret { HIDDEN.to_owned() } else { value.to_owned() }
}

/// The secrets that stand in a document under names of secrets.
pub fn secrets_of(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().flat_map(secrets_of).collect(),
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| if is_secret_name(name) { texts(value) } else { secrets_of(value) })
            .collect(),
        _ => Vec::new(),
    }
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::Object(members) => members.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

fn is_secret_name(name: &str) -> bool {
    let plain = name.to_lowercase().replace(['_', '-'], "");
    !HARMLESS_NAMES.contains(&plain.as_str()) && SECRET_NAMES.iter().any(|part| plain.contains(part))
}

fn hidden(value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Array(values) => values.iter().map(hidden).collect(),
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), hidden(value))).collect(),
        _ => HIDDEN.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_known_by_their_looks() {
        let redactor = Redactor::default();
        for (text, expected) in [
            ("HostName=h;DeviceId=d;SharedAccessKey=Zm9v/+=", "HostName=h;DeviceId=d;SharedAccessKey=***"),
            ("SharedAccessSignature sr=h%2Fd&sig=a%2Fb&se=1", "SharedAccessSignature ***"),
            ("PUT https://s/c/b?sv=1&sig=abc%3D&se=2", "PUT https://s/c/b?sv=1&sig=***&se=2"),
            ("DB_PASSWORD=hunter2 next", "DB_PASSWORD=*** next"),
            (r#"{"password": "hunter2", "a": 1}"#, r#"{"password": "***", "a": 1}"#),
            (r#""{\"ApiKey\":\"x\"}""#, r#""{\"ApiKey\":\"***\"}""#),
            ("postgres://me:hunter2@db/x", "postgres://me:***@db/x"),
            ("Authorization: Bearer abcdefghij.k", "Authorization: Bearer ***"),
            ("a\n-----BEGIN EC PRIVATE KEY-----\nabc\n-----END EC PRIVATE KEY-----\nb", "a\n***\nb"),
            ("-----BEGIN PRIVATE KEY-----\nabc", "***"),
            ("a plain line: 5 = five", "a plain line: 5 = five"),
        ] {
            assert_eq!(redactor.text(text), expected);
            assert_eq!(redactor.text(expected), expected, "hidden once is hidden");
        }
    }

    #[test]
    fn what_stands_under_a_name_of_secrets_is_hidden_as_a_whole() {
        let document = json!({
            "env": { "API_KEY": { "value": "abc" }, "Mode": { "value": "fast" } }, "primaryKey": 5, "name": "long secret",
            "registryCredentials": { "one": { "address": "r.example", "password": "hunter2" } },
        });
        assert_eq!(secrets_of(&document), ["abc", "hunter2"]);
        let shown = Redactor::new(["long secret".to_owned()]).document(&document);
        let expected = json!({
            "env": { "API_KEY": { "value": "***" }, "Mode": { "value": "fast" } }, "primaryKey": "***", "name": "***",
            "registryCredentials": { "one": { "address": "r.example", "password": "***" } },
        });
        assert_eq!(shown, expected);
    }

    proptest! {
        #[test]
        fn a_secret_that_is_known_is_nowhere(
            secret in "[A-Za-z0-9+/\"=]{8,40}", before in "\\PC{0,20}", after in "\\PC{0,20}"
        ) {
            let redactor = Redactor::new([secret.clone()]);
            let text = format!("{before}{secret}{after} {} {}", encode(&secret), json!(secret));
            prop_assert!(!redactor.text(&text).contains(&secret));
            prop_assert!(!redactor.text(&text).contains(&encode(&secret)));
            let document = redactor.document(&json!({ "a": [text], secret.clone(): 1 }));
            prop_assert!(!document.to_string().contains(&secret));
        }
    }
}
