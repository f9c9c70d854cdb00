//! The listeners of hubs: each connection goes through TLS to the front end of its port, until the shutdown.

use std::sync::Arc;

use edgectl_hub::clock::Clock;
use edgectl_hub::cloud::hub::CloudHub;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::authority::Authority;
use crate::custom_endpoints::settings::Routes;
use crate::frontend::amqp::connection::Hub;
use crate::frontend::http::blobs::{self, Files};
use crate::frontend::http::serve::Door;
use crate::frontend::http::service::{self, Service};
use crate::frontend::service::desk::ServiceDesk;
use crate::frontend::{amqp, http, mqtt};
use crate::listen;
use crate::ports::HubListeners;
use crate::tls::{ServerTls, TlsError};

/// What listeners need.
pub struct Doors {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Whose tasks connections are.
    pub tasks: TaskTracker,
    /// Ends all of them.
    pub shutdown: CancellationToken,
}

impl Doors {
    /// Serves a cloud hub to devices and services, each of its listeners under a name. Routes say what consumers of the
    /// built-in endpoint see.
    pub fn serve_cloud(
        &self,
        cloud: &Arc<CloudHub>,
        listeners: Vec<(String, HubListeners)>,
        authority: &Arc<Authority>,
        files: Files,
        built_in: Routes,
    ) -> Result<(), TlsError> {
        let desk = ServiceDesk::new(cloud, built_in, self.tasks.clone(), self.shutdown.clone());
        let hub = Hub { gateway: Arc::<CloudHub>::clone(cloud), desk: Some(desk) };
        let paths = service::router(Service { hub: Arc::clone(cloud) }).merge(blobs::router(files));
        for (name, listeners) in listeners {
            let tls = ServerTls::new(authority, &[&name], &self.clock)?;
            self.serve(hub.clone(), listeners, &tls, paths.clone());
        }
        Ok(())
    }

    /// Serves a hub over all protocols, and over HTTPS further paths.
    pub fn serve(&self, hub: Hub, listeners: HubListeners, tls: &Arc<ServerTls>, paths: axum::Router) {
        self.serve_mqtt(listeners.mqtt, Arc::clone(tls), &hub);
        self.serve_amqp(listeners.amqp, Arc::clone(tls), hub.clone());
        self.serve_https(listeners.https, Arc::clone(tls), paths, hub);
    }

    fn serve_mqtt(&self, listener: TcpListener, tls: Arc<ServerTls>, hub: &Hub) {
        let (clock, gateway) = (Arc::clone(&self.clock), Arc::clone(&hub.gateway));
        self.tasks.spawn(listen::accept(listener, tls, self.shutdown.clone(), move |stream, certificate, shutdown| {
            mqtt::connection::serve(stream, certificate, Arc::clone(&gateway), Arc::clone(&clock), shutdown)
        }));
    }

    fn serve_amqp(&self, listener: TcpListener, tls: Arc<ServerTls>, hub: Hub) {
        let clock = Arc::clone(&self.clock);
        self.tasks.spawn(listen::accept(listener, tls, self.shutdown.clone(), move |stream, certificate, shutdown| {
            amqp::connection::serve(stream, certificate, hub.clone(), Arc::clone(&clock), shutdown)
        }));
    }

    /// Serves the paths of a hub, what devices ask of it themselves, and `WebSockets` to it.
    fn serve_https(&self, listener: TcpListener, tls: Arc<ServerTls>, paths: axum::Router, hub: Hub) {
        let router = paths.merge(http::device::router(Arc::clone(&hub.gateway)));
        let door = Door { router, hub, clock: Arc::clone(&self.clock) };
        self.tasks.spawn(listen::accept(listener, tls, self.shutdown.clone(), move |stream, certificate, shutdown| {
            http::serve::serve(stream, certificate, door.clone(), shutdown)
        }));
    }
}
