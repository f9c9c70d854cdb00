//! `edgectl top` on a real pseudo terminal.

use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

use crate::binary::refused;
use crate::device::{Solution, signal, wait_until};
use crate::terminal::{Running, Terminal};

/// A terminal with `edgectl top` on it.
struct Top {
    terminal: Terminal,
    before: Termios,
    child: Running,
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

impl Top {
    fn start(solution: &Solution, arguments: &[&str]) -> Self {
        let terminal = Terminal::new(80, 24);
        let before = tcgetattr(&terminal.line).unwrap();
        let arguments = [&["top"], arguments].concat();
        let child = Running(terminal.edgectl(&solution.root(), &arguments).spawn().unwrap());
        Self { terminal, before, child }
    }

    fn written(&self) -> String {
        self.terminal.written()
    }

    fn wait_for(&self, words: &str) {
        let is_there = || rendered(&self.written()).contains(words);
        wait_until(&format!("the screen shows {words:?}"), is_there);
    }

    fn press(&mut self, keys: &str) {
        self.terminal.press(keys);
    }

    /// Waits for the end, and checks that the terminal is what it was.
    fn ends_with(mut self, status: i32) {
        assert_eq!(self.child.0.wait().unwrap().code(), Some(status), "{:?}", self.written());
        wait_until("the screen is left", || self.written().contains("\u{1b}[?1049l"));
        let after = tcgetattr(&self.terminal.line).unwrap();
        assert_eq!(after.local_modes, self.before.local_modes);
        assert_eq!((after.input_modes, after.output_modes), (self.before.input_modes, self.before.output_modes));
        // The cursor is there again.
        let shown = self.written();
        assert!(shown.rfind("\u{1b}[?25h") > shown.rfind("\u{1b}[?25l"), "{shown:?}");
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
    let mut terminal = Top::start(&solution, &[]);
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
    tcsetwinsize(&terminal.terminal.keyboard, size(100, 30)).unwrap();
    terminal.wait_for(&format!("{}q quit", "\n".repeat(20)));
    tcsetwinsize(&terminal.terminal.keyboard, size(30, 8)).unwrap();
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
    let mut interrupted = Top::start(&solution, &["--view", "logs"]);
    interrupted.wait_for("Log of all modules");
    interrupted.press("\u{3}");
    interrupted.ends_with(130);
    let terminated = Top::start(&solution, &["--view", "queues"]);
    terminated.wait_for("ENDPOINT");
    signal(&terminated.child.0, "-TERM");
    terminated.ends_with(143);
    let left = Top::start(&solution, &[]);
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
