//! `settings.createOptions`: the JSON text of a container engine's create request, cut into chunks.
//!
//! Twins keep a string value short, so text longer than [`CHUNK_CHARACTERS`] goes on in `createOptions01`,
//! `createOptions02` and so on. The agent reads the names of Docker's own fields in any case and writes them in
//! Docker's; fields it does not know pass through.

use serde_json::{Map, Value};

/// Most characters of one chunk.
pub const CHUNK_CHARACTERS: usize = 512;
/// The highest chunk number.
const MAX_CHUNK: usize = 99;
const FIELD: &str = "createOptions";

/// Why create options cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCreateOptions {
    /// The first chunk, which has no number, is missing.
    #[error("Error while parsing chunked field \"createOptions\", expected empty field number but found \"{0:02}\"")]
    NoFirst(usize),
    /// The numbers have a gap.
    #[error(
        "Error while parsing chunked field \"createOptions\", expected createOptions{expected:02} found createOptions{found:02}"
    )]
    Gap {
        /// The number that is missing.
        expected: usize,
        /// The next number there is.
        found: usize,
    },
    /// A chunk is an object, a number or the like.
    #[error("{0} is not a text")]
    NotText(String),
    /// The joined text is not JSON.
    #[error("createOptions is not JSON: {0}")]
    NotJson(String),
    /// The JSON is an array, a number or the like.
    #[error("createOptions is not a JSON object")]
    NotObject,
    /// `Env` is not a list of `NAME=value`.
    #[error("createOptions.Env is not an array of strings")]
    Env,
}

/// Joins the chunks found in a module's `settings`. No chunk at all is the empty text.
pub fn join(settings: &Map<String, Value>) -> Result<String, InvalidCreateOptions> {
    let mut chunks: Vec<(usize, &String, &Value)> =
        settings.iter().filter_map(|(key, value)| Some((chunk_number(key)?, key, value))).collect();
    chunks.sort_by_key(|(number, ..)| *number);
    let mut text = String::new();
    for (expected, (found, key, value)) in chunks.into_iter().enumerate() {
        match (expected, found) {
            (0, 1..) => return Err(InvalidCreateOptions::NoFirst(found)),
            _ if expected != found => return Err(InvalidCreateOptions::Gap { expected, found }),
            _ => {}
        }
        match value {
            Value::String(chunk) => text.push_str(chunk),
            Value::Null => {}
            _ => return Err(InvalidCreateOptions::NotText(key.clone())),
        }
    }
    Ok(text)
}

/// Whether a key of `settings` is a chunk, and its number: 0 for the key without one.
pub fn chunk_number(key: &str) -> Option<usize> {
    let (name, number) = key.split_at_checked(FIELD.len())?;
    if !name.eq_ignore_ascii_case(FIELD) {
        return None;
    }
    match number.as_bytes() {
        [] => Some(0),
        [tens @ b'0'..=b'9', units @ b'0'..=b'9'] if number != "00" => {
            Some(usize::from(tens - b'0') * 10 + usize::from(units - b'0'))
        }
        _ => None,
    }
}

/// Reads the joined text. Blank text and `null` are no options. The names of Docker's fields get Docker's casing.
pub fn parse(text: &str) -> Result<Map<String, Value>, InvalidCreateOptions> {
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_str(text) {
        Err(error) => Err(InvalidCreateOptions::NotJson(error.to_string())),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(Value::Object(object)) => {
            let object = canonical(object, Shape::Container);
            match object.get("Env") {
                None | Some(Value::Null) => Ok(object),
                Some(Value::Array(entries)) if entries.iter().all(Value::is_string) => Ok(object),
                Some(_) => Err(InvalidCreateOptions::Env),
            }
        }
        Ok(_) => Err(InvalidCreateOptions::NotObject),
    }
}

