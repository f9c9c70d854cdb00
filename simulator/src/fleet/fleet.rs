//! A fleet as a whole: the cloud hub, which listens as that of one device does, and the devices behind it.

use std::future::ready;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use edgectl_hub::clock::{Clock, SystemClock};
use edgectl_hub::cloud::hub::CloudHub;
use edgectl_schemas::ids::{DeviceId, Identity, ModuleId};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::generators::Behaviour;
use super::members::Members;
use super::registration::{Tag, register};
use super::requests::Requests;
use super::shard::{self, ShardOrder};
use super::shards::engine::ShardEngine;
use super::way;
use crate::above::{Above, endpoints};
use crate::address::DeviceAddress;
use crate::authority::Authority;
use crate::cloud;
use crate::control;
use crate::custom_endpoints::delivery::CustomEndpoints;
use crate::device::{DeviceError, Stopped, other, present};
use crate::doors::Doors;
use crate::ports::{self, PortsError};
use crate::state::{Endpoints, StateDirectory, read_json, write_json};

/// How often it is looked at whether devices have connected, or left.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// So long devices of shards may take to leave.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(20);

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
    /// Other processes for the devices; none for this one.
    pub shards: Option<Shards>,
}

/// Shards in place of devices in the fleet's own process.
pub struct Shards {
    /// How many.
    pub count: usize,
    /// What runs them.
    pub engine: Arc<dyn ShardEngine>,
    /// Where the cloud hub listens for them, beside its own address; none where they reach that.
    pub listen: Option<IpAddr>,
}

/// What runs a fleet's devices.
enum Running {
    Here(Members),
    Shards(Arc<dyn ShardEngine>),
}

/// A running fleet.
pub struct Fleet {
    endpoints: Endpoints,
    state: StateDirectory,
    cloud: Arc<CloudHub>,
    /// The devices that connect.
    online: Vec<DeviceId>,
    running: Running,
    shutdown: CancellationToken,
    stop_asked: CancellationToken,
    tasks: TaskTracker,
    _lock: std::fs::File,
}

impl Fleet {
    /// Starts a fleet. Returns when its cloud hub listens and its devices, or their shards, are started.
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
        let Behaviour { seed, messages, .. } = options.behaviour;
        register(&cloud, &options.devices, &options.tags, seed)?;
        let doors = Doors { clock: Arc::clone(&clock), tasks: tasks.clone(), shutdown: shutdown.clone() };
        let mut hubs = vec![(cloud.host().to_owned(), hub)];
        if let Some(address) = options.shards.as_ref().and_then(|shards| shards.listen) {
            hubs.push((address.to_string(), ports::listen_at_all(address).await.map_err(PortsError::from)?));
        }
        let at = hubs.last().map(|(_, hub)| hub.https.local_addr()).transpose();
        let at = at
            .map_err(|error| other("the cloud hub")(&error))?
            .ok_or_else(|| other("the cloud hub")(&"it does not listen"))?;
        doors.serve_cloud(&cloud, hubs, &authority, files, options.custom_endpoints.settings.built_in())?;

