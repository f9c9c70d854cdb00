//! The servers under load, each a process of its own, and what the system says of them.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::mqtt::{Client, Stream};

/// Who serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The edge hub; what it acknowledged is kept so safely.
    Hub(&'static str),
    /// Mosquitto that keeps nothing.
    Mosquitto,
    /// Mosquitto that saves its database every second.
    MosquittoAutosave,
}

/// A running server.
pub struct Server {
    pub kind: Kind,
    tls: bool,
    port: u16,
    directory: PathBuf,
    sinks: usize,
    child: Option<Child>,
}

impl Server {
    /// Starts a server in a fresh directory.
    pub fn start(kind: Kind, tls: bool, sinks: usize, directory: &Path) -> Self {
        let _ = std::fs::remove_dir_all(directory);
        std::fs::create_dir_all(directory).unwrap();
        let mut server = Self { kind, tls, port: 0, directory: directory.to_owned(), sinks, child: None };
        server.resume();
        server
    }

    /// Starts the server on what it left. Returns how long it took until it listened.
    pub fn resume(&mut self) -> Duration {
        self.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let begin = Instant::now();
        let mut command = match self.kind {
            Kind::Hub(durability) => {
                let mut command = Command::new(std::env::current_exe().unwrap());
                command.arg("serve").arg(self.port.to_string()).arg(&self.directory).arg(self.sinks.to_string());
                command.arg(durability).arg(self.tls.to_string());
                command
            }
            Kind::Mosquitto | Kind::MosquittoAutosave => {
                let mut command = Command::new("mosquitto");
                command.arg("-c").arg(self.configure());
                command
            }
        };
        command.env(crate::tls::FOLDER, self.certificates());
        let quiet = std::env::var_os("EDGECTL_BENCH_LOUD").is_none();
        if quiet {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        self.child = Some(command.spawn().expect("the server starts"));
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(begin.elapsed() < Duration::from_secs(60), "the server does not listen");
            std::thread::sleep(Duration::from_micros(200));
        }
        begin.elapsed()
    }

    fn configure(&self) -> PathBuf {
        let directory = self.directory.display();
        let mut text = format!("listener {} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n", self.port);
        text += "max_inflight_messages 1000\nmax_queued_messages 0\nlog_dest none\n";
        if self.kind == Kind::MosquittoAutosave {
            text += &format!("persistence true\npersistence_location {directory}/\nautosave_interval 1\n");
        }
        if self.tls {
            let folder = self.certificates();
            let folder = folder.display();
            text += &format!("certfile {folder}/cert.pem\nkeyfile {folder}/key.pem\ntls_version tlsv1.3\n");
        }
        if rustix_is_root() {
            text += "user root\n";
        }
        let path = self.directory.join("mosquitto.conf");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Certificates lie beside the directories of servers.
    fn certificates(&self) -> PathBuf {
        self.directory.parent().unwrap().to_owned()
    }

    /// Connects a client.
    pub fn client(&self, module: &str) -> Client {
        Client::connect(self.stream(), module).expect("the server takes the client")
    }

    /// A byte stream to the server.
    pub fn stream(&self) -> Box<dyn Stream> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_nodelay(true).unwrap();
        if self.tls { Box::new(crate::tls::client(stream).unwrap()) } else { Box::new(stream) }
    }

    /// The filter with which a module receives here.
    pub fn filter(&self, sink: usize) -> String {
        match self.kind {
            Kind::Hub(_) => format!("devices/edge/modules/sub{sink}/inputs/#"),
            Kind::Mosquitto | Kind::MosquittoAutosave => "devices/edge/modules/+/messages/events/#".to_owned(),
        }
    }

    /// Seconds of CPU used so far.
    pub fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        // Fields 14 and 15 of proc(5), in hundredths of a second.
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    }

    /// KiB resident now, and at most so far.
    pub fn memory(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        (field("VmRSS:"), field("VmHWM:"))
    }

    /// The number of the process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Kills the server as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn rustix_is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}
