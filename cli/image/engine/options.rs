//! `buildOptions` of `module.json`: flags of `docker build`, read as iotedgedev reads them.

use serde_json::{Map, Value, json};

use crate::image::error::ImageError;

/// What is passed over, as it is decided elsewhere.
const PASSED_OVER: [&str; 6] = ["--rm", "-t", "--tag", "-f", "--file", "--progress"];

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
        for option in ["--secret id=a", "--ulimit nofile=1", "--ssh default", "--no-cache maybe", "-m many"] {
            assert_eq!(read(&[option]), None, "{option}");
        }
    }
}
