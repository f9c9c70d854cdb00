//! The identities that may connect here, directly or through edge hubs below: those of this device and of all devices in
//! its scope, as the hub above has them, kept for when that cannot be asked.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use edgectl_schemas::ids::{DeviceId, Identity};
use edgectl_schemas::sas::InvalidToken;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::auth::{AuthError, IdentityRecord, TokenCheck};
use crate::clock::Clock;
use crate::documents::{Batch, Documents, DocumentsError, Table};
use crate::family::{self, Member};
use crate::gateway::{Client, Credential, Refusal};

const TABLE: Table = Table::new("scope");
/// The hub above is asked at most this often because of one client that it may not know.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// Tells which identities are in this device's scope.
#[async_trait]
pub trait ScopeSource: Send + Sync + 'static {
    /// All of them, also those of the edge devices below this one.
    async fn identities(&self) -> Result<Vec<Member>, Refusal>;
}

/// The identities, and who asks for them.
pub struct Scope {
    own: DeviceId,
    source: Arc<dyn ScopeSource>,
    documents: Arc<Documents>,
    clock: Arc<dyn Clock>,
    known: RwLock<Known>,
    /// Counts how often the hub above was asked.
    asked: AtomicU64,
    /// For whom the hub above was asked lately, and when.
    refreshed: Mutex<HashMap<Identity, Instant>>,
    /// What clients last proved with who they are.
    proofs: Mutex<HashMap<Identity, Credential>>,
    renewed: Notify,
}

/// What the hub above said.
#[derive(Default)]
struct Known {
    members: HashMap<Identity, Member>,
    /// The number of the question; an answer to an earlier one that comes later is passed over.
    asked: u64,
}

impl Scope {
    /// Starts with the identities that were kept.
    pub fn open(
        own: DeviceId,
        source: Arc<dyn ScopeSource>,
        documents: Arc<Documents>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, DocumentsError> {
        let kept: Vec<(String, Member)> = documents.all(TABLE)?;
        let members = kept.into_iter().map(|(_, member)| (member.record.identity.clone(), member)).collect();
        Ok(Self {
            own,
            source,
            documents,
            clock,
            known: RwLock::new(Known { members, asked: 0 }),
            asked: AtomicU64::new(1),
            refreshed: Mutex::default(),
            proofs: Mutex::default(),
            renewed: Notify::new(),
        })
    }

    /// Checks a client's proof. What looks wrong is checked once more against what the hub above has now.
    pub async fn authenticate(
        &self,
        identity: &Identity,
        credential: &Credential,
        hosts: &[&str],
    ) -> Result<Client, Refusal> {
        let check = self.token_check(hosts);
        let checked = match self.check(identity, credential, check) {
            Err(
                AuthError::Unknown(_)
                | AuthError::Signature(_)
                | AuthError::Disabled(_)
                | AuthError::Thumbprint(_)
                | AuthError::WrongType(_)
                | AuthError::NoCertificate(_)
                | AuthError::Chain(_),
            ) if self.may_refresh(identity) => {
                if let Err(refusal) = self.refresh().await {
                    tracing::debug!(%refusal, "the identities cannot be refreshed");
                }
                self.check(identity, credential, check)
            }
            checked => checked,
        };
        match checked {
            Ok(expires_at) => {
                self.proofs().insert(identity.clone(), credential.clone());
                Ok(Client { identity: identity.clone(), expires_at: Some(expires_at) })
            }
            Err(error) => Err(Refusal::Unauthorized(error.to_string())),
        }
    }

    /// Reads all identities from the hub above.
    pub async fn refresh(&self) -> Result<(), Refusal> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let members = self.source.identities().await?;
        let mut batch = Batch::default();
        let fresh: HashMap<_, _> = members.into_iter().map(|member| (member.record.identity.clone(), member)).collect();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if asked < known.asked {
            return Ok(());
        }
        for gone in known.members.keys().filter(|identity| !fresh.contains_key(*identity)) {
            batch.remove(TABLE, &gone.to_string());
        }
        for (identity, member) in &fresh {
            batch.put(TABLE, &identity.to_string(), member);
        }
        self.documents.write(batch).map_err(|error| Refusal::Unavailable(error.to_string()))?;
        *known = Known { members: fresh, asked };
        drop(known);
        self.renewed.notify_one();
        Ok(())
    }

