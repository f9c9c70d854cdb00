//! Consumers of the messages of devices: `{entity}/ConsumerGroups/{group}/Partitions/{partition}`, from a place on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use edgectl_hub::cloud::hub::CloudHub;
use edgectl_schemas::sas::decode;
use edgectl_wire::amqp::attach::Attach;
use edgectl_wire::amqp::condition::{ARGUMENT, ErrorCondition, NOT_FOUND, STOLEN};
use edgectl_wire::amqp::value::Value;
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::event_message;
use crate::custom_endpoints::settings::Routes;
use crate::frontend::amqp::desk::LinkEnd;
use crate::frontend::amqp::link::Outbound;

/// Partitions of the endpoint. Messages of one device are in one of them.
pub(super) const PARTITIONS: u32 = 4;
/// Events that are read at once.
const BATCH: usize = 256;
const SELECTOR: &str = "apache.org:selector-filter:string";
const EPOCH: &str = "com.microsoft:epoch";

/// A partition for a group of consumers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct PartitionAddress {
    group: String,
    partition: u32,
}

impl PartitionAddress {
    /// Reads the path of an address.
    pub(super) fn read(path: &str) -> Option<Self> {
        let segments: Vec<&str> = path.split('/').collect();
        // The entity may have a slash of its own.
        let [.., groups, group, partitions, partition] = segments[..] else { return None };
        let fits = groups.eq_ignore_ascii_case("consumergroups") && partitions.eq_ignore_ascii_case("partitions");
        let partition = partition.parse().ok()?;
        fits.then(|| Self { group: decode(group).to_ascii_lowercase(), partition })
    }
}

/// The partition of a device.
pub(super) fn partition_of(device: &str) -> u32 {
    // FNV-1a: the same in every run and on every machine.
    let hash = device.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash % PARTITIONS
}

/// Who consumes what for themselves alone.
#[derive(Default)]
pub(super) struct Consumers {
    owners: Mutex<HashMap<PartitionAddress, Owner>>,
}

struct Owner {
    epoch: i64,
    end: LinkEnd,
    number: u64,
}

/// A consumer of a partition.
pub(super) struct Consumer {
    partition: u32,
    from: From,
    consumers: Arc<Consumers>,
    /// What it owns, and as which owner.
    owned: Option<(PartitionAddress, u64)>,
}

/// Where a consumer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    /// At an event of this number, or the next one there is.
    Number(u64),
    /// Behind all that there are.
    Latest,
    /// Behind this time, milliseconds since the Unix epoch.
    After(i64),
}

impl Consumers {
    /// A consumer begins. One with an epoch has the partition for itself: it ends those with lower ones.
    pub(super) fn begin(
        self: &Arc<Self>,
        address: PartitionAddress,
        attach: &Attach,
        hub: &CloudHub,
        end: LinkEnd,
    ) -> Result<Consumer, ErrorCondition> {
        if address.partition >= PARTITIONS {
            let text = format!("there is no partition {}: they are 0 to {}", address.partition, PARTITIONS - 1);
            return Err(ErrorCondition::new(NOT_FOUND, text));
        }
        let from = match from(attach)? {
            From::Latest => From::Number(*hub.events().next_number().borrow()),
            other => other,
        };
        let partition = address.partition;
        let owned = self.own(address, attach.properties.get(EPOCH).and_then(Value::as_integer), end)?;
        Ok(Consumer { partition, from, consumers: Arc::clone(self), owned })
    }

    fn own(
        &self,
        address: PartitionAddress,
        epoch: Option<i64>,
        end: LinkEnd,
    ) -> Result<Option<(PartitionAddress, u64)>, ErrorCondition> {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        let stolen = |text: String| ErrorCondition::new(STOLEN, text);
        let old = owners.get(&address);
        let Some(epoch) = epoch else {
            return match old {
                None => Ok(None),
                Some(old) => Err(stolen(format!("a consumer with epoch {} has the partition for itself", old.epoch))),
            };
        };
        if let Some(old) = old.filter(|old| old.epoch > epoch) {
            return Err(stolen(format!("a consumer with the higher epoch {} has the partition", old.epoch)));
        }
        let number = old.map_or(0, |old| old.number + 1);
        if let Some(old) = owners.insert(address.clone(), Owner { epoch, end, number }) {
            old.end.end(stolen(format!("a consumer with epoch {epoch} took the partition over")));
        }
        Ok(Some((address, number)))
    }
}

