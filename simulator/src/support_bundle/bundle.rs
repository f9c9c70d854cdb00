//! Gathers what a bundle holds. Each part is passed through the [`Redactor`] on its way into the archive.

use std::collections::VecDeque;
use std::io::{Cursor, Read as _, Seek as _, SeekFrom, Write as _};

use edgectl_hub::auth::Authentication;
use edgectl_hub::family::Member;
use edgectl_hub::metrics::text;
use edgectl_schemas::ids::{Identity, ModuleId};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::{Value, json};
use zip::write::{SimpleFileOptions, ZipWriter};

use crate::agent::deployment::{EDGE_AGENT, EDGE_HUB};
use crate::agent::environment::module_id;
use crate::agent::methods::uploads::BundleRequest;
use crate::redact::{Redactor, secrets_of};
use crate::requests::{DeviceStatus, Requests};
use crate::runtime::module_runtime::LogQuery;
use crate::state::{ServiceAccess, read_json};
use crate::support_bundle::checks::checks;

/// Most bytes of one module's log; the oldest lines are left out.
const MAX_LOG_BYTES: usize = 32 * 1024 * 1024;
/// Most bytes of the device's own log, from its end.
const MAX_OWN_LOG_BYTES: u64 = 4 * 1024 * 1024;

/// A bundle on its way.
struct Bundle {
    archive: ZipWriter<Cursor<Vec<u8>>>,
    entry: SimpleFileOptions,
    redactor: Redactor,
}

impl Bundle {
    fn document(&mut self, name: &str, document: &impl Serialize) -> Result<(), String> {
        let value = serde_json::to_value(document).map_err(|error| error.to_string())?;
        let mut bytes =
            serde_json::to_vec_pretty(&self.redactor.document(&value)).map_err(|error| error.to_string())?;
        bytes.push(b'\n');
        self.add(name, &bytes)
    }

    fn text(&mut self, name: &str, text: &str) -> Result<(), String> {
        let text = self.redactor.text(text);
        self.add(name, text.as_bytes())
    }

    fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), String> {
        let added = self.archive.start_file(name, self.entry).and_then(|()| Ok(self.archive.write_all(bytes)?));
        added.map_err(|error| format!("{name}: {error}"))
    }
}

impl Requests {
    /// Makes a support bundle. What cannot be had is told in its place.
    pub async fn support_bundle(&self, wanted: BundleRequest) -> Result<Vec<u8>, String> {
        let now = Timestamp::now();
        let status = self.status().await?;
        let twins = self.twins(&status).await;
        let redactor = Redactor::new(self.secrets(&twins));
        let mut bundle = Bundle { archive: ZipWriter::new(Cursor::default()), entry: entry_of(now), redactor };
        bundle.document("about.json", &about(now, &wanted))?;
        bundle.document("device.json", &shown(status.clone(), &wanted))?;
        bundle.document("check.json", &checks(&shown(status.clone(), &wanted)))?;
        for (name, twin) in twins.iter().filter(|(name, _)| is_wanted(name, &wanted)) {
            bundle.document(&format!("twins/{}.json", file_name(name)), &without_others(name, twin, &wanted))?;
        }
        for module in status.modules.iter().map(|module| &module.name).filter(|name| is_wanted(name, &wanted)) {
            let inspection = match self.inspect(module).await {
                Ok(inspection) => serde_json::to_value(inspection).map_err(|error| error.to_string())?,
                Err(error) => json!({ "error": error }),
            };
            bundle.document(&format!("inspect/{}.json", file_name(module)), &inspection)?;
        }
        if !wanted.is_runtime_only {
            bundle.text("metrics.txt", &text::write(&self.metrics.families().await))?;
        }
        self.add_logs(&mut bundle, &wanted).await?;
        // Compressing has been done bit by bit; what is left is short.
        Ok(bundle.archive.finish().map_err(|error| error.to_string())?.into_inner())
    }

    async fn add_logs(&self, bundle: &mut Bundle, wanted: &BundleRequest) -> Result<(), String> {
        let states = self.runtime.list().await.map_err(|error| error.to_string())?;
        for module in states.into_iter().map(|state| state.name).filter(|name| is_wanted(name, wanted)) {
            let log = self.log_of(&module, wanted).await.unwrap_or_else(|error| format!("no log: {error}\n"));
            bundle.text(&format!("logs/{}_log.txt", file_name(&module)), &log)?;
        }
        // A device in the foreground prints to its terminal and has none.
        if let Some(log) = own_log(&self.state.log()) {
            bundle.text("logs/device.log", &log)?;
        }
        Ok(())
    }

    async fn log_of(&self, module: &str, wanted: &BundleRequest) -> Result<String, String> {
        let query = LogQuery { tail: None, since: wanted.since, until: wanted.until, follow: false };
        let mut lines = self.runtime.logs(module, query).await.map_err(|error| error.to_string())?;
        let (mut kept, mut bytes) = (VecDeque::new(), 0);
        while let Some(line) = lines.recv().await {
            let line = format!("{} {} {}\n", line.at, line.stream.as_str(), line.text);
            bytes += line.len();
            kept.push_back(line);
            while bytes > MAX_LOG_BYTES {
                bytes -= kept.pop_front().map_or(bytes, |line| line.len());
            }
        }
        Ok(kept.into_iter().collect())
    }

