//! Paths and versions of the workload API. Paths match as a whole, without a slash at the end.

use edgectl_schemas::sas::decode;

/// The versions there are. The interface that was documented as `2021-05-11` never was one.
pub const API_VERSIONS: [&str; 7] =
    ["2018-06-28", "2019-01-30", "2019-10-22", "2019-11-05", "2020-07-07", "2021-12-07", "2022-08-03"];

/// What a path asks for. Modules and generations are without percent-encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// The roots to trust.
    TrustBundle,
    /// The roots that manifests are signed under.
    ManifestTrustBundle,
    /// The modules of the device.
    Modules,
    /// A client certificate for a module.
    IdentityCertificate {
        /// The module.
        module: String,
    },
    /// Something that is done with the key of a module.
    WithKey {
        /// The module.
        module: String,
        /// The generation of its identity.
        generation_id: String,
        /// What is done.
        action: KeyAction,
    },
}

/// What is done with a key, or under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyAction {
    /// Sign some data.
    Sign,
    /// Encrypt some data.
    Encrypt,
    /// Decrypt what was encrypted.
    Decrypt,
    /// Make a server certificate.
    ServerCertificate,
}

impl Route {
    /// Reads a path.
    pub fn parse(path: &str) -> Option<Self> {
        let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        if segments.iter().any(|segment| segment.is_empty()) {
            return None;
        }
        let with_key = |module, generation_id, action| {
            Some(Self::WithKey { module: decode(module), generation_id: decode(generation_id), action })
        };
        match segments[..] {
            ["trust-bundle"] => Some(Self::TrustBundle),
            ["manifest-trust-bundle"] => Some(Self::ManifestTrustBundle),
            ["modules"] => Some(Self::Modules),
            ["modules", module, "certificate", "identity"] => {
                Some(Self::IdentityCertificate { module: decode(module) })
            }
            ["modules", module, "genid", id, "sign"] => with_key(module, id, KeyAction::Sign),
            ["modules", module, "genid", id, "encrypt"] => with_key(module, id, KeyAction::Encrypt),
            ["modules", module, "genid", id, "decrypt"] => with_key(module, id, KeyAction::Decrypt),
            ["modules", module, "genid", id, "certificate", "server"] => {
                with_key(module, id, KeyAction::ServerCertificate)
            }
            _ => None,
        }
    }

    /// Whether it is asked for with `GET`; all others are with `POST`.
    pub fn is_get(&self) -> bool {
        matches!(self, Self::TrustBundle | Self::ManifestTrustBundle | Self::Modules)
    }

    /// The module whose secrets it is about.
    pub fn module(&self) -> Option<&str> {
        match self {
            Self::IdentityCertificate { module } | Self::WithKey { module, .. } => Some(module),
            _ => None,
        }
    }
}

/// Whether a caller is the module that a path names. A `$` before the name of a system module makes no difference.
pub fn is_caller(caller: &str, module: &str) -> bool {
    let bare = |name: &'_ str| name.strip_prefix('$').map_or_else(|| name.to_owned(), str::to_owned);
    bare(caller) == bare(module)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::Value;

    use super::*;

    #[test]
    fn daemon_vectors() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors");
        if !folder.exists() {
            println!("passed over: no behaviour vectors");
            return;
        }
        let document: Value = serde_json::from_slice(&std::fs::read(folder.join("daemon.json")).unwrap()).unwrap();
        let mut checked = 0;
        for vector in document["vectors"].as_array().unwrap() {
            checked += usize::from(check(vector));
        }
        assert!(checked >= 20, "{checked}");
    }

    fn check(vector: &Value) -> bool {
        let (input, expected) = (&vector["input"], &vector["expected"]);
        match vector["op"].as_str().unwrap() {
            "route" if input["api"] == "workload" => {
                let route = Route::parse(input["path"].as_str().unwrap());
                assert_eq!(route.is_some(), expected["match"], "{vector}");
                if let Some(module) = expected["params"]["moduleId"].as_str() {
                    assert_eq!(route.unwrap().module(), Some(module), "{vector}");
                }
            }
            "api_version" => {
                assert_eq!(API_VERSIONS.contains(&input.as_str().unwrap()), *expected, "{vector}");
            }
            "caller_auth" => {
                let pids = input["containerPids"].as_object().unwrap().iter();
                let mut callers = pids.filter(|(_, pids)| pids.as_array().unwrap().contains(&input["callerPid"]));
                let allowed = is_caller(callers.next().unwrap().0, input["endpointModule"].as_str().unwrap());
                assert_eq!(allowed, expected["status"].is_null(), "{vector}");
            }
            _ => return false,
        }
        true
    }

    #[test]
    fn names_are_decoded() {
        let route = Route::parse("/modules/%24edgeAgent/genid/6%2F7/sign").unwrap();
        let expected =
            Route::WithKey { module: "$edgeAgent".into(), generation_id: "6/7".into(), action: KeyAction::Sign };
        assert_eq!(route, expected);
    }
}
