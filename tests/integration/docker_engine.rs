//! The container engine of the tests: its images, and a wire to it that can be listened at and cut.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;
use tempfile::{TempDir, tempdir};

/// Where the engine listens; a test that has none has failed.
pub fn host() -> &'static str {
    static HOST: OnceLock<String> = OnceLock::new();
    HOST.get_or_init(|| {
        let named = ["EDGECTL_TEST_DOCKER_HOST", "DOCKER_HOST"].iter().find_map(|name| std::env::var(name).ok());
        let host = named.unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned());
        let answer = Command::new("docker").args(["-H", &host, "version"]).output();
        assert!(
            answer.is_ok_and(|answer| answer.status.success()),
            "no container engine at {host}: `tests/run.sh` installs and starts one, EDGECTL_TEST_DOCKER_HOST names another"
        );
        host
    })
}

/// Asks the engine with its own client, and gives what it printed.
pub fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(["-H", host()]).args(arguments).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "docker {arguments:?}: {err}");
    out.trim().to_owned()
}

/// An image whose only program is edgectl.
pub fn image() -> &'static str {
    static IMAGE: OnceLock<String> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let name = format!("edgectl-tests:{}", std::process::id());
        import(&name);
        name
    })
}

/// The image under another name, starting as a built-in module: `sensor` or `filter`.
pub fn builtin_image(repository: &str, word: &str) -> String {
    let name = format!("edgectl-tests/{repository}:{}", std::process::id());
    let container = docker(&["create", image()]);
    let entrypoint = format!("ENTRYPOINT [\"/bin/edgectl\",\"internal\",\"builtin\",\"{word}\"]");
    docker(&["commit", "-c", &entrypoint, &container, &name]);
    docker(&["rm", &container]);
    name
}

/// An empty image for machines of an architecture.
pub fn empty_image(architecture: &str) -> String {
    let name = format!("edgectl-tests/empty:{}", std::process::id());
    let place = tempdir().unwrap();
    let files = [
        ("manifest.json", json!([{ "Config": "config.json", "RepoTags": [name], "Layers": [] }])),
        (
            "config.json",
            json!({
                "architecture": architecture, "os": "linux", "config": { "Cmd": ["/nothing"] },
                "rootfs": { "type": "layers", "diff_ids": [] },
            }),
        ),
    ];
    for (file, content) in files {
        fs::write(place.path().join(file), content.to_string()).unwrap();
    }
    let archive = place.path().join("image.tar");
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(place.path()).arg("-cf").arg(&archive).args(["manifest.json", "config.json"]);
    assert!(tar.status().unwrap().success());
    docker(&["load", "-i", archive.to_str().unwrap()]);
    name
}

/// Makes an image of edgectl and the libraries that it is linked with.
fn import(name: &str) {
    let root = tempdir().unwrap();
    let program = assert_cmd::cargo::cargo_bin!("edgectl");
    copy_libraries(program, root.path());
    let place = root.path().join("bin/edgectl");
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::create_dir(root.path().join("tmp")).unwrap();
    // Without what only a debugger needs it is a tenth.
    assert!(Command::new("strip").arg("-o").arg(&place).arg(program).status().unwrap().success());
    import_root(root.path(), "ENTRYPOINT [\"/bin/edgectl\"]", name);
}

/// An image of a shell and some programs of this machine.
pub fn shell_image() -> &'static str {
    static IMAGE: OnceLock<String> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let name = format!("edgectl-tests/shell:{}", std::process::id());
        let root = tempdir().unwrap();
        for program in ["/bin/sh", "/bin/mkdir", "/bin/sleep", "/usr/bin/sha256sum", "/usr/bin/ssh-add"] {
            copy_libraries(Path::new(program), root.path());
            copy_file(Path::new(program), root.path());
        }
        import_root(root.path(), "CMD [\"/bin/sh\"]", &name);
        name
    })
}

fn copy_file(file: &Path, root: &Path) {
    let place = root.join(file.strip_prefix("/").unwrap());
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::copy(file, place).unwrap();
}

/// Copies what a program is linked with.
fn copy_libraries(program: &Path, root: &Path) {
    let libraries = Command::new("ldd").arg(program).output().unwrap().stdout;
    let libraries = String::from_utf8(libraries).unwrap();
    for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
        copy_file(Path::new(library.trim_end_matches(':')), root);
    }
}