    /// The twins of the runtime's modules and the user's, by the names of the deployment. A device below another one
    /// sees only that of its agent.
    async fn twins(&self, status: &DeviceStatus) -> Vec<(String, Value)> {
        let Some(cloud) = &self.cloud else {
            return vec![(EDGE_AGENT.to_owned(), self.agent_twin().await)];
        };
        let names = [EDGE_AGENT, EDGE_HUB].into_iter().chain(status.modules.iter().map(|module| module.name.as_str()));
        let mut names: Vec<&str> = names.collect();
        names.sort_unstable();
        names.dedup();
        let twin = |name: &str| {
            let module = ModuleId::new(&module_id(name)).map_err(|error| error.to_string())?;
            let twin = cloud.twin_of(&Identity::module(self.device.clone(), module));
            twin.map(|twin| twin.for_device()).map_err(|error| error.to_string())
        };
        let told = |name: &str| twin(name).unwrap_or_else(|error| json!({ "error": error }));
        names.into_iter().map(|name| (name.to_owned(), told(name))).collect()
    }

    /// All secrets that the device knows: keys of identities and of the service, and what the deployment has.
    fn secrets(&self, twins: &[(String, Value)]) -> Vec<String> {
        let mut secrets: Vec<String> = self.edge.scope().members().iter().flat_map(keys).collect();
        if let Some(cloud) = &self.cloud {
            for device in cloud.registry().devices() {
                secrets.extend(keys(&device.member()));
                let modules = cloud.registry().modules(&device.record.identity.device);
                secrets.extend(modules.iter().flat_map(|module| keys(&module.member())));
            }
        }
        if let Ok(Some(access)) = read_json::<ServiceAccess>(&self.state.service()) {
            secrets.push(access.shared_access_key);
        }
        secrets.extend(twins.iter().flat_map(|(_, twin)| secrets_of(twin)));
        secrets
    }
}

fn keys(member: &Member) -> Vec<String> {
    match &member.record.authentication {
        Authentication::Sas { primary_key, secondary_key } => vec![primary_key.clone(), secondary_key.clone()],
        _ => Vec::new(),
    }
}

fn about(now: Timestamp, wanted: &BundleRequest) -> Value {
    json!({
        "edgectl": env!("CARGO_PKG_VERSION"),
        "operatingSystem": std::env::consts::OS,
        "architecture": std::env::consts::ARCH,
        "madeAt": now.to_string(),
        "since": wanted.since.map(|time| time.to_string()),
        "until": wanted.until.map(|time| time.to_string()),
        "edgeRuntimeOnly": wanted.is_runtime_only,
    })
}

fn is_wanted(name: &str, wanted: &BundleRequest) -> bool {
    !wanted.is_runtime_only || matches!(name, EDGE_AGENT | EDGE_HUB)
}

/// The status without the user's modules, where only the runtime is wanted.
fn shown(mut status: DeviceStatus, wanted: &BundleRequest) -> DeviceStatus {
    if wanted.is_runtime_only {
        status.modules.clear();
        status.hub = Value::Null;
    }
    status
}

/// The agent's twin without the user's modules, and the hub's without their names, where only the runtime is wanted.
fn without_others(name: &str, twin: &Value, wanted: &BundleRequest) -> Value {
    let mut twin = twin.clone();
    if wanted.is_runtime_only {
        let parts: &[&str] = if name == EDGE_AGENT { &["modules"] } else { &["routes", "clients"] };
        for section in ["desired", "reported"] {
            if let Some(members) = twin.get_mut(section).and_then(Value::as_object_mut) {
                members.retain(|name, _| !parts.contains(&name.as_str()));
            }
        }
    }
    twin
}

/// How files stand in the archive: written now, for their owner alone.
fn entry_of(now: Timestamp) -> SimpleFileOptions {
    let now = now.to_zoned(TimeZone::UTC).datetime();
    // A clock that stands before 1980 has no form in the format.
    let number = |part: i8| part.unsigned_abs();
    let year = u16::try_from(now.year()).unwrap_or_default();
    let (day, hour) = ((number(now.month()), number(now.day())), (number(now.hour()), number(now.minute())));
    let time = zip::DateTime::from_date_and_time(year, day.0, day.1, hour.0, hour.1, number(now.second()));
    let time = time.unwrap_or_default();
    SimpleFileOptions::default().last_modified_time(time).unix_permissions(0o600)
}

/// A module's name as a file's: nothing of it leads elsewhere.
fn file_name(module: &str) -> String {
    let name: String =
        module.chars().map(|c| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' }).collect();
    if name.trim_matches('.').is_empty() { "_".repeat(name.len().max(1)) } else { name }
}

/// The end of what the device printed; none if there is no such file.
fn own_log(path: &std::path::Path) -> Option<String> {
    let mut file = std::fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MAX_OWN_LOG_BYTES))).ok()?;
    let mut bytes = Vec::new();
    file.take(MAX_OWN_LOG_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_lead_nowhere_else() {
        for (module, expected) in [("filter", "filter"), ("../a", ".._a"), ("..", "__"), ("", "_"), ("a/b\\c", "a_b_c")]
        {
            assert_eq!(file_name(module), expected);
        }
    }
}
