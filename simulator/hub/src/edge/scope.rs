//! The identities that may connect here: those of this device and of the leaf devices in its scope, as the cloud hub has
//! them, kept for when the cloud cannot be asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use edgectl_schemas::ids::Identity;
use tokio::time::Instant;

use crate::auth::{AuthError, IdentityRecord, TokenCheck};
use crate::documents::{Batch, Documents, DocumentsError, Table};
use crate::gateway::{Client, Credential, Refusal};

const TABLE: Table = Table::new("scope");
/// The cloud hub is asked at most this often because of one client that it may not know.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// Tells which identities are in this device's scope.
#[async_trait]
pub trait ScopeSource: Send + Sync + 'static {
    /// All of them.
    async fn identities(&self) -> Result<Vec<IdentityRecord>, Refusal>;
}

/// The identities, and who asks for them.
pub struct Scope {
    source: Arc<dyn ScopeSource>,
    documents: Arc<Documents>,
    known: RwLock<HashMap<Identity, IdentityRecord>>,
    /// For whom the cloud hub was asked lately, and when.
    refreshed: Mutex<HashMap<Identity, Instant>>,
}

impl Scope {
    /// Starts with the identities that were kept.
    pub fn open(source: Arc<dyn ScopeSource>, documents: Arc<Documents>) -> Result<Self, DocumentsError> {
        let kept: Vec<(String, IdentityRecord)> = documents.all(TABLE)?;
        let known = kept.into_iter().map(|(_, record)| (record.identity.clone(), record)).collect();
        Ok(Self { source, documents, known: RwLock::new(known), refreshed: Mutex::default() })
    }

    /// Checks a client's proof. What looks wrong is checked once more against what the cloud hub has now.
    pub async fn authenticate(
        &self,
        identity: &Identity,
        credential: &Credential,
        hosts: &[&str],
        now: u64,
    ) -> Result<Client, Refusal> {
        let token = match credential {
            Credential::Token(token) => token,
            Credential::Certificate(_) => {
                return Err(Refusal::Unauthorized(format!("{identity} is not registered with a certificate")));
            }
            Credential::OnBehalfOf { .. } => {
                return Err(Refusal::Unauthorized("this hub has no other hub below it".to_owned()));
            }
        };
        let check = TokenCheck { hosts, now };
        let checked = match self.check(identity, token, check) {
            Err(AuthError::Unknown(_) | AuthError::Signature(_) | AuthError::Disabled(_))
                if self.may_refresh(identity) =>
            {
                if let Err(refusal) = self.refresh().await {
                    tracing::debug!(%refusal, "the identities cannot be refreshed");
                }
                self.check(identity, token, check)
            }
            checked => checked,
        };
        match checked {
            Ok(expires_at) => Ok(Client { identity: identity.clone(), expires_at: Some(expires_at) }),
            Err(error) => Err(Refusal::Unauthorized(error.to_string())),
        }
    }

    /// Reads all identities from the cloud hub.
    pub async fn refresh(&self) -> Result<(), Refusal> {
        let records = self.source.identities().await?;
        let mut batch = Batch::default();
        let fresh: HashMap<_, _> = records.into_iter().map(|record| (record.identity.clone(), record)).collect();
        for gone in self.read().keys().filter(|identity| !fresh.contains_key(*identity)) {
            batch.remove(TABLE, &gone.to_string());
        }
        for (identity, record) in &fresh {
            batch.put(TABLE, &identity.to_string(), record);
        }
        self.documents.write(batch).map_err(|error| Refusal::Unavailable(error.to_string()))?;
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    fn check(&self, identity: &Identity, token: &str, check: TokenCheck<'_>) -> Result<u64, AuthError> {
        let known = self.read();
        let record = known.get(identity).ok_or_else(|| AuthError::Unknown(identity.clone()))?;
        check.check(token, record, known.get(&Identity::device(identity.device.clone())))
    }

    fn may_refresh(&self, identity: &Identity) -> bool {
        let mut refreshed = self.refreshed.lock().unwrap_or_else(PoisonError::into_inner);
        refreshed.retain(|_, last| last.elapsed() < REFRESH_INTERVAL);
        let may = !refreshed.contains_key(identity);
        if may {
            refreshed.insert(identity.clone(), Instant::now());
        }
        may
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<Identity, IdentityRecord>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}