/// Makes an image of all that lies in a directory.
fn import_root(root: &Path, change: &str, name: &str) {
    let mut tar = Command::new("tar").arg("-C").arg(root).args(["-c", "."]).stdout(Stdio::piped()).spawn().unwrap();
    let import = ["-H", host(), "import", "-c", change, "-", name];
    let status = Command::new("docker").args(import).stdin(tar.stdout.take().unwrap()).stdout(Stdio::null()).status();
    assert!(status.unwrap().success() && tar.wait().unwrap().success());
}

/// A registry that has nothing, and lets nobody in without a password.
pub struct Registry {
    /// Its host and port.
    pub address: String,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Registry {
    /// Starts it; it ends with the tests.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let registry = Self { address: listener.local_addr().unwrap().to_string(), heard: Arc::default() };
        let heard = Arc::clone(&registry.heard);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                // The engine tries TLS first, and hangs up.
                let _ = answer(client.unwrap(), &heard);
            }
        });
        registry
    }

    /// Whether somebody came with this name and password.
    pub fn was_told(&self, username: &str, password: &str) -> bool {
        let login = format!("Basic {}", BASE64.encode(format!("{username}:{password}")));
        String::from_utf8_lossy(&self.heard.lock().unwrap()).contains(&login)
    }
}

fn answer(mut client: TcpStream, heard: &Mutex<Vec<u8>>) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.ends_with(b"\r\n\r\n") {
        let count = client.read(&mut buffer)?;
        head.extend_from_slice(&buffer[..count]);
        // What is not text is not for us.
        if count == 0 || head[0] < b'A' {
            return client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    }
    let is_known = String::from_utf8_lossy(&head).contains("Authorization: Basic");
    heard.lock().unwrap().extend(head);
    let status = if is_known { "404 Not Found" } else { "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"tests\"" };
    client.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes())
}

/// A socket behind which the engine is, until it is cut.
pub struct Wire {
    place: TempDir,
    engine: PathBuf,
    heard: Arc<Mutex<Vec<u8>>>,
    connections: Arc<Mutex<Vec<UnixStream>>>,
}

impl Wire {
    /// A wire to the engine of the tests, which has a socket itself.
    pub fn new() -> Self {
        let engine = host().strip_prefix("unix://").expect("the engine of the tests listens at a socket").into();
        let wire = Self { place: tempdir().unwrap(), engine, heard: Arc::default(), connections: Arc::default() };
        wire.mend();
        wire
    }

    /// The address at which the engine seems to be.
    pub fn host(&self) -> String {
        format!("unix://{}", self.path().display())
    }

    fn path(&self) -> PathBuf {
        self.place.path().join("engine.sock")
    }

    /// Whether the engine was told this.
    pub fn has_heard(&self, words: &str) -> bool {
        String::from_utf8_lossy(&self.heard.lock().unwrap()).contains(words)
    }

    /// The engine seems to be gone.
    pub fn cut(&self) {
        fs::remove_file(self.path()).unwrap();
        for connection in self.connections.lock().unwrap().drain(..) {
            // Some have ended by themselves.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// The engine seems to be there again.
    pub fn mend(&self) {
        let listener = UnixListener::bind(self.path()).unwrap();
        let (engine, heard, connections) =
            (self.engine.clone(), Arc::clone(&self.heard), Arc::clone(&self.connections));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                join(client.unwrap(), &engine, &heard, &connections);
            }
        });
    }
}

fn join(client: UnixStream, engine: &Path, heard: &Arc<Mutex<Vec<u8>>>, connections: &Arc<Mutex<Vec<UnixStream>>>) {
    let engine = UnixStream::connect(engine).unwrap();
    let mut held = connections.lock().unwrap();
    held.extend([client.try_clone().unwrap(), engine.try_clone().unwrap()]);
    drop(held);
    let (heard, nobody) = (Arc::clone(heard), Arc::default());
    let (from_client, to_client) = (client.try_clone().unwrap(), client);
    let (from_engine, to_engine) = (engine.try_clone().unwrap(), engine);
    std::thread::spawn(move || copy(from_client, to_engine, &heard));
    std::thread::spawn(move || copy(from_engine, to_client, &nobody));
}

fn copy(mut from: UnixStream, mut to: UnixStream, heard: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count) = from.read(&mut buffer)
        && count > 0
    {
        heard.lock().unwrap().extend_from_slice(&buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
