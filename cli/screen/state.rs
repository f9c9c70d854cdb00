//! What is shown: the last look, what was chosen, and what keys and news do to them.

use std::collections::VecDeque;

use edgectl_simulator::link::Conditions;
use serde_json::Value;

use super::keys::Key;
use super::look::Look;
use super::rates::Rates;
use super::theme::Theme;

/// Log lines that are kept.
const MAX_LINES: usize = 1000;
/// Modules that every device has, and that have twins as the others do.
const RUNTIME_MODULES: [&str; 2] = ["$edgeAgent", "$edgeHub"];
/// Lines of a page.
const PAGE: usize = 10;

/// What fills the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum View {
    /// Modules: status, restarts, what they use
    #[default]
    Modules,
    /// Routes: messages, how fast
    Routes,
    /// Queues: what waits, what was delivered
    Queues,
    /// Twins: desired and reported properties
    Twins,
    /// Logs of the modules
    Logs,
}

impl View {
    /// All, in their order on the screen.
    pub(super) const ALL: [Self; 5] = [Self::Modules, Self::Routes, Self::Queues, Self::Twins, Self::Logs];

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Modules => "Modules",
            Self::Routes => "Routes",
            Self::Queues => "Queues",
            Self::Twins => "Twins",
            Self::Logs => "Logs",
        }
    }

    fn shifted(self, by: usize) -> Self {
        let place = Self::ALL.iter().position(|view| *view == self).unwrap_or_default();
        Self::ALL[(place + by) % Self::ALL.len()]
    }
}

/// A line that a module printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogLine {
    pub(super) module: String,
    pub(super) text: String,
}

/// What comes to be known.
#[derive(Debug)]
pub(super) enum News {
    /// The device was looked at.
    Look(Box<Look>),
    /// A module printed something.
    Log(LogLine),
    /// A twin, or why there is none.
    Twin(String, Result<Value, String>),
    /// Something to tell, until the next key.
    Notice(String),
    /// The device is gone, and why.
    Gone(String),
}

/// What a key asks of the device, or of the program.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Wish {
    /// Leave the screen.
    Leave,
    /// Leave it as a signal does.
    Interrupt,
    /// Make the network so.
    Network(Conditions),
}

/// All that is shown.
#[derive(Debug)]
pub(super) struct Screen {
    pub(super) theme: Theme,
    pub(super) view: View,
    pub(super) look: Option<Look>,
    pub(super) rates: Rates,
    /// The chosen module, by name.
    module: Option<String>,
    /// The chosen row of routes or queues.
    pub(super) row: usize,
    /// The twin that was asked for last: the module, and what it says.
    pub(super) twin: Option<(String, Result<Value, String>)>,
    /// Its first line on the screen.
    pub(super) twin_top: usize,
    lines: VecDeque<LogLine>,
    /// Log lines that are scrolled back.
    pub(super) back: usize,
    /// Whether the log is that of the chosen module alone.
    pub(super) one_module: bool,
    pub(super) notice: Option<String>,
}

impl Screen {
    /// A screen that knows nothing yet.
    pub(super) fn new(view: View, theme: Theme) -> Self {
        Self {
            theme,
            view,
            look: None,
            rates: Rates::default(),
            module: None,
            row: 0,
            twin: None,
            twin_top: 0,
            lines: VecDeque::new(),
            back: 0,
            one_module: false,
            notice: None,
        }
    }

    /// Takes in what came to be known. The end of the device is nothing to show.
    pub(super) fn take(&mut self, news: News) {
        match news {
            News::Look(look) => {
                self.rates = self.look.as_ref().map(|before| Rates::between(before, &look)).unwrap_or_default();
                self.look = Some(*look);
            }
            News::Log(line) => {
                // What is scrolled back stays where it is.
                if self.back > 0 && self.is_shown(&line) {
                    self.back += 1;
                }
                self.lines.push_back(line);
                if self.lines.len() > MAX_LINES {
                    self.lines.pop_front();
                }
            }
            News::Twin(module, twin) => self.twin = Some((module, twin)),
            News::Notice(text) => self.notice = Some(text),
            News::Gone(_) => {}
        }
    }

