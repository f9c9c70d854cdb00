//! A terminal for programs that want one.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// Both ends of a terminal, and what was written to it.
pub struct Terminal {
    /// Where a person types.
    pub keyboard: File,
    /// The end that a program has.
    pub line: File,
    screen: Arc<Mutex<String>>,
}

impl Terminal {
    /// A terminal of so many columns and rows.
    pub fn new(columns: u16, rows: u16) -> Self {
        let main = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&main).unwrap();
        unlockpt(&main).unwrap();
        let name = ptsname(&main, Vec::new()).unwrap();
        let line = File::from(rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap());
        tcsetwinsize(&main, Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let keyboard = File::from(main);
        let (mut out, screen) = (keyboard.try_clone().unwrap(), Arc::new(Mutex::new(String::new())));
        let shown = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = out.read(&mut bytes) {
                shown.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..length]));
            }
        });
        Self { keyboard, line, screen }
    }

    /// Starts `edgectl` on it, in a session of its own whose terminal this is.
    pub fn edgectl(&self, directory: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(assert_cmd::cargo::cargo_bin!("edgectl")).args(arguments);
        command.current_dir(directory).env("TERM", "xterm-256color").env("NO_COLOR", "1");
        let end = || self.line.try_clone().unwrap();
        command.stdin(end()).stdout(end()).stderr(end());
        command
    }

    /// All that was written to it.
    pub fn written(&self) -> String {
        self.screen.lock().unwrap().clone()
    }

    /// Types.
    pub fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }
}

/// A program that is ended, whatever becomes of the test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended; nothing can be done if it is gone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
