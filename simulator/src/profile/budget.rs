//! What a deployment wants of a machine against what the machine has.
//!
//! Counted is what create options say: memory and storage that modules may fill cannot be given twice, and are refused;
//! time of processors is shared, so that too much of it all together is a warning. An engine refuses a container that wants
//! more processors than there are.

use serde_json::Value;

use super::amount::Amount;
use super::profile::Profile;
use crate::agent::deployment::{Deployment, ModuleSpecification};
use crate::runtime::limits::{CPU_PERIOD, Limits};
use crate::runtime::module_runtime::ModuleStatus;

/// What is wrong with a deployment for a machine: lower-case fragments that name modules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Excess {
    /// What the machine cannot give.
    pub refused: Vec<String>,
    /// What it can give only for a while.
    pub warned: Vec<String>,
}

/// What one module wants.
struct Demand<'d> {
    name: &'d str,
    memory: Option<u64>,
    /// Microseconds in each period.
    cpu: Option<u64>,
    storage: Option<u64>,
}

/// Compares what the modules that are to run want with what there is.
pub fn check(profile: &Profile, deployment: &Deployment) -> Excess {
    let system = std::iter::once(&deployment.edge_agent).chain(&deployment.edge_hub);
    let running = system.chain(deployment.modules.values()).filter(|module| module.status == ModuleStatus::Running);
    let demands: Vec<Demand<'_>> = running.map(demand).collect();
    let mut excess = Excess::default();
    let name = &profile.name;
    for (what, there_is, of) in [
        ("memory", profile.machine.memory, (|demand| demand.memory) as fn(&Demand<'_>) -> Option<u64>),
        ("storage", profile.machine.storage, |demand| demand.storage),
    ] {
        if let Some((sum, modules)) = over(&demands, of, there_is.0, |bytes| Amount(bytes).to_string()) {
            let wanted = Amount(sum);
            excess
                .refused
                .push(format!("{name} has {there_is} of {what}, and the modules may use {wanted}: {modules}"));
        }
    }
    let quota = u64::from(profile.machine.cores.get()) * CPU_PERIOD;
    let cores = profile.machine.cores;
    for demand in demands.iter().filter(|demand| demand.cpu.is_some_and(|cpu| cpu > quota)) {
        let wanted = shown_cores(demand.cpu.unwrap_or_default());
        excess.refused.push(format!("{name} has {cores} cores, and module {} wants {wanted}", demand.name));
    }
    if excess.refused.is_empty()
        && let Some((sum, modules)) = over(&demands, |demand| demand.cpu, quota, shown_cores)
    {
        let wanted = shown_cores(sum);
        excess.warned.push(format!("{name} has {cores} cores, and the modules may use {wanted} at once: {modules}"));
    }
    excess
}

fn demand(module: &ModuleSpecification) -> Demand<'_> {
    let options = &module.settings.create_options;
    let limits = Limits::read(options);
    let size = options.get("HostConfig").and_then(|host| host.get("StorageOpt")?.get("size")?.as_str().map(storage));
    Demand { name: &module.name, memory: limits.memory, cpu: limits.cpu, storage: size.flatten() }
}

/// `10G`, as engines write it: units of 1024.
fn storage(text: &str) -> Option<u64> {
    let unit = text.trim_end_matches(['b', 'B']);
    let text = if unit.ends_with(|c: char| c.is_ascii_alphabetic()) { format!("{unit}iB") } else { unit.to_owned() };
    Some(text.parse::<Amount>().ok()?.0)
}

/// The sum of what is wanted and who wants how much, most first, if it is more than there is.
fn over(
    demands: &[Demand<'_>],
    of: impl Fn(&Demand<'_>) -> Option<u64>,
    there_is: u64,
    shown: impl Fn(u64) -> String,
) -> Option<(u64, String)> {
    let mut wanted: Vec<(u64, &str)> = demands.iter().filter_map(|demand| Some((of(demand)?, demand.name))).collect();
    let sum = wanted.iter().fold(0_u64, |sum, (number, _)| sum.saturating_add(*number));
    if sum <= there_is {
        return None;
    }
    wanted.sort_by_key(|(number, name)| (std::cmp::Reverse(*number), *name));
    let modules: Vec<String> = wanted.iter().map(|(number, name)| format!("{name} {}", shown(*number))).collect();
    Some((sum, modules.join(", ")))
}

fn shown_cores(cpu: u64) -> String {
    let hundredths = u128::from(cpu) * 100 / u128::from(CPU_PERIOD);
    format!("{}.{:02} cores", hundredths / 100, hundredths % 100)
}

/// What is wrong with desired properties of `$edgeAgent` for a machine. Nothing where they are no deployment: that is told
/// elsewhere.
pub fn check_desired(profile: &Profile, desired: &Value) -> Excess {
    crate::agent::deployment::parse(desired).map(|deployment| check(profile, &deployment)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::profile::catalog::find;

    fn excess(modules: &[(&str, &str, Value)]) -> Excess {
        let modules: serde_json::Map<String, Value> = modules
            .iter()
            .map(|(name, status, host)| {
                let options = json!({ "HostConfig": host }).to_string();
                let settings = json!({ "image": "a:1", "createOptions": options });
                ((*name).to_owned(), json!({ "type": "docker", "status": status, "settings": settings }))
            })
            .collect();
        let agent = json!({ "type": "docker", "settings": { "image": "agent:1", "createOptions": "{}" } });
        check_desired(
            find("raspberry-pi-4").unwrap(),
            &json!({ "schemaVersion": "1.1", "runtime": { "type": "docker" }, "systemModules": { "edgeAgent": agent }, "modules": modules }),
        )
    }

    #[test]
    fn what_fits_is_let_be() {
        assert_eq!(
            excess(&[
                ("a", "running", json!({})),
                ("b", "running", json!({ "Memory": 4_u64 << 30, "NanoCpus": 4_000_000_000_u64 }))
            ]),
            Excess::default()
        );
        // What is to be stopped uses nothing.
        assert_eq!(excess(&[("a", "stopped", json!({ "Memory": 9_u64 << 30 }))]), Excess::default());
    }

    #[test]
    fn what_cannot_be_given_is_refused_with_the_modules_that_want_it() {
        let found = excess(&[
            ("a", "running", json!({ "Memory": 1_u64 << 30 })),
            ("b", "running", json!({ "Memory": 4_u64 << 30 })),
        ]);
        assert_eq!(
            found.refused,
            ["raspberry-pi-4 has 4 GiB of memory, and the modules may use 5 GiB: b 4 GiB, a 1 GiB"]
        );
        let found = excess(&[("a", "running", json!({ "StorageOpt": { "size": "40G" } }))]);
        assert_eq!(found.refused, ["raspberry-pi-4 has 32 GB of storage, and the modules may use 40 GiB: a 40 GiB"]);
        let found = excess(&[("a", "running", json!({ "NanoCpus": 4_500_000_000_u64 }))]);
        assert_eq!(found.refused, ["raspberry-pi-4 has 4 cores, and module a wants 4.50 cores"]);
    }

    #[test]
    fn processors_may_be_shared() {
        let three = json!({ "NanoCpus": 3_000_000_000_u64 });
        let found = excess(&[("a", "running", three.clone()), ("b", "running", three)]);
        assert_eq!((found.refused.len(), found.warned.len()), (0, 1));
        assert!(found.warned[0].ends_with("6.00 cores at once: a 3.00 cores, b 3.00 cores"), "{found:?}");
    }
}
