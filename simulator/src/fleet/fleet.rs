//! A fleet as a whole: the cloud hub, which listens as that of one device does, and the devices behind it.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use edgectl_hub::clock::{Clock, SystemClock};
use edgectl_hub::cloud::hub::CloudHub;
use edgectl_hub::cloud::registry::{Order, Wanted};
use edgectl_hub::cloud::twins::Change;
use edgectl_schemas::ids::{DeviceId, Identity};
use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::generators::Behaviour;
use super::member::Member;
use super::report::report;
use crate::above::{Above, endpoints};
use crate::address::DeviceAddress;
use crate::authority::Authority;
use crate::cloud;
use crate::control::{self, Handler, Request};
use crate::custom_endpoints::delivery::CustomEndpoints;
use crate::device::{DeviceError, Stopped, other, present};
use crate::doors::Doors;
use crate::ports;
use crate::state::{Endpoints, StateDirectory, read_json, write_json};

/// Devices that start or stop at the same time.
const AT_ONCE: usize = 32;
/// Messages a second are counted over so many seconds.
const RATE_SECONDS: usize = 10;

/// What a fleet needs to know.
pub struct FleetOptions {
    /// Its name, which stands where a device's name does.
    pub name: DeviceId,
    /// Where its state lies.
    pub state: StateDirectory,
    /// The addresses it tries first when it has none yet.
    pub preferred: DeviceAddress,
    /// The addresses that it must have.
    pub address: Option<DeviceAddress>,
    /// Its devices.
    pub devices: Vec<DeviceId>,
    /// How their modules behave.
    pub behaviour: Behaviour,
    /// Which share of the devices never connects.
    pub offline: f64,
    /// Tags by chance.
    pub tags: Vec<Tag>,
    /// Where the cloud hub brings what it receives, beside its built-in endpoint.
    pub custom_endpoints: CustomEndpoints,
}

/// A tag that devices get by chance.
#[derive(Debug, Clone, PartialEq)]
pub struct Tag {
    /// Its name; dots lead into objects.
    pub name: String,
    /// Its values, each with its share. Who is in none of the shares does not get the tag.
    pub values: Vec<(String, f64)>,
}

/// A running fleet.
pub struct Fleet {
    endpoints: Endpoints,
    state: StateDirectory,
    cloud: Arc<CloudHub>,
    members: Vec<Member>,
    shutdown: CancellationToken,
    stop_asked: CancellationToken,
    tasks: TaskTracker,
    _lock: std::fs::File,
}

impl Fleet {
    /// Starts a fleet. Returns when its cloud hub listens and all of its devices run.
    pub async fn start(options: FleetOptions) -> Result<Self, DeviceError> {
        let state = options.state.clone();
        state.create()?;
        let lock = state.lock()?;
        let last: Option<Endpoints> = read_json(&state.endpoints())?;
        let last = last.and_then(|endpoints| DeviceAddress::from_gateway(&endpoints.gateway_host_name));
        let listeners = ports::listen(true, options.address, last, options.preferred).await?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let authority = Arc::new(Authority::open(&state.authority(), &options.name, clock.timestamp())?);
        let above = Above::new(&listeners, None)?;
        let endpoints = Endpoints {
            fleet_devices: Some(options.devices.len()),
            ..endpoints(&options.name, &listeners, &above, None, &authority, None)?
        };
        let hub = listeners.hub.ok_or_else(|| other("the cloud hub")(&"it does not listen"))?;
        let (cloud, files) = cloud::open(&state, &endpoints.hub_host_name, &clock)?;
        let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
        options.custom_endpoints.clone().follow(&cloud, &state.cloud(), &tasks, &shutdown);
        register(&cloud, &options)?;
        let doors = Doors { clock: Arc::clone(&clock), tasks: tasks.clone(), shutdown: shutdown.clone() };
        doors.serve_cloud(&cloud, hub, &authority, files)?;

        let seed = options.behaviour.seed;
        let online =
            options.devices.iter().filter(|device| seed.share("offline", &[device.as_str()]) >= options.offline);
        let starts = online.map(|device| Member::start(&cloud, device.clone(), options.behaviour, &endpoints, &clock));
        let started: Vec<_> = stream::iter(starts).buffer_unordered(AT_ONCE).collect().await;
        let members = started.into_iter().collect::<Result<Vec<_>, _>>()?;

        let rate = Arc::new(Rate::default());
        let (counted, watched, ended) = (Arc::clone(&cloud), Arc::clone(&rate), shutdown.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = watched.watch(&counted) => {}
            }
        });
        let stop_asked = CancellationToken::new();
        let requests = Requests {
            cloud: Arc::clone(&cloud),
            name: options.name.to_string(),
            seed: seed.0,
            devices: options.devices,
            rate,
            stop: stop_asked.clone(),
        };
        let control = control::bind(&state.control_socket()).map_err(|error| other("the control socket")(&error))?;
        tasks.spawn(control::serve(control, Arc::new(requests), shutdown.clone()));
        write_json(&state.endpoints(), &endpoints)?;
        Ok(Self { endpoints, state, cloud, members, shutdown, stop_asked, tasks, _lock: lock })
    }

    /// Where the fleet is reached.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Waits until the fleet is asked to stop, or can no longer go on.
    pub async fn stopped(&self) -> Stopped {
        tokio::select! {
            () = self.stop_asked.cancelled() => Stopped::Asked,
            () = present(&self.state) => Stopped::StateRemoved,
        }
    }

    /// Stops all devices, then the cloud hub.
    pub async fn stop(self) {
        stream::iter(self.members).for_each_concurrent(AT_ONCE, Member::stop).await;
        self.cloud.stop().await;
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.state.remove_sockets();
    }
}

