//! What the commands that start, or talk to, a running device share.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use edgectl_simulator::above::Parent;
use edgectl_simulator::address::DeviceAddress;
use edgectl_simulator::builtin::catalog::Builtin;
use edgectl_simulator::containers::ContainerOptions;
use edgectl_simulator::control::{self, ControlError, Request};
use edgectl_simulator::custom_endpoints::delivery::CustomEndpoints;
use edgectl_simulator::custom_endpoints::event::ReceivedEvent;
use edgectl_simulator::device::{DeviceError, DeviceOptions};
use edgectl_simulator::ports::PortsError;
use edgectl_simulator::profile::architecture::Architecture;
use edgectl_simulator::runtime::docker::engine::{EngineError, EngineHost};
use edgectl_simulator::runtime::process::{ImageLookup, ProcessImage};
use edgectl_simulator::state::{StateDirectory, StateError};
use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::commands::internal;
use crate::error::{CommandError, ErrorKind, chain};
use crate::image::records;
use crate::service::access;
use crate::settings::Context;
use crate::solution::profile;
use crate::solution::solution::Solution;

/// How long a device may take to stop: modules have ten seconds to end by themselves.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// What a module's process gets of the user's environment.
const BASE_ENVIRONMENT: [&str; 6] = ["PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ"];

/// Runs asynchronous work to its end.
pub fn block_on<T>(work: impl Future<Output = T>) -> Result<T, CommandError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| CommandError::failed(format!("could not start: {error}")))?;
    let result = runtime.block_on(work);
    // A name look-up or a file operation that hangs must not hold the end up.
    runtime.shutdown_timeout(Duration::from_millis(100));
    Ok(result)
}

/// Runs work that a signal ends at once.
pub fn block_on_until_signal<T>(work: impl Future<Output = Result<T, CommandError>>) -> Result<T, CommandError> {
    block_on(async {
        let mut signals = Signals::listen()?;
        tokio::select! {
            done = work => done,
            signal = signals.next() => Err(signal),
        }
    })?
}

/// Sends what the simulator logs to standard error.
pub fn start_logging(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    let own = ["edgectl", "edgectl_simulator", "edgectl_hub"].map(|room| (room, level));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let logging = tracing_subscriber::registry().with(lines.with_filter(Targets::new().with_targets(own)));
    // A second start in one process keeps the first one's settings.
    let _ = logging.try_init();
}

/// The options of a solution's device.
pub fn options(
    solution: &Solution,
    context: &Context,
    address: Option<&str>,
    builtins: bool,
    parent: Option<Parent>,
) -> Result<DeviceOptions, CommandError> {
    let address = self::address(address)?;
    let program = context.settings.program.clone();
    let environment = &context.settings.environment;
    let base_environment =
        BASE_ENVIRONMENT.iter().filter_map(|name| Some(((*name).into(), environment.get(*name)?.into()))).collect();
    Ok(DeviceOptions {
        device: solution.device.clone(),
        state: solution.device_state(),
        preferred: DeviceAddress::preferred(&solution.address_key()),
        address,
        launcher: vec![program.clone().into(), internal::NAME.into(), internal::EXEC.into()],
        base_environment,
        images: image_lookup(&solution.state(), &program, builtins),
        runtime: solution.runtime,
        containers: container_options(context)?,
        parent,
        durability: solution.durability,
        profile: match &solution.profile {
            Some(name) => profile::resolve(name, &solution.root, solution)?,
            None => None,
        },
        custom_endpoints: custom_endpoints(solution, None),
        metrics_port: None,
    })
}

/// What the solution says of the cloud hub's endpoints; `printed` prints what goes to standard output.
pub fn custom_endpoints(solution: &Solution, printed: Option<mpsc::Sender<ReceivedEvent>>) -> CustomEndpoints {
    CustomEndpoints { settings: solution.hub.clone(), root: solution.root.clone(), printed }
}

/// Reads an address.
pub fn address(text: Option<&str>) -> Result<Option<DeviceAddress>, CommandError> {
    let read = |text| {
        DeviceAddress::from_gateway(text).ok_or_else(|| {
            CommandError::usage(format!("{text} is not an address for a device"))
                .hint("Give 127.0.N.1 with N from 1 to 254.")
        })
    };
    text.map(read).transpose()
}

fn container_options(context: &Context) -> Result<ContainerOptions, CommandError> {
    let settings = &context.settings;
    let host = match &settings.engine_host {
        Some(text) => text.parse().map_err(|error| with_hint(CommandError::usage, &error))?,
        None => EngineHost::default(),
    };
    Ok(ContainerOptions { host, settings: settings.engine_config.clone(), is_restricted: false })
}

