//! How the devices of a fleet are shared out among processes.

use std::ffi::OsString;
use std::net::IpAddr;
use std::sync::Arc;

use clap::ValueEnum as _;
use edgectl_simulator::fleet::fleet::Shards;
use edgectl_simulator::fleet::shards::engine::ShardEngine;
use edgectl_simulator::fleet::shards::processes::{Processes, ShardProgram};
use edgectl_simulator::fleet::shards::swarm::{self, NoSwarm, ORDER_PATH, Swarm};

use super::image;
use crate::commands::device::block_on;
use crate::commands::internal;
use crate::error::{CommandError, ErrorKind};
use crate::image::engine::load::{connect, engine_error};
use crate::settings::Context;
use crate::solution::solution::Solution;

/// Most shards of a fleet.
const MAX_SHARDS: i64 = 256;

/// What runs shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Engine {
    /// Processes of this machine
    Process,
    /// Jobs of the swarm that the container engine manages
    Swarm,
}

/// Shards in place of one process
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Args {
    /// Share the devices out among so many processes, which connect to the cloud hub as devices do [default with --engine
    /// swarm: one for each node]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=MAX_SHARDS))]
    shards: Option<u16>,
    /// What runs the shards [default with --shards: process]
    #[arg(long, value_enum)]
    engine: Option<Engine>,
    /// The address of this machine at which the nodes of the swarm reach the cloud hub [default: the one that the engine is
    /// known by in the swarm]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<IpAddr>,
    /// The image that `edgectl fleet image` made, as the nodes of the swarm pull it; not needed for a swarm of one node
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
}

impl Args {
    /// As they were given.
    pub fn given(&self) -> Vec<String> {
        let engine = self.engine.and_then(|engine| Some(engine.to_possible_value()?.get_name().to_owned()));
        let all = [
            ("shards", self.shards.map(|shards| shards.to_string())),
            ("engine", engine),
            ("listen", self.listen.map(|listen| listen.to_string())),
            ("image", self.image.clone()),
        ];
        all.into_iter().filter_map(|(name, value)| Some(format!("--{name}={}", value?))).collect()
    }

    /// Whether they go together.
    pub fn check(&self) -> Result<(), CommandError> {
        let is_swarm = self.engine == Some(Engine::Swarm);
        let alone = [("--listen", self.listen.is_some()), ("--image", self.image.is_some())];
        match alone.into_iter().find(|(_, is_given)| *is_given && !is_swarm) {
            Some((name, _)) => Err(CommandError::usage(format!("{name} is for shards in a swarm"))
                .hint("Add --engine swarm, or leave it out.")),
            None => Ok(()),
        }
    }

    /// What is to run the devices; none if the fleet's own process does.
    pub fn shards(&self, solution: &Solution, context: &Context) -> Result<Option<Shards>, CommandError> {
        match (self.engine, self.shards) {
            (None, None) => Ok(None),
            (Some(Engine::Swarm), shards) => self.swarm(shards, solution, context).map(Some),
            (_, shards) => {
                let mut arguments = vec![OsString::from(internal::NAME), internal::FLEET_SHARD.into()];
                arguments.extend((0..context.settings.verbose).map(|_| "-v".into()));
                let program = ShardProgram { path: context.settings.program.clone(), arguments };
                let engine: Arc<dyn ShardEngine> = Arc::new(Processes::new(program));
                Ok(Some(Shards { count: shards.unwrap_or(1).into(), engine, listen: None }))
            }
        }
    }

    fn swarm(&self, shards: Option<u16>, solution: &Solution, context: &Context) -> Result<Shards, CommandError> {
        let host = context.settings.engine_host.as_deref();
        let (engine, nodes) = block_on(async {
            let engine = connect(host).await?;
            let nodes = swarm::nodes(&engine).await.map_err(no_swarm)?;
            Ok::<_, CommandError>((engine, nodes))
        })??;
        let image = match &self.image {
            Some(image) => image.clone(),
            None if nodes.count == 1 => image::load(solution, context)?,
            None => {
                return Err(CommandError::usage(format!("the swarm has {} nodes, and only one of them would have the image", nodes.count))
                    .hint("`edgectl fleet image --push REGISTRY/NAME` makes it and sends it where the nodes can pull it; then give that name with --image."));
            }
        };
        let listen = self.listen.or_else(|| nodes.address.parse().ok()).ok_or_else(|| {
            CommandError::usage(format!("the engine is known in its swarm by {:?}, which is no address", nodes.address))
                .hint("Give an address of this machine with --listen.")
        })?;
        let arguments = [internal::NAME, internal::FLEET_SHARD, "--order", ORDER_PATH].map(str::to_owned).to_vec();
        let count = shards.map_or(nodes.count, usize::from);
        let engine: Arc<dyn ShardEngine> = Arc::new(Swarm::new(engine, solution.device_state(), image, arguments));
        Ok(Shards { count, engine, listen: Some(listen) })
    }
}

fn no_swarm(error: NoSwarm) -> CommandError {
    let text = error.to_string();
    match error {
        NoSwarm::Engine(error) => engine_error(error),
        NoSwarm::Alone(_) => CommandError::new(ErrorKind::Missing, text)
            .hint("`docker swarm init` makes one of this engine alone, which others can join."),
        NoSwarm::Worker(_) => CommandError::new(ErrorKind::Missing, text)
            .hint("Set DOCKER_HOST to an engine that does: `docker node ls` works there."),
    }
}