        let online = options.devices.iter().filter(|device| seed.is_online(device, options.offline)).cloned();
        let online: Vec<DeviceId> = online.collect();
        let stop_asked = CancellationToken::new();
        let requests = Requests {
            cloud: Arc::clone(&cloud),
            name: options.name.to_string(),
            behaviour: options.behaviour,
            offline: options.offline,
            devices: options.devices,
            rate: Arc::default(),
            tally: messages.map(|_| Arc::default()),
            done_since: Mutex::default(),
            stop: stop_asked.clone(),
        };
        watch(&requests, &tasks, &shutdown);
        let control = control::bind(&state.control_socket()).map_err(|error| other("the control socket")(&error))?;
        tasks.spawn(control::serve(control, Arc::new(requests), shutdown.clone()));
        // Last, so that nothing can fail any more that would leave shards behind.
        let gateway_host = endpoints.gateway_host_name.clone();
        let running = match options.shards {
            None => {
                let ties = online.iter().map(|device| ready(way::join(&cloud, device.clone()).map_err(Into::into)));
                Running::Here(Members::start(ties, &gateway_host, options.behaviour, &clock).await?)
            }
            Some(Shards { count, engine, .. }) => {
                let order = ShardOrder {
                    hub_host: cloud.host().to_owned(),
                    address: at.ip(),
                    https_port: at.port(),
                    trust_bundle: authority.trust_bundle().to_owned(),
                    gateway_host,
                    behaviour: options.behaviour,
                    devices: Vec::new(),
                };
                shard::open_many_files();
                engine.start(orders(&cloud, &order, &online, count)?).await?;
                Running::Shards(engine)
            }
        };
        Ok(Self { endpoints, state, cloud, online, running, shutdown, stop_asked, tasks, _lock: lock })
    }

    /// Waits until all devices are connected that are to be, and then says where the fleet is reached. Fails when a shard
    /// cannot run.
    pub async fn ready(&self) -> Result<&Endpoints, DeviceError> {
        let is_away = |device: &DeviceId| !self.is_connected(device);
        while let Running::Shards(engine) = &self.running
            && self.online.iter().any(is_away)
        {
            if let Some(trouble) = engine.trouble().await {
                return Err(DeviceError::Shards(trouble));
            }
            self.cloud.clock().sleep(LOOK_INTERVAL).await;
        }
        write_json(&self.state.endpoints(), &self.endpoints)?;
        Ok(&self.endpoints)
    }

    fn is_connected(&self, device: &DeviceId) -> bool {
        self.cloud.is_connected(&Identity::module(device.clone(), ModuleId::edge_agent()))
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
        match &self.running {
            Running::Here(_) => {}
            Running::Shards(engine) => {
                engine.stop().await;
                self.left().await;
            }
        }
        if let Running::Here(members) = self.running {
            members.stop().await;
        }
        self.cloud.stop().await;
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.state.remove_sockets();
    }

    /// Waits until the devices of shards have gone, or had time to.
    async fn left(&self) {
        let clock = self.cloud.clock();
        let deadline = clock.now() + LEAVE_TIMEOUT;
        while clock.now() < deadline && self.online.iter().any(|device| self.is_connected(device)) {
            clock.sleep(LOOK_INTERVAL).await;
        }
    }
}

/// Counts messages until the shutdown.
fn watch(requests: &Requests, tasks: &TaskTracker, shutdown: &CancellationToken) {
    let until_shutdown = |work: BoxFuture<'static, ()>| {
        let shutdown = shutdown.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = work => {}
            }
        });
    };
    let (cloud, rate) = (Arc::clone(&requests.cloud), Arc::clone(&requests.rate));
    if let Some(tally) = &requests.tally {
        let from = *cloud.events().next_number().borrow();
        until_shutdown(Arc::clone(tally).follow(Arc::clone(&cloud), from).boxed());
    }
    until_shutdown(async move { rate.watch(&cloud).await }.boxed());
}

/// What the shards have to know: all of them have some of the devices, with their keys.
fn orders(
    cloud: &CloudHub,
    order: &ShardOrder,
    devices: &[DeviceId],
    count: usize,
) -> Result<Vec<ShardOrder>, DeviceError> {
    let keyed = |device: &DeviceId| {
        let registration = cloud.registry().get(&Identity::device(device.clone()));
        let key = registration.and_then(|found| found.record.keys().into_iter().next());
        let key = key.ok_or_else(|| other("a shard")(&format!("{device} has no key")))?;
        Ok((device.clone(), key.to_base64()))
    };
    let part = devices.len().div_ceil(count).max(1);
    let parts = devices.chunks(part).map(|devices| {
        let devices = devices.iter().map(keyed).collect::<Result<_, DeviceError>>()?;
        Ok(ShardOrder { devices, ..order.clone() })
    });
    parts.collect()
}