/// Registers the devices that are not yet, gives those their tags, and removes those of an earlier, larger fleet.
fn register(cloud: &CloudHub, options: &FleetOptions) -> Result<(), DeviceError> {
    let known = |device: &DeviceId| cloud.registry().get(&Identity::device(device.clone())).is_some();
    let new: Vec<&DeviceId> = options.devices.iter().filter(|device| !known(device)).collect();
    let order = |device: &&DeviceId| Order {
        identity: Identity::device(DeviceId::clone(device)),
        wanted: Wanted { edge: Some(true), ..Wanted::default() },
        condition: None,
    };
    let made = cloud.put_identities(new.iter().map(order).collect());
    for outcome in made.map_err(|error| other("the registry")(&error))? {
        outcome?;
    }
    let tagged: Vec<(Identity, Change)> = new
        .into_iter()
        .map(|device| {
            let tags = tags(options, device);
            (Identity::device(device.clone()), Change { tags: Some(Value::Object(tags)), ..Change::default() })
        })
        .filter(|(_, change)| change.tags.as_ref().and_then(Value::as_object).is_some_and(|tags| !tags.is_empty()))
        .collect();
    cloud.change_many(&tagged).map_err(|error| other("the tags")(&error))?;
    let stem =
        options.devices.first().map_or("", |first| first.as_str().trim_end_matches(|c: char| c.is_ascii_digit()));
    let wanted: HashSet<&DeviceId> = options.devices.iter().collect();
    let is_of_fleet = |name: &str| {
        name.strip_prefix(stem).is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    for registration in cloud.registry().devices() {
        let identity = &registration.record.identity;
        if registration.edge && is_of_fleet(identity.device.as_str()) && !wanted.contains(&identity.device) {
            cloud.remove_identity(identity, None)?;
        }
    }
    Ok(())
}

/// The tags of a device.
fn tags(options: &FleetOptions, device: &DeviceId) -> Map<String, Value> {
    let mut tags = Map::new();
    for tag in &options.tags {
        let mut left = options.behaviour.seed.share(&format!("tag {}", tag.name), &[device.as_str()]);
        let value = tag.values.iter().find(|(_, share)| {
            left -= share;
            left < 0.0
        });
        if let Some((value, _)) = value {
            put(&mut tags, &tag.name, value);
        }
    }
    tags
}

fn put(tags: &mut Map<String, Value>, name: &str, value: &str) {
    match name.split_once('.') {
        None => drop(tags.insert(name.to_owned(), value.into())),
        Some((first, rest)) => {
            let inner = tags.entry(first).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

/// How many messages come a second.
#[derive(Default)]
struct Rate {
    samples: Mutex<VecDeque<(Instant, u64)>>,
}

impl Rate {
    async fn watch(&self, cloud: &CloudHub) {
        loop {
            self.sample(cloud.clock().now(), cloud.events().telemetry());
            cloud.clock().sleep(Duration::from_secs(1)).await;
        }
    }

    fn sample(&self, at: Instant, count: u64) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push_back((at, count));
        if samples.len() > RATE_SECONDS + 1 {
            samples.pop_front();
        }
    }

    fn per_second(&self) -> f64 {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some((begin, first)), Some((end, last))) = (samples.front(), samples.back()) else { return 0.0 };
        let seconds = end.duration_since(*begin).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a number for people")]
        let messages = last.saturating_sub(*first) as f64;
        if seconds > 0.0 { (messages / seconds * 10.0).round() / 10.0 } else { 0.0 }
    }
}

/// What a fleet answers on its control socket.
struct Requests {
    cloud: Arc<CloudHub>,
    name: String,
    seed: u64,
    devices: Vec<DeviceId>,
    rate: Arc<Rate>,
    stop: CancellationToken,
}

#[async_trait]
impl Handler for Requests {
    async fn handle(&self, request: Request, items: mpsc::Sender<Value>) -> Result<Value, String> {
        match request {
            Request::Fleet => {
                let report = report(&self.cloud, &self.name, self.seed, &self.devices, self.rate.per_second());
                serde_json::to_value(report).map_err(|error| error.to_string())
            }
            Request::Events { follow, from } => cloud::events(&self.cloud, from, follow, items).await,
            Request::Stop => {
                self.stop.cancel();
                Ok(Value::Null)
            }
            _ => Err(format!("{} is a fleet, and that is asked of one device: try `edgectl fleet status`", self.name)),
        }
    }
}
