//! Who is connected to a hub, and what each client has subscribed to, also while it is away.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use edgectl_schemas::ids::Identity;
use tokio::sync::watch;

use crate::documents::{Documents, DocumentsError, Table};
use crate::gateway::{Attachment, Client, ClientLink, CloseReason, Feature, SessionKind};

const TABLE: Table = Table::new("sessions");

/// The sessions of one hub.
pub struct Sessions {
    documents: Arc<Documents>,
    inner: Mutex<HashMap<Identity, Session>>,
    number: AtomicU64,
    /// Counts changes, for those who wait for one.
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct Session {
    connection: Option<Connection>,
    features: BTreeSet<Feature>,
    persistent: bool,
}

struct Connection {
    number: u64,
    link: Arc<dyn ClientLink>,
}

impl Sessions {
    /// Loads the persistent sessions that are kept in `documents`.
    pub fn open(documents: Arc<Documents>) -> Result<Self, DocumentsError> {
        let kept: Vec<(String, BTreeSet<Feature>)> = documents.all(TABLE)?;
        let sessions = kept.into_iter().filter_map(|(key, features)| {
            Some((Identity::parse(&key).ok()?, Session { features, persistent: true, connection: None }))
        });
        Ok(Self {
            inner: Mutex::new(sessions.collect()),
            documents,
            number: AtomicU64::new(1),
            changes: watch::Sender::new(0),
        })
    }

    /// Connects a client, and closes the connection it had.
    pub fn attach(
        &self,
        client: &Client,
        kind: SessionKind,
        link: Arc<dyn ClientLink>,
    ) -> Result<Attachment, DocumentsError> {
        let key = client.identity.to_string();
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let (old, attachment) = {
            let mut inner = self.lock();
            let session = inner.entry(client.identity.clone()).or_default();
            let session_present = session.persistent && kind == SessionKind::Persistent;
            if !session_present {
                session.features.clear();
            }
            let was_persistent = std::mem::replace(&mut session.persistent, kind == SessionKind::Persistent);
            let old = session.connection.replace(Connection { number, link });
            if !session_present {
                match kind {
                    SessionKind::Persistent => self.documents.put(TABLE, &key, &session.features)?,
                    SessionKind::Clean if was_persistent => self.documents.remove(TABLE, &key)?,
                    SessionKind::Clean => {}
                }
            }
            let features = session.features.iter().copied().collect();
            (old, Attachment { client: client.clone(), number, session_present, features })
        };
        if let Some(old) = old {
            old.link.close(CloseReason::TakenOver);
        }
        self.changed();
        Ok(attachment)
    }

    /// Ends a connection. False if another one of the identity took over.
    pub fn detach(&self, attachment: &Attachment) -> bool {
        let identity = &attachment.client.identity;
        {
            let mut inner = self.lock();
            let Some(session) = inner.get_mut(identity) else { return false };
            if session.connection.as_ref().is_none_or(|connection| connection.number != attachment.number) {
                return false;
            }
            session.connection = None;
            if !session.persistent {
                inner.remove(identity);
            }
        }
        self.changed();
        true
    }

    /// Starts a feature. False if the connection is not the client's any more.
    pub fn subscribe(&self, attachment: &Attachment, feature: Feature) -> Result<bool, DocumentsError> {
        self.change_features(attachment, |features| features.insert(feature))
    }

    /// Ends a feature. False if the connection is not the client's any more.
    pub fn unsubscribe(&self, attachment: &Attachment, feature: Feature) -> Result<bool, DocumentsError> {
        self.change_features(attachment, |features| features.remove(&feature))
    }

    fn change_features(
        &self,
        attachment: &Attachment,
        change: impl FnOnce(&mut BTreeSet<Feature>) -> bool,
    ) -> Result<bool, DocumentsError> {
        {
            let mut inner = self.lock();
            let Some(session) = inner.get_mut(&attachment.client.identity) else { return Ok(false) };
            if session.connection.as_ref().is_none_or(|connection| connection.number != attachment.number) {
                return Ok(false);
            }
            if change(&mut session.features) && session.persistent {
                self.documents.put(TABLE, &attachment.client.identity.to_string(), &session.features)?;
            }
        }
        self.changed();
        Ok(true)
    }

    /// The link to a client, if it is connected and has subscribed to the feature.
    pub fn link(&self, identity: &Identity, feature: Feature) -> Option<Arc<dyn ClientLink>> {
        let inner = self.lock();
        let session = inner.get(identity)?;
        let connection = session.connection.as_ref()?;
        session.features.contains(&feature).then(|| Arc::clone(&connection.link))
    }