/// Writes options as chunks, `(key, text)`, the first without a number. Options longer than the last chunk number
/// allows are cut there.
pub fn chunks(options: &Map<String, Value>) -> Vec<(String, String)> {
    let text = serde_json::to_string(options).unwrap_or_default();
    let characters: Vec<char> = text.chars().collect();
    let numbered = |(number, chunk): (usize, &[char])| {
        let key = if number == 0 { FIELD.to_owned() } else { format!("{FIELD}{number:02}") };
        (key, chunk.iter().collect())
    };
    characters.chunks(CHUNK_CHARACTERS).take(MAX_CHUNK + 1).enumerate().map(numbered).collect()
}

/// What an object of a create request is, which decides the names of its fields.
#[derive(Clone, Copy)]
enum Shape {
    Container,
    Host,
    Networking,
    Endpoint,
    EndpointAddress,
    Health,
    Log,
    Restart,
    PortBinding,
    Device,
    Mount,
    Limit,
    /// Keys are the user's own, values have a shape.
    MapOf(&'static Shape),
    /// Keys and values are the user's own, or of no interest.
    Free,
}

impl Shape {
    fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Container => CONTAINER_FIELDS,
            Self::Host => HOST_FIELDS,
            Self::Networking => &["EndpointsConfig"],
            Self::Endpoint => ENDPOINT_FIELDS,
            Self::EndpointAddress => &["IPv4Address", "IPv6Address", "LinkLocalIPs"],
            Self::Health => &["Test", "Interval", "Timeout", "Retries", "StartPeriod"],
            Self::Log => &["Type", "Config"],
            Self::Restart => &["Name", "MaximumRetryCount"],
            Self::PortBinding => &["HostIp", "HostPort"],
            Self::Device => &["PathOnHost", "PathInContainer", "CgroupPermissions"],
            Self::Mount => {
                &["Target", "Source", "Type", "ReadOnly", "Consistency", "BindOptions", "VolumeOptions", "TmpfsOptions"]
            }
            Self::Limit => &["Name", "Soft", "Hard"],
            Self::MapOf(_) | Self::Free => &[],
        }
    }

    /// The shape of a field's value, or of the elements of its array.
    fn of(self, field: &str) -> Self {
        match (self, field) {
            (Self::MapOf(value), _) => *value,
            (Self::Container, "HostConfig") => Self::Host,
            (Self::Container, "NetworkingConfig") => Self::Networking,
            (Self::Container, "Healthcheck") => Self::Health,
            (Self::Networking, "EndpointsConfig") => Self::MapOf(&Self::Endpoint),
            (Self::Endpoint, "IPAMConfig") => Self::EndpointAddress,
            (Self::Host, "PortBindings") => Self::MapOf(&Self::PortBinding),
            (Self::Host, "LogConfig") => Self::Log,
            (Self::Host, "RestartPolicy") => Self::Restart,
            (Self::Host, "Devices") => Self::Device,
            (Self::Host, "Mounts") => Self::Mount,
            (Self::Host, "Ulimits") => Self::Limit,
            _ => Self::Free,
        }
    }
}

pub(super) const CONTAINER_FIELDS: &[&str] = &[
    "Hostname",
    "Domainname",
    "User",
    "AttachStdin",
    "AttachStdout",
    "AttachStderr",
    "ExposedPorts",
    "Tty",
    "OpenStdin",
    "StdinOnce",
    "Env",
    "Cmd",
    "Healthcheck",
    "ArgsEscaped",
    "Image",
    "Volumes",
    "WorkingDir",
    "Entrypoint",
    "NetworkDisabled",
    "MacAddress",
    "OnBuild",
    "Labels",
    "StopSignal",
    "StopTimeout",
    "Shell",
    "HostConfig",
    "NetworkingConfig",
];