/// What is the matter with the container engine.
pub fn with_hint(kind: fn(String) -> CommandError, error: &EngineError) -> CommandError {
    let told = kind(error.to_string());
    match error.hint() {
        Some(hint) => told.hint(hint),
        None => told,
    }
}

/// How an image becomes a process: what `edgectl build` made, or a built-in stand-in.
fn image_lookup(state: &Path, program: &Path, builtins: bool) -> ImageLookup {
    let (state, program) = (state.to_owned(), program.to_owned());
    Arc::new(move |image| {
        if let Some(record) = records::lookup(&state, image) {
            return Some(process_image(record));
        }
        let builtin = builtins.then(|| Builtin::for_image(image)).flatten()?;
        let argv = vec![program.clone().into(), internal::NAME.into(), internal::BUILTIN.into(), builtin.word().into()];
        Some(ProcessImage {
            argv,
            folder: std::path::PathBuf::from("/"),
            env: std::collections::BTreeMap::new(),
            description: format!("built-in {}", builtin.word()),
            hash: None,
            architecture: None,
        })
    })
}

fn process_image(record: records::ImageRecord) -> ProcessImage {
    ProcessImage {
        description: format!("built from {}", record.module),
        argv: record.argv.into_iter().map(Into::into).collect(),
        folder: record.cwd,
        env: record.env,
        hash: Some(record.digest),
        architecture: Architecture::of_platform(&record.platform),
    }
}

/// Why a device did not start.
pub fn start_error(error: DeviceError) -> CommandError {
    let text = chain(&error);
    match error {
        DeviceError::State(error) => state_error(error),
        DeviceError::Ports(PortsError::Bind(_)) => CommandError::failed(text)
            .hint("Stop what listens there, or choose another address with `edgectl sim up --address 127.0.N.1`."),
        DeviceError::Ports(PortsError::NoAddress { .. }) => {
            CommandError::failed(text).hint("Stop what listens at port 8883 of all addresses, or give --address.")
        }
        DeviceError::Engine(error) => with_hint(CommandError::missing, &error)
            .hint("Modules that are built here, or built in, run without an engine: `--runtime process`."),
        DeviceError::Shards(_) => CommandError::failed(text).hint(
            "Where an image is missing, `edgectl fleet image` makes one that the nodes can pull; else -v tells more.",
        ),
        _ => CommandError::failed(text).hint(access::START_AFRESH),
    }
}

/// What is the matter with the state directory.
pub fn state_error(error: StateError) -> CommandError {
    match error {
        StateError::Running { .. } => CommandError::failed(error.to_string())
            .hint("Run `edgectl status` to see it, or `edgectl sim down` to stop it."),
        StateError::Io { .. } | StateError::Foreign(_) => CommandError::failed(error.to_string()),
        StateError::Damaged { .. } => access::damaged(error),
    }
}

/// Asks the running device for one result.
pub async fn ask(state: &StateDirectory, request: &Request) -> Result<Value, ControlError> {
    control::ask(&state.control_socket(), request).await?.result().await
}

/// Why a device did not answer.
pub fn control_error(error: ControlError) -> CommandError {
    match error {
        ControlError::NotRunning => access::no_device(),
        ControlError::Failed(message) => CommandError::failed(message),
        ControlError::Interrupted | ControlError::Io { .. } => CommandError::failed(error.to_string()),
    }
}

/// Waits until no device holds the state directory any more.
pub fn wait_until_gone(state: &StateDirectory) -> Result<(), CommandError> {
    let deadline = Instant::now() + STOP_TIMEOUT;
    while access::is_running(state) {
        if Instant::now() > deadline {
            return Err(CommandError::new(ErrorKind::TimedOut, "the simulated device has not stopped yet"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// The signals that end a command.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From now on signals are heard here and do not end the process by themselves.
    pub fn listen() -> Result<Self, CommandError> {
        let listen = |kind| signal(kind).map_err(|error| CommandError::failed(format!("signals: {error}")));
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Waits for a signal; the error says how the command ends.
    pub async fn next(&mut self) -> CommandError {
        tokio::select! {
            _ = self.interrupt.recv() => CommandError::shown(ErrorKind::Interrupted),
            _ = self.terminate.recv() => CommandError::shown(ErrorKind::Terminated),
        }
    }
}
