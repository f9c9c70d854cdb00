//! `buildOptions` of `module.json`: flags of `docker build`, read as iotedgedev reads them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::session::DEFAULT_AGENT;
use crate::image::error::ImageError;

/// What is passed over, as it is decided elsewhere.
const PASSED_OVER: [&str; 6] = ["--rm", "-t", "--tag", "-f", "--file", "--progress"];

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// A file, as seen from the solution.
    File(PathBuf),
    /// A variable of the environment.
    Variable(String),
    /// A variable of the secret's name; where there is none, a file of that name.
    Named,
}

/// What an engine is told about a build, by the parameters of its interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildOptions {
    /// Simple parameters: `target`, `nocache`, `networkmode` and so on.
    pub parameters: Vec<(&'static str, String)>,
    /// Build arguments; one without a value has that of the environment.
    pub arguments: Map<String, Value>,
    /// Labels.
    pub labels: Map<String, Value>,
    /// Images whose layers may be taken.
    pub cache_from: Vec<String>,
    /// The platform, where the options name one.
    pub platform: Option<String>,
    /// Secrets for steps that mount them, by their names.
    pub secrets: BTreeMap<String, SecretSource>,
    /// SSH agents for steps that mount them, by their names: their sockets, or none for the user's own.
    pub agents: BTreeMap<String, Option<PathBuf>>,
}

impl BuildOptions {
    /// Reads options, each one flag with its value behind a blank or an equals sign.
    pub fn read(options: &[String]) -> Result<Self, ImageError> {
        let mut read = Self::default();
        for option in options.iter().map(|option| option.trim()).filter(|option| !option.is_empty()) {
            let (flag, rest) = option.split_once(|c: char| c.is_whitespace() || c == '=').unwrap_or((option, ""));
            // A value ends at the next blank.
            let value = rest.split_whitespace().next().unwrap_or_default();
            read.set(flag, value).ok_or_else(|| ImageError::Unbuildable {
                reason: format!("the build option {option:?} is not supported"),
                hint: "Remove it from `buildOptions` in module.json.".to_owned(),
            })?;
        }
        Ok(read)
    }

    /// Takes one flag; none if it, or its value, is not known.
    fn set(&mut self, flag: &str, value: &str) -> Option<()> {
        let pair = || match value.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (value.to_owned(), None),
        };
        match flag {
            "--build-arg" => {
                let (name, value) = pair();
                self.arguments.insert(name, json!(value));
            }
            "--label" => {
                let (name, value) = pair();
                self.labels.insert(name, json!(value.unwrap_or_default()));
            }
            "--cache-from" => self.cache_from.push(value.to_owned()),
            "--secret" => {
                let (id, source) = secret(value)?;
                self.secrets.insert(id, source);
            }
            "--ssh" => {
                let (id, socket) = pair();
                let id = if id.is_empty() { DEFAULT_AGENT.to_owned() } else { id };
                self.agents.insert(id, socket.map(PathBuf::from));
            }
            "--platform" => self.platform = Some(value.to_owned()),
            "--add-host" => self.parameters.push(("extrahosts", value.to_owned())),
            "--target" => self.parameters.push(("target", value.to_owned())),
            "--network" => self.parameters.push(("networkmode", value.to_owned())),
            "--cpuset-cpus" => self.parameters.push(("cpusetcpus", value.to_owned())),
            "-c" | "--cpu-shares" => self.parameters.push(("cpushares", value.to_owned())),
            "-m" | "--memory" => self.parameters.push(("memory", bytes(value)?.to_string())),
            "--memory-swap" => self.parameters.push(("memswap", bytes(value)?.to_string())),
            "--shm-size" => self.parameters.push(("shmsize", bytes(value)?.to_string())),
            "--no-cache" => self.switch("nocache", value)?,
            "--pull" => self.switch("pull", value)?,
            "--force-rm" => self.switch("forcerm", value)?,
            "--squash" => self.switch("squash", value)?,
            "-q" | "--quiet" => self.switch("q", value)?,
            flag if PASSED_OVER.contains(&flag) => {}
            _ => return None,
        }
        Some(())
    }

    fn switch(&mut self, name: &'static str, value: &str) -> Option<()> {
        let on = value.is_empty() || value.eq_ignore_ascii_case("true");
        (on || value.eq_ignore_ascii_case("false")).then(|| self.parameters.push((name, on.to_string())))
    }
}

