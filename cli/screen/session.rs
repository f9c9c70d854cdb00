//! The screen at work: news of the device come in, keys come in, and the screen is drawn after each.

use std::sync::Arc;
use std::time::Duration;

use edgectl_simulator::control::{self, ControlError, Next, Request};
use edgectl_simulator::link::Conditions;
use edgectl_simulator::state::StateDirectory;
use serde_json::Value;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use super::look::look;
use super::state::{LogLine, News, Screen, View, Wish};
use super::terminal::{Input, Taken, inputs};
use super::theme::Theme;
use super::view::frame;
use crate::commands::device::{Signals, ask, control_error};
use crate::commands::target;
use crate::error::{CommandError, ErrorKind};
use crate::service::access;
use crate::service::client::ServiceClient;
use crate::solution::solution::Solution;

/// How often the device is looked at.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);
/// News that wait to be shown; who has more waits.
const QUEUE: usize = 256;
/// Of each module so many lines that it printed before.
const TAIL: usize = 100;

/// Shows a running device until somebody leaves the screen, or the device is gone.
pub async fn run(solution: &Solution, view: View, color: bool) -> Result<(), CommandError> {
    let mut signals = Signals::listen()?;
    let state = solution.device_state();
    let mut screen = Screen::new(view, Theme { color });
    // Who has no device sees that as an error, and no screen.
    screen.take(News::Look(Box::new(look(&state).await.map_err(control_error)?)));
    let mut watchers = Watchers::start(solution);
    let mut taken = Taken::take().map_err(|error| CommandError::failed(format!("the terminal: {error}")))?;
    let mut inputs = inputs();
    loop {
        watchers.show_twin(screen.wanted_twin());
        taken
            .terminal
            .draw(|area| frame::draw(area, &screen))
            .map_err(|error| CommandError::failed(format!("the terminal: {error}")))?;
        let mut news = Vec::new();
        tokio::select! {
            input = inputs.recv() => match input {
                None => return Err(CommandError::failed("the terminal is gone")),
                Some(Input::Resized) => {}
                Some(Input::Key(key)) => match screen.press(key) {
                    None => {}
                    Some(Wish::Leave) => return Ok(()),
                    Some(Wish::Interrupt) => return Err(CommandError::shown(ErrorKind::Interrupted)),
                    Some(Wish::Network(conditions)) => watchers.set_network(conditions),
                }
            },
            _ = watchers.news.recv_many(&mut news, QUEUE) => {
                for news in news {
                    if let News::Gone(why) = news {
                        return Err(CommandError::failed(why));
                    }
                    screen.take(news);
                }
            }
            signal = signals.next() => return Err(signal),
        }
    }
}

/// Those who ask the device; they end when this is dropped.
struct Watchers {
    news: mpsc::Receiver<News>,
    sender: mpsc::Sender<News>,
    twin: watch::Sender<Option<String>>,
    /// Look now, and not only when it is time.
    hurry: Arc<Notify>,
    state: StateDirectory,
    tasks: JoinSet<()>,
}

impl Watchers {
    fn start(solution: &Solution) -> Self {
        let (sender, news) = mpsc::channel(QUEUE);
        let (twin, wanted) = watch::channel(None);
        let (hurry, state) = (Arc::new(Notify::new()), solution.device_state());
        let mut tasks = JoinSet::new();
        tasks.spawn(watch_status(state.clone(), Arc::clone(&hurry), sender.clone()));
        tasks.spawn(watch_logs(state.clone(), sender.clone()));
        tasks.spawn(watch_twin(solution.clone(), wanted, sender.clone()));
        Self { news, sender, twin, hurry, state, tasks }
    }

    fn show_twin(&self, module: Option<String>) {
        self.twin.send_if_modified(|wanted| std::mem::replace(wanted, module.clone()) != module);
    }

    fn set_network(&mut self, conditions: Conditions) {
        let (state, sender, hurry) = (self.state.clone(), self.sender.clone(), Arc::clone(&self.hurry));
        self.tasks.spawn(async move {
            let wanted = if conditions.online { "online" } else { "offline" };
            let answer = ask(&state, &Request::Network { conditions: Some(conditions) }).await;
            let told = match answer {
                Ok(_) => format!("The network is {wanted} now."),
                Err(error) => format!("The network stays as it is: {error}"),
            };
            // Whoever left the screen need not be told.
            let _ = sender.send(News::Notice(told)).await;
            hurry.notify_one();
        });
    }
}

async fn watch_status(state: StateDirectory, hurry: Arc<Notify>, news: mpsc::Sender<News>) {
    loop {
        let _ = tokio::time::timeout(INTERVAL, hurry.notified()).await;
        let seen = match look(&state).await {
            Ok(look) => News::Look(Box::new(look)),
            Err(ControlError::NotRunning) => News::Gone("the device was stopped".to_owned()),
            Err(ControlError::Interrupted) => News::Gone("the device ended".to_owned()),
            Err(error) => News::Notice(error.to_string()),
        };
        if news.send(seen).await.is_err() {
            return;
        }
    }
}

/// Hands on what modules print. Which modules there are is fixed when the device is asked, so it is asked again when
/// they change.
async fn watch_logs(state: StateDirectory, news: mpsc::Sender<News>) {
    let mut since = None;
    loop {
        let modules = modules(&state).await;
        let tail = since.is_none().then_some(TAIL);
        let request = Request::Logs { modules: Vec::new(), follow: true, tail, since, until: None };
        let follow = async {
            let Ok(mut conversation) = control::ask(&state.control_socket(), &request).await else { return };
            while let Ok(Next::Item(line)) = conversation.next().await {
                let text = |name: &str| line.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
                let at = text("timestamp").parse::<jiff::Timestamp>().ok();
                let line = LogLine { module: text("module"), text: text("text") };
                if news.send(News::Log(line)).await.is_err() {
                    return;
                }
                // Nothing is shown twice: the next question begins right behind this line.
                since = at.map(|at| at + jiff::SignedDuration::from_nanos(1)).max(since);
            }
        };
        tokio::select! {
            () = follow => tokio::time::sleep(INTERVAL).await,
            () = other_modules(&state, modules) => {}
        }
    }
}

/// The modules and their processes: one that was replaced goes on with another log.
async fn modules(state: &StateDirectory) -> Vec<(String, Option<u32>)> {
    let status = crate::commands::status::fetch(state).await;
    let modules = status.map(|status| status.modules).unwrap_or_default();
    modules.into_iter().map(|module| (module.name, module.process)).collect()
}

async fn other_modules(state: &StateDirectory, known: Vec<(String, Option<u32>)>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        if modules(state).await != known {
            return;
        }
    }
}

/// Hands on the twin that is shown, again and again.
async fn watch_twin(solution: Solution, mut wanted: watch::Receiver<Option<String>>, news: mpsc::Sender<News>) {
    loop {
        let module = wanted.borrow_and_update().clone();
        if let Some(module) = module {
            let found = twin(&solution, &module).await.map_err(|error| error.to_string());
            if news.send(News::Twin(module, found)).await.is_err() {
                return;
            }
        }
        if let Ok(Err(_)) = tokio::time::timeout(INTERVAL, wanted.changed()).await {
            return;
        }
    }
}

/// The twin of a module, from the hub that keeps it.
pub(super) async fn twin(solution: &Solution, module: &str) -> Result<Value, CommandError> {
    let identity = target::identity(solution, Some(module))?;
    ServiceClient::new(access::simulated(solution)?)?.twin(&identity).await
}
