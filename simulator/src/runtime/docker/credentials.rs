//! The user's own access to registries, as `docker login` left it: in `config.json`, or with a helper that it names.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::runtime::module_runtime::RegistryCredential;

/// A helper may ask the system's key ring, but nobody is asked a question.
const HELPER_TIMEOUT: Duration = Duration::from_secs(10);

/// The name in the place of an account's, where there is a token in the place of a password.
pub const TOKEN: &str = "<token>";
/// Most of what a helper says about an error that is told.
const TOLD: usize = 200;

/// A helper that knows who the user is did not say so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{program} failed: {reason}")]
pub struct HelperError {
    program: String,
    reason: String,
}

/// Who the user is at a registry; none if nobody in particular.
pub async fn find(settings: &Path, registry: &str) -> Result<Option<RegistryCredential>, HelperError> {
    let text = tokio::fs::read(settings.join("config.json")).await.unwrap_or_default();
    let config: Value = serde_json::from_slice(&text).unwrap_or_default();
    let helper = config.get("credHelpers").and_then(|helpers| helpers.get(registry)?.as_str());
    let named = match helper {
        Some(helper) => asked(helper, registry).await,
        None => Ok(None),
    };
    if let Ok(Some(_)) = named {
        return named;
    }
    if let Some(found) = written(&config, registry) {
        return Ok(Some(found));
    }
    match config.get("credsStore").and_then(Value::as_str) {
        Some(store) if helper.is_none() => asked(store, registry).await,
        _ => named,
    }
}

/// What stands in the file itself.
fn written(config: &Value, registry: &str) -> Option<RegistryCredential> {
    let entries = config.get("auths")?.as_object()?;
    let host = |address: &str| {
        let plain = address.trim_start_matches("https://").trim_start_matches("http://");
        plain.split('/').next().unwrap_or_default().to_owned()
    };
    let (address, entry) = entries.iter().find(|(address, _)| host(address) == host(registry))?;
    let token = entry.get("identitytoken").and_then(Value::as_str).filter(|token| !token.is_empty());
    if let Some(token) = token {
        return Some(RegistryCredential {
            address: address.clone(),
            username: TOKEN.to_owned(),
            password: token.to_owned(),
        });
    }
    let login = String::from_utf8(BASE64.decode(entry.get("auth")?.as_str()?).ok()?).ok()?;
    let (username, password) = login.trim_end_matches('\0').split_once(':')?;
    Some(RegistryCredential { address: address.clone(), username: username.to_owned(), password: password.to_owned() })
}

/// What a helper knows: it is given a registry and answers `{"Username", "Secret"}`, or says why not.
async fn asked(helper: &str, registry: &str) -> Result<Option<RegistryCredential>, HelperError> {
    let program = format!("docker-credential-{helper}");
    let failed = |reason: String| HelperError { program: program.clone(), reason };
    let work = async {
        let mut child = Command::new(&program)
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            // One that does not want to know says why in what it answers.
            let _ = input.write_all(registry.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let output = match tokio::time::timeout(HELPER_TIMEOUT, work).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(failed(error.to_string())),
        Err(_) => return Err(failed(format!("it did not answer within {} seconds", HELPER_TIMEOUT.as_secs()))),
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        let said: String = said.trim().lines().next().unwrap_or_default().chars().take(TOLD).collect();
        return match said.as_str() {
            said if said.contains("credentials not found") => Ok(None),
            "" => Err(failed(output.status.to_string())),
            said => Err(failed(said.to_owned())),
        };
    }
    // What it answered is not told, since it may be a secret all the same.
    let answer: Value =
        serde_json::from_slice(&output.stdout).map_err(|_| failed("its answer is not JSON".to_owned()))?;
    let text = |name: &str| {
        let found = answer.get(name).and_then(Value::as_str).map(str::to_owned);
        found.ok_or_else(|| failed(format!("its answer has no {name}")))
    };
    Ok(Some(RegistryCredential {
        address: registry.to_owned(),
        username: text("Username")?,
        password: text("Secret")?,
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn what_docker_login_wrote_is_found_by_the_registry() {
        let folder = tempfile::tempdir().unwrap();
        let auth = BASE64.encode("me:se:cret");
        let config =
            json!({"auths": {"https://index.docker.io/v1/": {"auth": auth}, "registry.example:5000": {"auth": auth}}});
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        for registry in ["https://index.docker.io/v1/", "registry.example:5000"] {
            let found = find(folder.path(), registry).await.unwrap().unwrap();
            assert_eq!((found.username.as_str(), found.password.as_str()), ("me", "se:cret"));
        }
        assert_eq!(find(folder.path(), "other.example").await, Ok(None));
        assert_eq!(find(&folder.path().join("nowhere"), "other.example").await, Ok(None));
    }

    #[tokio::test]
    async fn a_token_stands_in_the_place_of_a_password_and_goes_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let entry = json!({"auth": BASE64.encode("00000000-0000-0000-0000-000000000000:"), "identitytoken": "abc"});
        let config = json!({"auths": {"registry.example": entry}});
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let found = find(folder.path(), "registry.example").await.unwrap().unwrap();
        assert_eq!((found.username.as_str(), found.password.as_str()), (TOKEN, "abc"));
    }
}