    /// Does what a key asks for, or says what is to be done elsewhere.
    pub(super) fn press(&mut self, key: Key) -> Option<Wish> {
        self.notice = None;
        match key {
            Key::Leave => return Some(Wish::Leave),
            Key::Interrupt => return Some(Wish::Interrupt),
            Key::Network => return self.switch_network(),
            Key::Show(view) => self.show(view),
            Key::Next => self.show(self.view.shifted(1)),
            Key::Previous => self.show(self.view.shifted(View::ALL.len() - 1)),
            Key::Scope => (self.one_module, self.back) = (!self.one_module, 0),
            Key::Up => self.step(1, true),
            Key::Down => self.step(1, false),
            Key::PageUp => self.step(PAGE, true),
            Key::PageDown => self.step(PAGE, false),
        }
        None
    }

    fn show(&mut self, view: View) {
        (self.view, self.row) = (view, 0);
    }

    fn switch_network(&mut self) -> Option<Wish> {
        let now = &self.look.as_ref()?.status.network;
        Some(Wish::Network(Conditions { online: !now.online, ..now.clone() }))
    }

    /// Goes some steps up or down in what is shown.
    fn step(&mut self, steps: usize, up: bool) {
        let moved = |place: usize| if up { place.saturating_sub(steps) } else { place.saturating_add(steps) };
        match self.view {
            View::Twins if steps == PAGE => self.twin_top = moved(self.twin_top),
            View::Modules | View::Twins => {
                let names = self.names();
                let last = names.len().saturating_sub(1);
                self.module = names.into_iter().nth(moved(self.chosen_row()).min(last));
                self.twin_top = 0;
            }
            View::Routes | View::Queues => self.row = moved(self.row).min(self.rows().saturating_sub(1)),
            View::Logs => {
                let most = self.lines().count().saturating_sub(1);
                self.back =
                    if up { self.back.saturating_add(steps) } else { self.back.saturating_sub(steps) }.min(most);
            }
        }
    }

    fn rows(&self) -> usize {
        let Some(look) = &self.look else { return 0 };
        if self.view == View::Routes { look.routes().len() } else { look.endpoints().len() }
    }

    /// What can be chosen in this view: modules, and among twins those of the runtime too.
    pub(super) fn names(&self) -> Vec<String> {
        let modules = self.look.iter().flat_map(|look| &look.status.modules).map(|module| module.name.clone());
        let runtime = RUNTIME_MODULES.iter().filter(|_| self.view == View::Twins).map(|name| (*name).to_owned());
        modules.chain(runtime).collect()
    }

    /// The place of the chosen module, the first one where none was chosen.
    pub(super) fn chosen_row(&self) -> usize {
        let chosen = self.module.as_ref();
        self.names().iter().position(|name| Some(name) == chosen).unwrap_or_default()
    }

    /// The chosen module.
    pub(super) fn chosen(&self) -> Option<String> {
        self.names().into_iter().nth(self.chosen_row())
    }

    /// The module whose twin is to be shown.
    pub(super) fn wanted_twin(&self) -> Option<String> {
        if self.view == View::Twins { self.chosen() } else { None }
    }

    /// The log lines that are shown, the newest first.
    pub(super) fn lines(&self) -> impl Iterator<Item = &LogLine> {
        self.lines.iter().rev().filter(|line| self.is_shown(line))
    }