/// What `--secret` says, as `docker build` reads it: `id=NAME`, and `src=FILE` or `env=VARIABLE`, with commas between them.
fn secret(text: &str) -> Option<(String, SecretSource)> {
    let (mut id, mut source, mut kind) = (None, None, None);
    for field in text.split(',') {
        let (name, value) = field.split_once('=')?;
        match name.to_ascii_lowercase().as_str() {
            "id" => id = Some(value.to_owned()),
            "src" | "source" => source = Some(SecretSource::File(value.into())),
            "env" => source = Some(SecretSource::Variable(value.to_owned())),
            "type" if matches!(value, "file" | "env") => kind = Some(value),
            _ => return None,
        }
    }
    let source = match (source, kind) {
        // `src` names the variable where the type says that it is one.
        (Some(SecretSource::File(name)), Some("env")) => SecretSource::Variable(name.to_str()?.to_owned()),
        (source, _) => source.unwrap_or(SecretSource::Named),
    };
    Some((id.filter(|id| !id.is_empty())?, source))
}

/// A size such as `512m`, in bytes.
fn bytes(text: &str) -> Option<i64> {
    let lower = text.to_ascii_lowercase();
    let lower = lower.strip_suffix('b').unwrap_or(&lower);
    let (number, factor) = match lower.strip_suffix(['k', 'm', 'g']) {
        Some(number) if lower.ends_with('k') => (number, 1 << 10),
        Some(number) if lower.ends_with('m') => (number, 1 << 20),
        Some(number) => (number, 1 << 30),
        None => (lower, 1),
    };
    number.parse::<i64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &[&str]) -> Option<BuildOptions> {
        BuildOptions::read(&options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>()).ok()
    }

    /// As iotedgedev 3.3.9 was seen to read them.
    #[test]
    fn options_are_read_as_iotedgedev_reads_them() {
        let argument = |option: &str| read(&[option]).unwrap().arguments;
        assert_eq!(argument("--build-arg A=1")["A"], "1");
        assert_eq!(argument("--build-arg=A=1")["A"], "1");
        assert_eq!(argument("--build-arg A")["A"], Value::Null);
        assert_eq!(argument("--build-arg A=b c")["A"], "b");
        assert_eq!(read(&["--label x"]).unwrap().labels["x"], "");
        assert_eq!(read(&["--cache-from a", "--cache-from b"]).unwrap().cache_from, ["a", "b"]);
        assert_eq!(read(&["--platform linux/arm64"]).unwrap().platform.as_deref(), Some("linux/arm64"));
        let cases = [
            ("--add-host h:1.2.3.4", ("extrahosts", "h:1.2.3.4")),
            ("--no-cache", ("nocache", "true")),
            ("--no-cache false", ("nocache", "false")),
            ("--pull=true", ("pull", "true")),
            ("--network host", ("networkmode", "host")),
            ("-m 512m", ("memory", "536870912")),
            ("--target dev", ("target", "dev")),
            ("--squash", ("squash", "true")),
        ];
        for (option, (name, value)) in cases {
            assert_eq!(read(&[option]).unwrap().parameters, [(name, value.to_owned())], "{option}");
        }
        for option in ["-t x", "--rm=false", "-f other", ""] {
            assert_eq!(read(&[option]), Some(BuildOptions::default()), "{option}");
        }
        for option in ["--ulimit nofile=1", "--no-cache maybe", "-m many"] {
            assert_eq!(read(&[option]), None, "{option}");
        }
    }

    #[test]
    fn secrets_and_agents_are_read() {
        let variable = |name: &str| SecretSource::Variable(name.to_owned());
        let cases = [
            ("id=a", SecretSource::Named),
            ("id=a,src=b/c", SecretSource::File("b/c".into())),
            ("type=file,id=a,source=/b", SecretSource::File("/b".into())),
            ("id=a,env=B", variable("B")),
            ("type=env,id=a,src=B", variable("B")),
        ];
        for (text, source) in cases {
            let read = read(&[&format!("--secret {text}")]).unwrap();
            assert_eq!(read.secrets, BTreeMap::from([("a".to_owned(), source)]), "{text}");
        }
        for text in ["", "src=b", "id=,src=b", "id=a,type=vault", "id=a,other=b"] {
            assert_eq!(read(&[&format!("--secret {text}")]), None, "{text}");
        }
        let agents = read(&["--ssh default", "--ssh=git=/run/agent"]).unwrap().agents;
        assert_eq!(
            agents,
            BTreeMap::from([("default".to_owned(), None), ("git".to_owned(), Some("/run/agent".into()))])
        );
    }
}
