//! What the management API tells of the machine.

use std::fs;

use serde_json::{Value, json};

use super::service::Management;
use crate::metrics::machine;

impl Management {
    /// What kind of machine it is.
    pub(super) fn system_info() -> Value {
        let kernel = |name: &str| {
            let text = fs::read_to_string(format!("/proc/sys/kernel/{name}"));
            text.map(|text| text.trim().to_owned()).unwrap_or_default()
        };
        let version = env!("CARGO_PKG_VERSION");
        json!({
            "osType": std::env::consts::OS,
            "kernel": kernel("ostype"),
            "kernel_release": kernel("osrelease"),
            "kernel_version": kernel("version"),
            "architecture": std::env::consts::ARCH,
            "version": version,
            // Nobody but its user provisions a simulated device.
            "provisioning": {
                "type": "simulated", "dynamicReprovisioning": false, "alwaysReprovisionOnStartup": false,
            },
            "cpus": std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
            "total_memory": machine::memory().map_or(0, |memory| memory.total),
            "virtualized": "unknown",
            "server_version": version,
        })
    }

    /// What of the machine is used: times in seconds, memory and disks in bytes, the processors in percent since this was
    /// last asked.
    pub(super) fn resources(&self) -> Value {
        let uptime = |seconds: f64| seconds.max(0.0).round();
        let memory = machine::memory();
        let disk = machine::disk(self.requests.state.root()).map(|disk| {
            json!({
                "name": disk.name, "available_space": disk.available, "total_space": disk.total,
                "file_system": disk.filesystem, "file_type": "Unknown",
            })
        });
        json!({
            "host_uptime": machine::uptime_seconds().map(uptime),
            "process_uptime": uptime(jiff::Timestamp::now().duration_since(self.started_at).as_secs_f64()),
            "used_cpu": self.processor_use(),
            "used_ram": memory.map(|memory| memory.used),
            "total_ram": memory.map(|memory| memory.total),
            "disks": disk.into_iter().collect::<Vec<_>>(),
            // Text with JSON in it. Processes are no business of an engine's.
            "docker_stats": "[]",
        })
    }
}