    /// Waits until the identities have been read from the hub above once more.
    pub async fn renewed(&self) {
        self.renewed.notified().await;
    }

    /// Checks the proofs of all clients once more, against the identities as they are known now. Those whose proof does
    /// not hold any more are returned, and have to prove anew who they are. That a proof's time is over is for who keeps
    /// the connection to know.
    pub fn disproved(&self, hosts: &[&str]) -> Vec<Identity> {
        let check = self.token_check(hosts);
        let mut proofs = self.proofs();
        let gone = proofs.extract_if(|identity, credential| match self.check(identity, credential, check) {
            Ok(_) | Err(AuthError::Token(InvalidToken::Expired) | AuthError::CertificateTime) => false,
            Err(_) => true,
        });
        gone.map(|(identity, _)| identity).collect()
    }

    /// An identity in this scope.
    pub fn find(&self, identity: &Identity) -> Option<Member> {
        self.read().members.get(identity).cloned()
    }

    /// Whether an identity is in this scope and may connect.
    pub fn allows(&self, identity: &Identity) -> bool {
        let known = self.read();
        let enabled = |identity: &Identity| known.members.get(identity).is_some_and(|member| member.record.enabled);
        enabled(identity) && enabled(&Identity::device(identity.device.clone()))
    }

    /// The chain from an identity to this device, `identity;…;device`. Of those that are not known, or are no longer, no
    /// more can be said than that they connected here.
    pub fn chain(&self, identity: &Identity) -> String {
        let mut lineage = family::lineage(identity, |identity| self.find(identity));
        let own = Identity::device(self.own.clone());
        match lineage.iter().position(|member| member.record.identity == own) {
            Some(at) => {
                lineage.truncate(at + 1);
                family::chain(&lineage)
            }
            None => format!("{identity};{}", self.own),
        }
    }

    /// What is in the scope of an edge device below this one, or of this one: itself, its modules, the devices that have
    /// it as their parent.
    pub fn members_of(&self, device: &DeviceId) -> Vec<Member> {
        let Some(own) = self.find(&Identity::device(device.clone())) else { return Vec::new() };
        let known = self.read();
        known.members.values().filter(|member| family::is_member(member, &own)).cloned().collect()
    }

    /// Everybody in this scope.
    pub fn members(&self) -> Vec<Member> {
        self.read().members.values().cloned().collect()
    }

