//! `edgectl top` on a real pseudo terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

use crate::binary::refused;
use crate::device::{Solution, signal, wait_until};

/// A terminal with `edgectl top` on it.
struct Terminal {
    keyboard: File,
    screen: Arc<Mutex<String>>,
    line: File,
    before: Termios,
    child: Child,
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 }
}

/// What stands on a screen after all that was written to it: text, moves of the cursor, and clearing are understood.
fn rendered(written: &str) -> String {
    let mut rows = vec![vec![' '; 200]; 60];
    let (mut row, mut column) = (0, 0);
    let mut rest = written.chars();
    while let Some(character) = rest.next() {
        match character {
            '\u{1b}' => {
                if rest.next() != Some('[') {
                    continue;
                }
                let mut parameters = String::new();
                let last = rest.by_ref().find(|character| {
                    let is_last = character.is_ascii_alphabetic();
                    parameters.extend((!is_last).then_some(*character));
                    is_last
                });
                let place = |index: usize| parameters.split(';').nth(index)?.parse::<usize>().ok()?.checked_sub(1);
                match last {
                    Some('H') => (row, column) = (place(0).unwrap_or(0), place(1).unwrap_or(0)),
                    Some('J') => rows.iter_mut().for_each(|row| row.fill(' ')),
                    _ => {}
                }
            }
            '\r' => column = 0,
            '\n' => row += 1,
            character => {
                if let Some(cell) = rows.get_mut(row).and_then(|row| row.get_mut(column)) {
                    *cell = character;
                }
                column += 1;
            }
        }
    }
    rows.iter().map(|row| row.iter().collect::<String>().trim_end().to_owned() + "\n").collect()
}

impl Terminal {
    fn start(solution: &Solution, arguments: &[&str]) -> Self {
        let main = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&main).unwrap();
        unlockpt(&main).unwrap();
        let name = ptsname(&main, Vec::new()).unwrap();
        let line = File::from(rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap());
        tcsetwinsize(&main, size(80, 24)).unwrap();
        let before = tcgetattr(&line).unwrap();
        let keyboard = File::from(main);
        let (mut out, screen) = (keyboard.try_clone().unwrap(), Arc::new(Mutex::new(String::new())));
        let shown = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = out.read(&mut bytes) {
                shown.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..length]));
            }
        });
        // In a session of its own, whose terminal this is.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(assert_cmd::cargo::cargo_bin!("edgectl")).arg("top").args(arguments);
        command.current_dir(solution.root()).env("TERM", "xterm-256color").env("NO_COLOR", "1");
        let end = || line.try_clone().unwrap();
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        Self { keyboard, screen, line, before, child }
    }

    fn written(&self) -> String {
        self.screen.lock().unwrap().clone()
    }

    fn wait_for(&self, words: &str) {
        let is_there = || rendered(&self.written()).contains(words);
        wait_until(&format!("the screen shows {words:?}"), is_there);
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for the end, and checks that the terminal is what it was.
    fn ends_with(mut self, status: i32) {
        assert_eq!(self.child.wait().unwrap().code(), Some(status), "{:?}", self.written());
        wait_until("the screen is left", || self.written().contains("\u{1b}[?1049l"));
        let after = tcgetattr(&self.line).unwrap();
        assert_eq!(after.local_modes, self.before.local_modes);
        assert_eq!((after.input_modes, after.output_modes), (self.before.input_modes, self.before.output_modes));
        // The cursor is there again.
        let shown = self.written();
        assert!(shown.rfind("\u{1b}[?25h") > shown.rfind("\u{1b}[?25l"), "{shown:?}");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A test that failed leaves it; nothing can be done if it is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn deployed() -> Solution {
    let solution = Solution::new();
    solution.edgectl(&["sim", "up", "-d"]).assert().success();
    solution.edgectl(&["deploy"]).assert().success();
    solution
}

#[test]
fn a_device_is_watched_and_its_network_switched_on_a_terminal() {
    let solution = deployed();
    let is_online = || solution.json(&["sim", "network"])["online"].as_bool().unwrap();
    let mut terminal = Terminal::start(&solution, &[]);
    terminal.wait_for("> SimulatedTemperatureSensor running   0 ");
    terminal.wait_for("SimulatedTemperatureSensor: built-in simulated-temperature-sensor\n");
    terminal.press("n");
    terminal.wait_for("network OFFLINE\n");
    assert!(!is_online());
    terminal.press("n");
    terminal.wait_for("network online\n");
    assert!(is_online());

    terminal.press("4");
    terminal.wait_for("  $edgeAgent ");
    terminal.press("2");
    terminal.wait_for("> filterToCloud ");
    tcsetwinsize(&terminal.keyboard, size(100, 30)).unwrap();
    terminal.wait_for(&format!("{}q quit", "\n".repeat(20)));
    tcsetwinsize(&terminal.keyboard, size(30, 8)).unwrap();
    terminal.wait_for("30 by 8 is too small;\n");
    // Nothing has a colour.
    let written = terminal.written();
    assert!(!written.contains("\u{1b}[32m") && !written.contains("\u{1b}[38;5;2m"));
    terminal.press("q");
    terminal.ends_with(0);
}

#[test]
fn the_terminal_is_given_back_however_it_ends() {
    let solution = deployed();
    let mut interrupted = Terminal::start(&solution, &["--view", "logs"]);
    interrupted.wait_for("Log of all modules");
    interrupted.press("\u{3}");
    interrupted.ends_with(130);
    let terminated = Terminal::start(&solution, &["--view", "queues"]);
    terminated.wait_for("ENDPOINT");
    signal(&terminated.child, "-TERM");
    terminated.ends_with(143);
    let left = Terminal::start(&solution, &[]);
    left.wait_for("SimulatedTemperatureSensor");
    solution.edgectl(&["sim", "down"]).assert().success();
    left.wait_for("error: the device");
    left.ends_with(1);
}

#[test]
fn without_a_terminal_there_is_one_frame_or_the_status() {
    let solution = deployed();
    refused(solution.edgectl(&["top"]).assert(), 2, "edgectl status --json");
    let json = solution.edgectl(&["top", "--json"]).assert().code(2);
    assert!(String::from_utf8_lossy(&json.get_output().stdout).contains("no form in JSON"));
    let frame = |view: &str| {
        let frame = solution.edgectl(&["top", "--once", "--view", view]).assert().success().get_output().stdout.clone();
        String::from_utf8(frame).unwrap()
    };
    let modules = frame("modules");
    assert!(modules.contains("plant  127.0.") && modules.contains("network online"), "{modules}");
    assert!(modules.contains(" MiB  "), "{modules}");
    wait_until("a rate is shown", || {
        frame("routes").lines().any(|line| line.contains("sensorToFilter") && line.contains("/s"))
    });
    assert!(frame("twins").contains("> SimulatedTemperatureSensor"));
    solution.edgectl(&["sim", "down"]).assert().success();
    refused(solution.edgectl(&["top", "--once"]).assert(), 1, "no simulated device is running");
}
