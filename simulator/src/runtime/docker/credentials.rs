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

/// Who the user is at a registry; none if nobody in particular.
pub async fn find(settings: &Path, registry: &str) -> Option<RegistryCredential> {
    let text = tokio::fs::read(settings.join("config.json")).await.ok()?;
    let config: Value = serde_json::from_slice(&text).ok()?;
    if let Some(found) = written(&config, registry) {
        return Some(found);
    }
    let helper =
        config.get("credHelpers").and_then(|helpers| helpers.get(registry)).or_else(|| config.get("credsStore"));
    asked(helper?.as_str()?, registry).await
}

/// What stands in the file itself.
fn written(config: &Value, registry: &str) -> Option<RegistryCredential> {
    let entries = config.get("auths")?.as_object()?;
    let host = |address: &str| {
        let plain = address.trim_start_matches("https://").trim_start_matches("http://");
        plain.split('/').next().unwrap_or_default().to_owned()
    };
    let (address, entry) = entries.iter().find(|(address, _)| host(address) == host(registry))?;
    let login = String::from_utf8(BASE64.decode(entry.get("auth")?.as_str()?).ok()?).ok()?;
    let (username, password) = login.trim_end_matches('\0').split_once(':')?;
    Some(RegistryCredential { address: address.clone(), username: username.to_owned(), password: password.to_owned() })
}

/// What a helper knows: it is given a registry and answers `{"Username", "Secret"}`.
async fn asked(helper: &str, registry: &str) -> Option<RegistryCredential> {
    let work = async {
        let mut child = Command::new(format!("docker-credential-{helper}"))
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .ok()?;
        child.stdin.take()?.write_all(registry.as_bytes()).await.ok()?;
        let output = child.wait_with_output().await.ok()?;
        let answer: Value = serde_json::from_slice(&output.stdout).ok()?;
        Some(RegistryCredential {
            address: registry.to_owned(),
            username: answer.get("Username")?.as_str()?.to_owned(),
            password: answer.get("Secret")?.as_str()?.to_owned(),
        })
    };
    tokio::time::timeout(HELPER_TIMEOUT, work).await.ok().flatten()
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
            let found = find(folder.path(), registry).await.unwrap();
            assert_eq!((found.username.as_str(), found.password.as_str()), ("me", "se:cret"));
        }
        assert_eq!(find(folder.path(), "other.example").await, None);
        assert_eq!(find(&folder.path().join("nowhere"), "other.example").await, None);
    }
}
