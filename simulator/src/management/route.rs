//! Paths of the management API, and since which version there are. Paths match as a whole, without a slash at the end.

use edgectl_schemas::sas::decode;

/// What a path asks for. Names are without percent-encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// All modules.
    Modules,
    /// One module.
    Module(String),
    /// Something that is done with a module.
    Action {
        /// The module.
        module: String,
        /// What is done.
        action: Action,
    },
    /// What a module prints.
    Logs(String),
    /// The identities of all modules.
    Identities,
    /// The identity of one module, by its identifier at the hub.
    Identity(String),
    /// What kind of machine it is.
    SystemInfo,
    /// What of the machine is used.
    Resources,
    /// A support bundle.
    SupportBundle,
    /// Asks anew who the device is.
    Reprovision,
}

/// What is done with a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Starts it.
    Start,
    /// Stops it.
    Stop,
    /// Stops and starts it.
    Restart,
    /// Makes its image available.
    PrepareUpdate,
}

impl Action {
    const WORDS: [(&'static str, Self); 4] = [
        ("start", Self::Start),
        ("stop", Self::Stop),
        ("restart", Self::Restart),
        ("prepareupdate", Self::PrepareUpdate),
    ];

    /// The word for it in a path.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, action)| *action == self).map_or("", |(word, _)| word)
    }
}

impl Route {
    /// Reads a path.
    pub fn parse(path: &str) -> Option<Self> {
        let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        if segments.iter().any(|segment| segment.is_empty()) {
            return None;
        }
        match segments[..] {
            ["modules"] => Some(Self::Modules),
            ["modules", module] => Some(Self::Module(decode(module))),
            ["modules", module, "logs"] => Some(Self::Logs(decode(module))),
            ["modules", module, word] => {
                let (_, action) = Action::WORDS.into_iter().find(|(known, _)| *known == word)?;
                Some(Self::Action { module: decode(module), action })
            }
            ["identities"] => Some(Self::Identities),
            ["identities", identity] => Some(Self::Identity(decode(identity))),
            ["systeminfo"] => Some(Self::SystemInfo),
            ["systeminfo", "resources"] => Some(Self::Resources),
            ["systeminfo", "supportbundle"] => Some(Self::SupportBundle),
            ["device", "reprovision"] => Some(Self::Reprovision),
            _ => None,
        }
    }

    /// The first version of the API that has it.
    pub fn since(&self) -> &'static str {
        match self {
            Self::Action { action: Action::PrepareUpdate, .. } => "2019-01-30",
            Self::Reprovision => "2019-10-22",
            Self::Resources => "2019-11-05",
            Self::SupportBundle => "2020-07-07",
            _ => "2018-06-28",
        }
    }
}
