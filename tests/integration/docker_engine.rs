//! The container engine of the tests: its images, and a wire to it that can be listened at and cut.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};

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

/// Makes an image of edgectl and the libraries that it is linked with.
fn import(name: &str) {
    let root = tempdir().unwrap();
    let program = assert_cmd::cargo::cargo_bin!("edgectl");
    let libraries = Command::new("ldd").arg(program).output().unwrap().stdout;
    let libraries = String::from_utf8(libraries).unwrap();
    for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
        let place = root.path().join(&library[1..]);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(library, place).unwrap();
    }
    let place = root.path().join("bin/edgectl");
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::create_dir(root.path().join("tmp")).unwrap();
    // Without what only a debugger needs it is a tenth.
    assert!(Command::new("strip").arg("-o").arg(&place).arg(program).status().unwrap().success());
    let mut tar =
        Command::new("tar").arg("-C").arg(root.path()).args(["-c", "."]).stdout(Stdio::piped()).spawn().unwrap();
    let import = ["-H", host(), "import", "-c", "ENTRYPOINT [\"/bin/edgectl\"]", "-", name];
    let status = Command::new("docker").args(import).stdin(tar.stdout.take().unwrap()).stdout(Stdio::null()).status();
    assert!(status.unwrap().success() && tar.wait().unwrap().success());
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
