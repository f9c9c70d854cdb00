//! The keys of module identities, as the workload API needs them.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use edgectl_schemas::sas::SharedKey;

/// The keys of a device's modules. Clones share one ring.
#[derive(Debug, Clone, Default)]
pub struct KeyRing {
    keys: Arc<RwLock<HashMap<String, ModuleKey>>>,
}

#[derive(Debug, Clone)]
struct ModuleKey {
    generation_id: String,
    key: SharedKey,
}

impl KeyRing {
    /// Keeps the key of a module's identity, by the module's identifier at the hub; an older generation is forgotten.
    pub fn insert(&self, module_id: &str, generation_id: &str, key: SharedKey) {
        let key = ModuleKey { generation_id: generation_id.to_owned(), key };
        self.keys.write().unwrap_or_else(PoisonError::into_inner).insert(module_id.to_owned(), key);
    }

    /// Forgets a module's key.
    pub fn remove(&self, module_id: &str) {
        self.keys.write().unwrap_or_else(PoisonError::into_inner).remove(module_id);
    }

    /// The key of a module, if the generation is the current one.
    pub fn find(&self, module_id: &str, generation_id: &str) -> Option<SharedKey> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.get(module_id).filter(|key| key.generation_id == generation_id).map(|key| key.key.clone())
    }
}