impl Consumer {
    /// Sends the events of the partition until nobody takes them any more.
    pub(super) async fn run(self, hub: Arc<CloudHub>, built_in: Arc<Routes>, line: mpsc::Sender<Outbound>) {
        let mut numbers = hub.events().next_number();
        let (mut next, after) = match self.from {
            From::Number(number) => (number, i64::MIN),
            From::After(time) => (0, time),
            From::Latest => (u64::MAX, i64::MIN),
        };
        loop {
            let events = match hub.events().read(next, BATCH) {
                Ok(events) => events,
                Err(error) => return tracing::error!(%error, "events cannot be read"),
            };
            for event in &events {
                next = event.sequence_number + 1;
                let is_early = millisecond(&event.enqueued_time) <= after;
                if partition_of(&event.device_id) != self.partition || is_early || !built_in.take(event) {
                    continue;
                }
                let message = event_message::write(event, &hub);
                if line.send(Outbound::settled(&message)).await.is_err() {
                    return;
                }
            }
            if events.is_empty() {
                tokio::select! {
                    () = line.closed() => return,
                    changed = numbers.changed() => if changed.is_err() { return },
                }
            }
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let Some((address, number)) = self.owned.take() else { return };
        let mut owners = self.consumers.owners.lock().unwrap_or_else(PoisonError::into_inner);
        if owners.get(&address).is_some_and(|owner| owner.number == number) {
            owners.remove(&address);
        }
    }
}

/// A time as it is kept, in milliseconds since the Unix epoch.
pub(super) fn millisecond(enqueued_time: &str) -> i64 {
    enqueued_time.parse::<Timestamp>().map_or(0, Timestamp::as_millisecond)
}

/// Reads where a consumer wants to begin: `amqp.annotation.x-opt-offset > '17'`. Without a filter at the beginning.
fn from(attach: &Attach) -> Result<From, ErrorCondition> {
    let filter = attach.source.as_ref().and_then(|source| source.filter.get(SELECTOR));
    let text = match filter {
        None => return Ok(From::Number(0)),
        Some(Value::Described(described)) => described.value.as_text(),
        Some(value) => value.as_text(),
    };
    let text = text.unwrap_or_default();
    selected(text).ok_or_else(|| ErrorCondition::new(ARGUMENT, format!("the filter {text:?} is not understood")))
}

fn selected(text: &str) -> Option<From> {
    let (name, rest) = text.trim().split_once(char::is_whitespace)?;
    let (operator, value) = rest.trim().split_once(char::is_whitespace)?;
    let value = value.trim().trim_matches('\'');
    let name = name.strip_prefix("amqp.annotation.x-opt-")?;
    if name == "offset" && value == "@latest" {
        return Some(From::Latest);
    }
    let number: i64 = value.parse().ok()?;
    let number = match operator {
        ">" => number,
        ">=" => number.checked_sub(1)?,
        _ => return None,
    };
    match name {
        "offset" | "sequence-number" => Some(From::Number(u64::try_from(number.checked_add(1)?).unwrap_or(0))),
        // The second is what the command-line extension says.
        "enqueued-time" | "enqueuedtimeutc" => Some(From::After(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_of_the_sdks_are_understood() {
        for (text, expected) in [
            ("amqp.annotation.x-opt-offset > '-1'", Some(From::Number(0))),
            ("amqp.annotation.x-opt-offset > '@latest'", Some(From::Latest)),
            ("amqp.annotation.x-opt-offset >= '7'", Some(From::Number(7))),
            ("amqp.annotation.x-opt-sequence-number > '7'", Some(From::Number(8))),
            ("amqp.annotation.x-opt-enqueued-time > '1700000000000'", Some(From::After(1_700_000_000_000))),
            ("amqp.annotation.x-opt-enqueued-time >= '1700000000000'", Some(From::After(1_699_999_999_999))),
            ("amqp.annotation.x-opt-enqueuedtimeutc > 1700000000000", Some(From::After(1_700_000_000_000))),
            ("amqp.annotation.x-opt-offset < '7'", None),
            ("x > '7'", None),
            ("", None),
        ] {
            assert_eq!(selected(text), expected, "{text}");
        }
    }

    #[test]
    fn addresses_name_a_group_and_a_partition() {
        let read = |path: &str| PartitionAddress::read(path).map(|address| (address.group, address.partition));
        assert_eq!(read("events/ConsumerGroups/$Default/Partitions/3"), Some(("$default".to_owned(), 3)));
        assert_eq!(read("messages/events/consumergroups/own/partitions/0"), Some(("own".to_owned(), 0)));
        assert_eq!(read("events/ConsumerGroups/$Default/Partitions/x"), None);
        assert_eq!(read("events/Partitions/1"), None);
    }
}