pub(super) const HOST_FIELDS: &[&str] = &[
    "Binds",
    "ContainerIDFile",
    "LogConfig",
    "NetworkMode",
    "PortBindings",
    "RestartPolicy",
    "AutoRemove",
    "VolumeDriver",
    "VolumesFrom",
    "CapAdd",
    "CapDrop",
    "CgroupnsMode",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "ExtraHosts",
    "GroupAdd",
    "IpcMode",
    "Cgroup",
    "Links",
    "OomScoreAdj",
    "PidMode",
    "Privileged",
    "PublishAllPorts",
    "ReadonlyRootfs",
    "SecurityOpt",
    "StorageOpt",
    "Tmpfs",
    "UTSMode",
    "UsernsMode",
    "ShmSize",
    "Sysctls",
    "Runtime",
    "ConsoleSize",
    "Isolation",
    "CpuShares",
    "Memory",
    "NanoCpus",
    "CgroupParent",
    "BlkioWeight",
    "BlkioWeightDevice",
    "BlkioDeviceReadBps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteIOps",
    "CpuPeriod",
    "CpuQuota",
    "CpuRealtimePeriod",
    "CpuRealtimeRuntime",
    "CpusetCpus",
    "CpusetMems",
    "Devices",
    "DeviceCgroupRules",
    "DiskQuota",
    "KernelMemory",
    "MemoryReservation",
    "MemorySwap",
    "MemorySwappiness",
    "OomKillDisable",
    "PidsLimit",
    "Ulimits",
    "CpuCount",
    "CpuPercent",
    "IOMaximumIOps",
    "IOMaximumBandwidth",
    "Mounts",
    "MaskedPaths",
    "ReadonlyPaths",
    "Init",
];

const ENDPOINT_FIELDS: &[&str] = &[
    "IPAMConfig",
    "Links",
    "Aliases",
    "NetworkID",
    "EndpointID",
    "Gateway",
    "IPAddress",
    "IPPrefixLen",
    "IPv6Gateway",
    "GlobalIPv6Address",
    "GlobalIPv6PrefixLen",
    "MacAddress",
    "DriverOpts",
];

fn canonical(object: Map<String, Value>, shape: Shape) -> Map<String, Value> {
    object
        .into_iter()
        .map(|(key, value)| {
            let known = shape.fields().iter().find(|field| field.eq_ignore_ascii_case(&key));
            let key = known.map_or(key, |field| (*field).to_owned());
            let value = canonical_value(value, shape.of(&key));
            (key, value)
        })
        .collect()
}

fn canonical_value(value: Value, shape: Shape) -> Value {
    match value {
        Value::Object(object) => Value::Object(canonical(object, shape)),
        Value::Array(elements) => {
            Value::Array(elements.into_iter().map(|element| canonical_value(element, shape)).collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_of_docker_get_their_casing_and_others_pass() {
        let text = json!({
            "hostconfig": {"PORTBINDINGS": {"43/UDP": [{"hostport": "43"}]}, "devicerequests": [{"count": 1}]},
            "labels": {"hostconfig": "mine"},
            "networkingConfig": {"endpointsConfig": {"hostconfig": {"aliases": ["a"]}}},
        });
        let expected = json!({
            "HostConfig": {"PortBindings": {"43/UDP": [{"HostPort": "43"}]}, "devicerequests": [{"count": 1}]},
            "Labels": {"hostconfig": "mine"},
            "NetworkingConfig": {"EndpointsConfig": {"hostconfig": {"Aliases": ["a"]}}},
        });
        assert_eq!(Value::Object(parse(&text.to_string()).unwrap()), expected);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        assert_eq!(parse("[]"), Err(InvalidCreateOptions::NotObject));
        assert_eq!(parse("1"), Err(InvalidCreateOptions::NotObject));
        assert!(matches!(parse("{"), Err(InvalidCreateOptions::NotJson(_))));
        assert_eq!(parse(r#"{"env": "A=1"}"#), Err(InvalidCreateOptions::Env));
    }

    #[test]
    fn chunks_are_found_in_any_case_and_order() {
        let settings =
            json!({"createoptions02": "3", "CREATEOPTIONS": "1", "createOptions01": "2", "createOptionsX": 4});
        assert_eq!(join(settings.as_object().unwrap()).unwrap(), "123");
    }

    proptest! {
        #[test]
        fn options_read_what_their_chunks_hold(texts in prop::collection::vec("\\PC{0,80}", 0..40)) {
            let options = json!({"Env": texts}).as_object().unwrap().clone();
            let settings = chunks(&options).into_iter().map(|(key, text)| (key, Value::String(text))).collect();
            prop_assert_eq!(parse(&join(&settings).unwrap()).unwrap(), options);
        }
    }
}
