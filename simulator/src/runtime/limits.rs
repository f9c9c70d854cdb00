//! How much of the machine a module may use: what its create options say, in the engine's words.

use std::fmt;

use serde_json::{Map, Value};

/// The period over which use of the processors is counted, microseconds; the kernel's own.
pub(super) const CPU_PERIOD: u64 = 100_000;

/// Most of what a module may use; none of what is not limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Limits {
    /// Bytes of memory.
    pub(super) memory: Option<u64>,
    /// Microseconds of processor time in each [`CPU_PERIOD`].
    pub(super) cpu: Option<u64>,
    /// Processes and threads.
    pub(super) pids: Option<u64>,
}

impl Limits {
    /// The limits of `HostConfig`: `Memory`, `NanoCpus` or `CpuQuota` and `CpuPeriod`, `PidsLimit`. Zero and below is no limit.
    pub(super) fn read(create_options: &Map<String, Value>) -> Self {
        let host = create_options.get("HostConfig");
        let number = |name: &str| host?.get(name)?.as_u64().filter(|number| *number > 0);
        let quota = || Some(number("CpuQuota")? * CPU_PERIOD / number("CpuPeriod").unwrap_or(CPU_PERIOD));
        Self {
            memory: number("Memory"),
            cpu: number("NanoCpus").map(|nano| nano / (1_000_000_000 / CPU_PERIOD)).or_else(quota),
            pids: number("PidsLimit"),
        }
    }

    /// Whether nothing is limited.
    pub(super) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory = self.memory.map(|bytes| format!("{} MiB of memory", bytes.div_ceil(1024 * 1024)));
        let hundredths = |quota| quota * 100 / CPU_PERIOD;
        let cpu =
            self.cpu.map(hundredths).map(|hundredths| format!("{}.{:02} cores", hundredths / 100, hundredths % 100));
        let pids = self.pids.map(|pids| format!("{pids} processes"));
        let parts: Vec<String> = memory.into_iter().chain(cpu).chain(pids).collect();
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_engines_words_are_understood() {
        let read = |host: Value| Limits::read(json!({ "HostConfig": host }).as_object().unwrap());
        let limits = read(json!({ "Memory": 67_108_864, "NanoCpus": 500_000_000, "PidsLimit": 20 }));
        assert_eq!(limits, Limits { memory: Some(67_108_864), cpu: Some(50_000), pids: Some(20) });
        assert_eq!(limits.to_string(), "64 MiB of memory, 0.50 cores, 20 processes");
        assert_eq!(read(json!({ "CpuQuota": 40_000, "CpuPeriod": 20_000 })).cpu, Some(200_000));
        assert!(read(json!({ "Memory": 0, "PidsLimit": -1, "NanoCpus": null })).is_none());
        assert!(Limits::read(&Map::new()).is_none());
    }
}