    fn token_check<'a>(&self, hosts: &'a [&'a str]) -> TokenCheck<'a> {
        TokenCheck { hosts, now: self.clock.now_seconds() }
    }

    fn check(&self, identity: &Identity, credential: &Credential, check: TokenCheck<'_>) -> Result<u64, AuthError> {
        match credential {
            Credential::Token(token) => {
                self.check_record(identity, |record, device| check.check(token, record, device))
            }
            // The runtime gives modules tokens and knows no certificates of theirs.
            Credential::Certificate(_) if identity.module.is_some() => Err(AuthError::NoCertificate(identity.clone())),
            Credential::Certificate(certificate) => {
                self.check_record(identity, |record, device| certificate.check(record, device, check.now))
            }
            Credential::OnBehalfOf { token, chain } => {
                let actor = family::actor(chain, identity, |identity| self.find(identity))?;
                // This hub is above the one that acts, so it is none that the chain may end with.
                if actor.device == self.own {
                    return Err(AuthError::Chain(chain.clone()));
                }
                self.check_record(&actor, |record, device| check.check(token, record, device))
            }
        }
    }

    /// Checks against what is registered of an identity, and of its device.
    fn check_record(
        &self,
        identity: &Identity,
        check: impl FnOnce(&IdentityRecord, Option<&IdentityRecord>) -> Result<u64, AuthError>,
    ) -> Result<u64, AuthError> {
        let known = self.read();
        let member = known.members.get(identity).ok_or_else(|| AuthError::Unknown(identity.clone()))?;
        let device = known.members.get(&Identity::device(identity.device.clone()));
        check(&member.record, device.map(|device| &device.record))
    }

    fn may_refresh(&self, identity: &Identity) -> bool {
        let now = self.clock.now();
        let mut refreshed = self.refreshed.lock().unwrap_or_else(PoisonError::into_inner);
        refreshed.retain(|_, last| now - *last < REFRESH_INTERVAL);
        let may = !refreshed.contains_key(identity);
        if may {
            refreshed.insert(identity.clone(), now);
        }
        may
    }

    fn proofs(&self) -> MutexGuard<'_, HashMap<Identity, Credential>> {
        self.proofs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use edgectl_schemas::sas::{SharedKey, encoded_audience, make_token};
    use serde_json::{Value, json};

    use super::*;
    use crate::auth::Authentication;
    use crate::clock::SystemClock;
    use crate::family::SCOPE_SCHEME;

    const HOST: &str = "testiothub.azure-devices.net";

    /// A hub above that answers always the same.
    struct Source(Vec<Member>);

    #[async_trait]
    impl ScopeSource for Source {
        async fn identities(&self) -> Result<Vec<Member>, Refusal> {
            Ok(self.0.clone())
        }
    }

    fn member(identity: &str, key: &str, parent: Option<&str>) -> Member {
        let identity = Identity::parse(identity).unwrap();
        let edge = identity.module.is_none();
        let primary_key = SharedKey::from_bytes(key.as_bytes()).to_base64();
        Member {
            edge,
            scope: edge.then(|| format!("{SCOPE_SCHEME}{}-1", identity.device)),
            parents: parent.map(|parent| format!("{SCOPE_SCHEME}{parent}-1")).into_iter().collect(),
            record: IdentityRecord {
                identity,
                generation_id: "1".into(),
                enabled: true,
                authentication: Authentication::Sas { primary_key, secondary_key: String::new() },
            },
        }
    }

    /// Members of a family in which every identity has its own name as its key, and `changed` another one.
    fn family(changed: Option<(&str, &str)>) -> Vec<Member> {
        let all = [
            ("d1", None),
            ("d1/m1", None),
            ("rootEdge", None),
            ("rootEdge/$edgeHub", None),
            ("parentEdge", Some("rootEdge")),
            ("parentEdge/$edgeHub", None),
            ("childEdge", Some("parentEdge")),
            ("childEdge/$edgeHub", None),
            ("leaf", Some("childEdge")),
        ];
        let key = |id| changed.filter(|(name, _)| *name == id).map_or(id, |(_, key)| key);
        all.into_iter().map(|(id, parent)| member(id, key(id), parent)).collect()
    }

    #[tokio::test]
    async fn the_public_vectors_hold() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/auth.json");
        let Ok(text) = std::fs::read_to_string(&path) else {
            println!("passed over: {} is not there", path.display());
            return;
        };
        let file: Value = serde_json::from_str(&text).unwrap();
        let mut count = 0;
        for vector in file["vectors"].as_array().unwrap() {
            let input = &vector["input"];
            // Nobody is asked for a token again while the connection lasts.
            if vector["op"] != "authenticate_scenario" || input["reauth"] == true {
                continue;
            }
            let text = |name: &str| input[name].as_str();
            let (identity, token_for) = (text("identity").unwrap(), text("tokenFor").unwrap());
            let device = token_for.split('/').next().unwrap();
            let key = match text("key").unwrap() {
                "own" | "actor edgeHub key" => token_for,
                "device" => device,
                other => other,
            };
            let token = make_token(
                &SharedKey::from_bytes(key.as_bytes()),
                &encoded_audience(HOST, &Identity::parse(token_for).unwrap()),
                u64::MAX / 2,
                None,
            );
            let credential = match text("authChain") {
                None => Credential::Token(token),
                Some(chain) => Credential::OnBehalfOf { token, chain: chain.to_owned() },
            };
            let directory = tempfile::tempdir().unwrap();
            let documents = Arc::new(Documents::open(&directory.path().join("documents")).unwrap());
            let source = Source(family(text("afterRefreshKey").map(|key| (identity, key))));
            let own = DeviceId::new("rootEdge").unwrap();
            let scope = Scope::open(own, Arc::new(source), documents, Arc::new(SystemClock)).unwrap();
            let known = family(text("cacheKey").map(|key| (identity, key)));
            scope.known.write().unwrap().members =
                known.into_iter().map(|member| (member.record.identity.clone(), member)).collect();
            let got = scope.authenticate(&Identity::parse(identity).unwrap(), &credential, &[HOST]).await;
            assert_eq!(json!(got.is_ok()), vector["expected"], "{vector} {got:?}");
            count += 1;
        }
        assert!(count > 0);
    }
}
