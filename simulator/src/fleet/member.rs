//! One device of a fleet: its own edge hub and agent, as on a device that runs alone, but nothing on disk and no listener.

use std::sync::Arc;
use std::time::Duration;

use edgectl_hub::clock::Clock;
use edgectl_hub::edge::hub::{EdgeHub, EdgeHubOptions};
use edgectl_hub::edge::store::durability::Durability;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::generators::{Behaviour, Generators};
use super::ties::{NO_WORKLOAD_API, Ties};
use crate::agent::methods::method::{AgentIdentity, Methods};
use crate::agent::methods::tasks::BackgroundTasks;
use crate::agent::methods::uploads::Uploads;
use crate::agent::metrics::AgentMetrics;
use crate::agent::reconcile::{Agent, AgentOptions};
use crate::agent::restart::RestartRules;
use crate::agent_link::{AgentLink, STOP_TIMEOUT};
use crate::device::{DeviceError, REPORT_QUEUE, environment, facts_of_agent};

/// The agents of a fleet look at their modules this often; at changes they look at once.
const AGENT_PERIOD: Duration = Duration::from_secs(30);

/// A running device of a fleet.
pub struct Member {
    edge: Arc<EdgeHub>,
    /// Ends the agent, which stops its modules and says so.
    agent: CancellationToken,
    agent_tasks: TaskTracker,
    /// Ends all else.
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Member {
    /// Starts a registered device. The gateway's name is told to its modules.
    pub async fn start(
        ties: Ties,
        gateway_host: &str,
        behaviour: Behaviour,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, DeviceError> {
        let Ties { device, hub_host, upstream, scope, identities, agent, events, reported, tasks, shutdown } = ties;
        let options = EdgeHubOptions {
            device: device.clone(),
            hub_host: hub_host.clone(),
            gateway_host: gateway_host.to_owned(),
            directory: None,
            durability: Durability::Memory,
        };
        let edge = EdgeHub::start(options, upstream, scope, Arc::clone(clock)).await?;
        let runtime = Generators::new(Arc::clone(&edge), device.clone(), behaviour, Arc::clone(clock), tasks.clone());
        let runtime = Arc::new(runtime);

        let (desired, desired_seen) = watch::channel::<Option<Value>>(None);
        let (reports, reports_to_send) = mpsc::channel(REPORT_QUEUE);
        let facts = facts_of_agent(None);
        let metrics = AgentMetrics::new(&hub_host, device.as_str(), &facts, Arc::clone(clock));
        let metrics = Arc::new(metrics);
        let hub = Arc::clone(&edge);
        let options = AgentOptions {
            edge_hub: Box::new(move |environment| hub.set_environment(environment)),
            runtime: Arc::<Generators>::clone(&runtime),
            identities,
            environment: environment(&hub_host, &device, gateway_host, NO_WORKLOAD_API, None),
            facts,
            profile: None,
            rules: RestartRules::default(),
            period: AGENT_PERIOD,
            stop_timeout: STOP_TIMEOUT,
            metrics: Arc::clone(&metrics),
            clock: Arc::clone(clock),
        };
        let running = Agent::new(options, reported);
        let (agent_shutdown, agent_tasks) = (CancellationToken::new(), TaskTracker::new());
        agent_tasks.spawn(running.run(desired_seen, reports, agent_shutdown.clone()));

        let identity = AgentIdentity { hub: hub_host, device: device.to_string() };
        let background = BackgroundTasks::new(tasks.clone(), shutdown.clone(), Arc::clone(clock));
        let no_bundle = Arc::new(|_| {
            let refused = async { Err("devices of a fleet make no support bundles".to_owned()) };
            Box::pin(refused) as futures_util::future::BoxFuture<'static, _>
        });
        let methods =
            Methods { uploads: Uploads::new(identity, runtime, background, no_bundle), stop_timeout: STOP_TIMEOUT };
        let link = AgentLink {
            client: agent,
            desired,
            methods: Arc::new(methods),
            provisioning: None,
            metrics,
            clock: Arc::clone(clock),
        };
        tasks.spawn(link.run(events, reports_to_send, shutdown.clone()));
        Ok(Self { edge, agent: agent_shutdown, agent_tasks, shutdown, tasks })
    }

    /// Stops it with its modules.
    pub async fn stop(self) {
        self.agent.cancel();
        self.agent_tasks.close();
        self.agent_tasks.wait().await;
        self.shutdown.cancel();
        self.edge.stop().await;
        self.tasks.close();
        self.tasks.wait().await;
    }
}
