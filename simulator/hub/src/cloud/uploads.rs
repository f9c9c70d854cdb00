//! Files that devices bring to the storage beside the hub: which are under way, and which came.

use std::sync::{Arc, Mutex, PoisonError};

use edgectl_schemas::ids::DeviceId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::held::Held;
use super::records::Records;
use crate::clock::Clock;
use crate::documents::{Documents, DocumentsError, Table};

const TABLE: Table = Table::new("uploads");
const NOTIFICATIONS: Table = Table::new("fileNotifications");
/// Uploads of a device that are under way at the same time, as the service allows.
const MAX_OF_DEVICE: usize = 10;
/// Characters of a file's name, as the storage allows.
const MAX_NAME_CHARACTERS: usize = 1024;
/// An upload that was not ended after this time is over, as its signature is.
pub const TIME_TO_LIVE_MS: u64 = 60 * 60 * 1000;

/// An upload that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Upload {
    /// Who brings it.
    pub device: DeviceId,
    /// The file's name in the storage, which begins with the device's.
    pub blob: String,
    /// When it ends at the latest, milliseconds since the Unix epoch.
    pub expires_ms: u64,
}

/// A file that came, in the service's shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileNotification {
    /// Who brought it.
    pub device_id: DeviceId,
    /// Where it is.
    pub blob_uri: String,
    /// Its name in the storage.
    pub blob_name: String,
    /// When it was last written.
    pub last_updated_time: String,
    /// Its size.
    pub blob_size_in_bytes: u64,
    /// When the device said that it is there.
    pub enqueued_time_utc: String,
}

/// An upload is not begun or ended.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The name cannot be one.
    #[error("{0:?} is not the name of a file: 1 to {MAX_NAME_CHARACTERS} characters, none of them for control")]
    Name(String),
    /// The device has as many under way as it may.
    #[error("{0} has {MAX_OF_DEVICE} uploads under way, which is the most")]
    TooMany(DeviceId),
    /// There is none with this correlation.
    #[error("there is no upload {0}")]
    NotFound(String),
    /// It cannot be read or written.
    #[error(transparent)]
    Documents(#[from] DocumentsError),
}

/// The uploads of one hub.
pub struct Uploads {
    held: Held<Upload>,
    notifications: Records<FileNotification>,
    clock: Arc<dyn Clock>,
    changing: Mutex<()>,
}

impl Uploads {
    /// Loads what is kept in `documents`.
    pub fn open(documents: Arc<Documents>, clock: Arc<dyn Clock>) -> Result<Self, DocumentsError> {
        let notifications = Records::open(Arc::clone(&documents), NOTIFICATIONS, 1)?;
        Ok(Self { held: Held::open(documents, TABLE)?, notifications, clock, changing: Mutex::default() })
    }

    /// Begins an upload. Returns its correlation.
    pub fn begin(&self, device: &DeviceId, name: &str) -> Result<(String, Upload), UploadError> {
        let length = name.chars().count();
        if length == 0 || length > MAX_NAME_CHARACTERS || name.chars().any(char::is_control) {
            return Err(UploadError::Name(name.to_owned()));
        }
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now_ms();
        let all = self.held.entries();
        let over = all.iter().filter(|(_, upload)| upload.expires_ms <= now);
        let mut changes: Vec<(String, Option<Upload>)> = over.map(|(key, _)| (key.clone(), None)).collect();
        let own = all.iter().filter(|(_, upload)| upload.device == *device && upload.expires_ms > now).count();
        if own >= MAX_OF_DEVICE {
            return Err(UploadError::TooMany(device.clone()));
        }
        let upload =
            Upload { device: device.clone(), blob: format!("{device}/{name}"), expires_ms: now + TIME_TO_LIVE_MS };
        let correlation = Uuid::new_v4().to_string();
        changes.push((correlation.clone(), Some(upload.clone())));
        self.held.write(changes)?;
        Ok((correlation, upload))
    }

    /// Ends an upload of a device, whether it succeeded or not.
    pub fn end(&self, device: &DeviceId, correlation: &str) -> Result<Arc<Upload>, UploadError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let found = self.held.get(correlation).filter(|upload| upload.device == *device);
        let upload = found.ok_or_else(|| UploadError::NotFound(correlation.to_owned()))?;
        self.held.write([(correlation.to_owned(), None)])?;
        Ok(upload)
    }

    /// The files that came and of which no service was told yet.
    pub fn notifications(&self) -> &Records<FileNotification> {
        &self.notifications
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hand_clock::HandClock;

    #[test]
    fn uploads_are_counted_and_end_with_their_time() {
        let directory = tempfile::tempdir().unwrap();
        let documents = Arc::new(Documents::open(&directory.path().join("documents")).unwrap());
        let clock = HandClock::begin();
        let uploads = Uploads::open(documents, Arc::clone(&clock) as _).unwrap();
        let device = DeviceId::new("camera").unwrap();
        let (first, upload) = uploads.begin(&device, "a.jpg").unwrap();
        assert_eq!(upload.blob, "camera/a.jpg");
        for number in 1..MAX_OF_DEVICE {
            uploads.begin(&device, &number.to_string()).unwrap();
        }
        assert!(matches!(uploads.begin(&device, "more"), Err(UploadError::TooMany(_))));
        let other = DeviceId::new("other").unwrap();
        assert!(matches!(uploads.end(&other, &first), Err(UploadError::NotFound(_))));
        assert_eq!(uploads.end(&device, &first).unwrap().blob, "camera/a.jpg");
        assert!(matches!(uploads.end(&device, &first), Err(UploadError::NotFound(_))));
        uploads.begin(&device, "more").unwrap();
        clock.advance(std::time::Duration::from_millis(TIME_TO_LIVE_MS));
        uploads.begin(&device, "later").unwrap();
        assert!(matches!(uploads.begin(&device, ""), Err(UploadError::Name(_))));
    }
}
