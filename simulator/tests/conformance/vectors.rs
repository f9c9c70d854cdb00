//! The shared cases of who is let in.

use std::path::Path;

use edgectl_hub::auth::{AuthError, Authentication, IdentityRecord, TokenCheck};
use edgectl_schemas::ids::Identity;
use edgectl_schemas::sas::{InvalidToken, SasToken, SharedKey, encode, encoded_audience, make_token};
use serde_json::{Value, json};

const HOST: &str = "testiothub.azure-devices.net";
const EDGE_HOST: &str = "edgehub1";
const NOW: u64 = 1_800_000_000;

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn record(identity: &str, primary: &str, secondary: &str) -> IdentityRecord {
    IdentityRecord {
        identity: Identity::parse(identity).unwrap(),
        generation_id: "1".to_owned(),
        enabled: true,
        authentication: Authentication::Sas { primary_key: primary.to_owned(), secondary_key: secondary.to_owned() },
    }
}

fn check() -> TokenCheck<'static> {
    TokenCheck { hosts: &[HOST, EDGE_HOST], now: NOW }
}

fn parse_token(input: &str) -> Value {
    let parsed = SasToken::parse(input).and_then(|token| token.check_expiry(NOW).map(|()| token));
    match parsed {
        Ok(token) => json!({ "ok": true, "audience": token.audience(), "expiry": token.expires_at }),
        Err(InvalidToken::Format) if input.trim().is_empty() => json!({ "ok": false, "error": "argument" }),
        Err(InvalidToken::Format) => json!({ "ok": false, "error": "format" }),
        Err(InvalidToken::Expired) => json!({ "ok": false, "error": "expired" }),
    }
}

/// What is found for a case; none for those of other rooms.
fn found(operation: &str, input: &Value) -> Option<Value> {
    Some(match operation {
        "build_audience" => {
            let identity = format!("{}/{}", text(input, "deviceId"), text(input, "moduleId"));
            json!(encoded_audience(text(input, "host"), &Identity::parse(&identity).ok()?))
        }
        "parse_token" => parse_token(input.as_str()?),
        "sign" => {
            let key = SharedKey::from_base64(text(input, "key")).ok()?;
            let expiry = text(input, "expiry").parse().ok()?;
            let token = make_token(&key, text(input, "encodedAudience"), expiry, None);
            json!(token.split("&sig=").nth(1)?.split('&').next()?)
        }
        "authenticate" => {
            let own = record(text(input, "identity"), text(input, "primaryKey"), text(input, "secondaryKey"));
            json!(check().check(text(input, "token"), &own, None).is_ok())
        }
        "validate_audience" => {
            let identity = Identity::parse(text(input, "identity")).ok()?;
            json!(check().allows_audience(text(input, "audience"), &identity))
        }
        "http_authenticate" if text(input, "authorization") == "expired SAS" => {
            let own = record("d1", "a2V5", "");
            let audience = encoded_audience(HOST, &own.identity);
            let token = make_token(&SharedKey::from_base64("a2V5").ok()?, &audience, NOW - 3600, None);
            let refused = matches!(check().check(&token, &own, None), Err(AuthError::Token(InvalidToken::Expired)));
            json!({ "ok": !refused })
        }
        // Those of chains and scopes, and of other protocols, are those of the rooms that read them.
        _ => return None,
    })
}

#[test]
fn shared_cases_hold() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors/auth.json");
    let Ok(vectors) = std::fs::read(&path) else {
        println!("passed over: there are no shared cases at {}", path.display());
        return;
    };
    let vectors: Value = serde_json::from_slice(&vectors).unwrap();
    let mut looked_at = 0;
    for case in vectors["vectors"].as_array().unwrap() {
        let Some(found) = found(text(case, "op"), &case["input"]) else { continue };
        let mut expected = case["expected"].clone();
        if let Some(object) = expected.as_object_mut() {
            object.remove("message");
        }
        if text(case, "op") == "sign" {
            expected = json!(encode(expected.as_str().unwrap()));
        }
        assert_eq!(found, expected, "{case}");
        looked_at += 1;
    }
    assert!(looked_at >= 14, "{looked_at} cases");
}