    /// Waits until a client is connected and has subscribed to the feature.
    pub async fn wait_for(&self, identity: &Identity, feature: Feature) -> Arc<dyn ClientLink> {
        let mut changes = self.changes.subscribe();
        loop {
            if let Some(link) = self.link(identity, feature) {
                return link;
            }
            // The sender lives as long as `self`.
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// What a client has subscribed to; none if it is not connected.
    pub fn features(&self, identity: &Identity) -> Option<BTreeSet<Feature>> {
        let inner = self.lock();
        let session = inner.get(identity)?;
        session.connection.as_ref().map(|_| session.features.clone())
    }

    /// Whether the client is connected, whatever it has subscribed to.
    pub fn is_connected(&self, identity: &Identity) -> bool {
        self.lock().get(identity).is_some_and(|session| session.connection.is_some())
    }

    /// Whether this connection is still the client's.
    pub fn is_attached(&self, attachment: &Attachment) -> bool {
        let inner = self.lock();
        let connection = inner.get(&attachment.client.identity).and_then(|session| session.connection.as_ref());
        connection.is_some_and(|connection| connection.number == attachment.number)
    }

    /// All connected clients.
    pub fn connected(&self) -> Vec<Identity> {
        let mut connected: Vec<_> = self
            .lock()
            .iter()
            .filter(|(_, session)| session.connection.is_some())
            .map(|(identity, _)| identity.clone())
            .collect();
        connected.sort();
        connected
    }

    /// Forgets a client and closes its connection, because its identity is gone or disabled.
    pub fn evict(&self, identity: &Identity) -> Result<(), DocumentsError> {
        let session = self.lock().remove(identity);
        self.documents.remove(TABLE, &identity.to_string())?;
        if let Some(connection) = session.and_then(|session| session.connection) {
            connection.link.close(CloseReason::Unauthorized);
        }
        self.changed();
        Ok(())
    }

    /// Closes a client's connection, if it has one. What it has subscribed to is kept.
    pub fn disconnect(&self, identity: &Identity, reason: CloseReason) {
        let link = {
            let inner = self.lock();
            let connection = inner.get(identity).and_then(|session| session.connection.as_ref());
            connection.map(|connection| Arc::clone(&connection.link))
        };
        if let Some(link) = link {
            link.close(reason);
        }
    }

    /// Closes all connections.
    pub fn close_all(&self, reason: CloseReason) {
        let links: Vec<_> = self
            .lock()
            .values()
            .filter_map(|session| session.connection.as_ref())
            .map(|connection| Arc::clone(&connection.link))
            .collect();
        for link in links {
            link.close(reason);
        }
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Identity, Session>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use async_trait::async_trait;
    use serde_json::Value;

    use super::*;
    use crate::gateway::{Delivery, LinkClosed};
    use crate::method::{MethodRequest, MethodResponse};
    use crate::receipt::Receipt;

    #[derive(Default)]
    struct Link {
        closed: AtomicBool,
    }

    #[async_trait]
    impl ClientLink for Link {
        fn deliver(&self, _: Vec<(Delivery, Receipt)>) {}
        async fn desired_changed(&self, _: Value) -> Result<(), LinkClosed> {
            Err(LinkClosed)
        }
        async fn invoke(&self, _: MethodRequest) -> Result<MethodResponse, LinkClosed> {
            Err(LinkClosed)
        }
        fn close(&self, _: CloseReason) {
            self.closed.store(true, Ordering::SeqCst);
        }
    }

    fn client() -> Client {
        Client { identity: Identity::parse("edge/filter").unwrap(), expires_at: None }
    }

    fn sessions(directory: &tempfile::TempDir) -> Sessions {
        Sessions::open(Arc::new(Documents::open(&directory.path().join("documents")).unwrap())).unwrap()
    }

    #[test]
    fn a_persistent_session_outlives_connection_and_process() {
        let directory = tempfile::tempdir().unwrap();
        let first = sessions(&directory);
        let attachment = first.attach(&client(), SessionKind::Persistent, Arc::new(Link::default())).unwrap();
        assert!(!attachment.session_present);
        assert!(first.subscribe(&attachment, Feature::Inputs).unwrap());
        assert!(first.detach(&attachment));
        drop(first);

        let second = sessions(&directory);
        assert!(second.link(&client().identity, Feature::Inputs).is_none());
        let attachment = second.attach(&client(), SessionKind::Persistent, Arc::new(Link::default())).unwrap();
        assert_eq!((attachment.session_present, attachment.features), (true, vec![Feature::Inputs]));
        assert!(second.link(&client().identity, Feature::Inputs).is_some());
    }

    #[test]
    fn a_clean_session_forgets() {
        let directory = tempfile::tempdir().unwrap();
        let sessions = sessions(&directory);
        let old = sessions.attach(&client(), SessionKind::Persistent, Arc::new(Link::default())).unwrap();
        sessions.subscribe(&old, Feature::Methods).unwrap();
        let clean = sessions.attach(&client(), SessionKind::Clean, Arc::new(Link::default())).unwrap();
        assert!(!clean.session_present && clean.features.is_empty());
        sessions.detach(&clean);
        let again = sessions.attach(&client(), SessionKind::Persistent, Arc::new(Link::default())).unwrap();
        assert!(!again.session_present);
    }

    #[test]
    fn a_second_connection_takes_over() {
        let directory = tempfile::tempdir().unwrap();
        let sessions = sessions(&directory);
        let link = Arc::new(Link::default());
        let first = sessions.attach(&client(), SessionKind::Persistent, link.clone()).unwrap();
        let second = sessions.attach(&client(), SessionKind::Persistent, Arc::new(Link::default())).unwrap();
        assert!(link.closed.load(Ordering::SeqCst));
        assert!(!sessions.subscribe(&first, Feature::Inputs).unwrap());
        assert!(!sessions.detach(&first));
        assert!(sessions.is_attached(&second));
    }

    #[tokio::test]
    async fn who_waits_is_told_when_the_client_subscribes() {
        let directory = tempfile::tempdir().unwrap();
        let sessions = Arc::new(sessions(&directory));
        let waiting = {
            let sessions = Arc::clone(&sessions);
            tokio::spawn(async move { sessions.wait_for(&client().identity, Feature::Methods).await })
        };
        let attachment = sessions.attach(&client(), SessionKind::Persistent, Arc::new(Link::default())).unwrap();
        sessions.subscribe(&attachment, Feature::Methods).unwrap();
        waiting.await.unwrap();
    }
}
