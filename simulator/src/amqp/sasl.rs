//! The user name of the mechanism PLAIN: `{D}@sas.{hub}`, `{D}/{M}@sas.{hub}` or `{D}/modules/{M}@sas.{hub}`.

use edgectl_schemas::ids::Identity;

/// What PLAIN begins with: `{authorization}\0{user}\0{password}` (RFC 4616).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plain {
    /// Who connects.
    pub identity: Identity,
    /// The token.
    pub password: String,
}

impl Plain {
    /// Reads the initial response. None if it is not what a client of a hub sends.
    pub fn read(response: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(response).ok()?;
        let [_, user, password] = text.split('\0').collect::<Vec<_>>()[..] else { return None };
        Some(Self { identity: identity_of(user)?, password: password.to_owned() })
    }

    /// The token of a policy: `{policy}@sas.root.{hub}` has it as its password.
    pub fn policy_token(response: &[u8]) -> Option<String> {
        let text = std::str::from_utf8(response).ok()?;
        let [_, user, password] = text.split('\0').collect::<Vec<_>>()[..] else { return None };
        let (_, host) = user.rsplit_once("@sas.")?;
        host.starts_with("root.").then(|| password.to_owned())
    }
}

fn identity_of(user: &str) -> Option<Identity> {
    let (path, host) = user.rsplit_once("@sas.")?;
    // Policies of the service have `root.` here; they are no clients.
    if host.starts_with("root.") {
        return None;
    }
    match path.split('/').collect::<Vec<_>>()[..] {
        [device] => Identity::parse(device).ok(),
        [device, module] | [device, "modules", module] => Identity::parse(&format!("{device}/{module}")).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_clients_of_the_hub() {
        for (user, identity) in [
            ("d@sas.hub", Some("d")),
            ("d/m@sas.hub.net", Some("d/m")),
            ("d/modules/m@sas.hub.net", Some("d/m")),
            ("n@sas.m@sas.hub", Some("n@sas.m")),
            ("iothubowner@sas.root.hub", None),
            ("boo", None),
            ("", None),
        ] {
            let plain = Plain::read(format!("\0{user}\0secret").as_bytes());
            assert_eq!(plain.map(|plain| plain.identity.to_string()).as_deref(), identity, "{user}");
        }
        assert_eq!(Plain::read(b"d@sas.hub"), None);
    }
}