    fn is_shown(&self, line: &LogLine) -> bool {
        let one = self.one_module || self.view != View::Logs;
        !one || self.chosen().is_none_or(|chosen| chosen == line.module)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Instant;

    use edgectl_simulator::metrics::machine::ProcessorTime;
    use edgectl_simulator::metrics::processes::Usage;
    use serde_json::json;

    use super::*;

    /// A device on which `count` messages went through.
    pub(in crate::screen) fn look(count: u64) -> Look {
        let module = |name: &str, status: &str, process: u32| {
            json!({
                "name": name, "status": status, "description": "exited with code 3", "image": "image:1",
                "runsAs": format!("built from {name}"), "restarts": 2, "process": process, "connected": true,
            })
        };
        let status = json!({
            "endpoints": {
                "deviceId": "plant", "gatewayHostName": "127.0.7.1", "hubHostName": "127.0.7.2", "hubHttpsPort": 443,
                "gatewayHasHttps": true, "trustBundle": "/x",
            },
            "modules": [module("filter", "running", 7), module("sensor", "backoff", 8)],
            "deployment": { "code": 200 }, "deploymentVersion": 3,
            "hub": {
                "counters": {
                    "accepted": { "plant/filter": count }, "routed": { "filterToCloud": count },
                    "delivered": { "iothub": count }, "dropped": { "no_route": 4 },
                },
                "queues": { "iothub": 5, "plant/filter/input1": 0 },
                "routes": { "filterToCloud": "FROM /messages/modules/filter/outputs/* INTO $upstream" },
            },
            "receivedByCloud": count,
            "network": { "online": true, "up": { "latencyMs": 20 }, "down": {} },
        });
        let usage = Usage { memory: 12 << 20, ticks: count, ..Usage::default() };
        Look {
            at: Instant::now(),
            status: serde_json::from_value(status).unwrap(),
            processors: ProcessorTime { total: count * 100 / 3, busy: 0 },
            usage: [("filter".to_owned(), usage)].into(),
        }
    }

    /// A screen that was at work.
    pub(in crate::screen) fn screen(view: View) -> Screen {
        let mut screen = Screen::new(view, Theme { color: false });
        screen.take(News::Look(Box::new(look(6))));
        for (module, text) in [("filter", "\u{1b}[31mred\u{1b}[0m\tcell"), ("sensor", "warm")] {
            screen.take(News::Log(LogLine { module: module.to_owned(), text: text.to_owned() }));
        }
        screen
    }

    #[test]
    fn a_module_stays_chosen_whatever_comes() {
        let mut screen = screen(View::Modules);
        assert_eq!(screen.chosen().as_deref(), Some("filter"));
        assert_eq!(screen.press(Key::Down), None);
        screen.press(Key::Down);
        assert_eq!(screen.chosen().as_deref(), Some("sensor"));
        let mut later = look(7);
        later.status.modules.remove(0);
        screen.take(News::Look(Box::new(later)));
        assert_eq!((screen.chosen().as_deref(), screen.chosen_row()), (Some("sensor"), 0));
        screen.press(Key::Show(View::Twins));
        screen.press(Key::PageDown);
        assert_eq!((screen.wanted_twin().as_deref(), screen.twin_top), (Some("sensor"), PAGE));
        screen.press(Key::Down);
        assert_eq!((screen.wanted_twin().as_deref(), screen.twin_top), (Some("$edgeAgent"), 0));
    }

    #[test]
    fn views_go_round_and_the_network_keeps_its_faults() {
        let mut screen = screen(View::Logs);
        screen.press(Key::Next);
        assert_eq!(screen.view, View::Modules);
        screen.press(Key::Previous);
        assert_eq!(screen.view, View::Logs);
        let Some(Wish::Network(wanted)) = screen.press(Key::Network) else { panic!("no wish") };
        assert_eq!((wanted.online, wanted.up.latency_ms), (false, 20));
        assert_eq!(Screen::new(View::Modules, screen.theme).press(Key::Network), None);
    }

    #[test]
    fn lines_that_are_read_stay_where_they_are() {
        let mut screen = screen(View::Logs);
        let first = |screen: &Screen| screen.lines().nth(screen.back).map(|line| line.text.clone());
        screen.press(Key::Up);
        let read = first(&screen);
        screen.take(News::Log(LogLine { module: "sensor".to_owned(), text: "hot".to_owned() }));
        assert_eq!(first(&screen), read);
        screen.press(Key::Scope);
        assert_eq!((screen.back, screen.lines().count()), (0, 1));
    }
}
