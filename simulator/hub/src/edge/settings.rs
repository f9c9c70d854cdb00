//! What a deployment sets in the environment of the edge hub's module, as far as it means something here.

use std::collections::BTreeMap;
use std::time::Duration;

/// Settings of the edge hub, under the names that the real one reads from its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `MaxConnectedClients`: how many clients may be connected, beside the modules of the runtime; none for as many as come.
    /// The real hub takes 100 unless it is told.
    pub max_connected_clients: Option<usize>,
    /// `MessageAckTimeoutSecs`: how long a module may take to acknowledge a message before it is sent again.
    pub acknowledgement_timeout: Duration,
    /// `UpstreamFanOutFactor`: how many senders' messages are on their way upstream at the same time.
    pub upstream_fan_out: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_connected_clients: None, acknowledgement_timeout: Duration::from_secs(30), upstream_fan_out: 10 }
    }
}

impl Settings {
    /// The settings of an environment, and what in it is wrong: each a name and why. What is wrong counts as not set. Names
    /// are as forgiving as those of the real hub, which takes them in upper and lower case.
    pub fn read(environment: &BTreeMap<String, String>) -> (Self, Vec<String>) {
        let (mut settings, mut wrong) = (Self::default(), Vec::new());
        for (name, value) in environment {
            let mut number = || {
                let number = value.trim().parse::<u32>().ok().filter(|number| *number > 0);
                if number.is_none() {
                    wrong.push(format!("{name} is {value:?}, which is no number above 0"));
                }
                number
            };
            match name.to_ascii_lowercase().as_str() {
                "maxconnectedclients" => settings.max_connected_clients = number().map(|number| number as usize),
                "messageacktimeoutsecs" => {
                    if let Some(seconds) = number() {
                        settings.acknowledgement_timeout = Duration::from_secs(seconds.into());
                    }
                }
                "upstreamfanoutfactor" => {
                    if let Some(senders) = number() {
                        settings.upstream_fan_out = senders as usize;
                    }
                }
                _ => {}
            }
        }
        (settings, wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_right_is_taken_and_what_is_wrong_told() {
        let environment = [("maxConnectedClients", "2"), ("MessageAckTimeoutSecs", "0"), ("storageFolder", "/data")];
        let environment = environment.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let (settings, wrong) = Settings::read(&environment);
        assert_eq!(settings, Settings { max_connected_clients: Some(2), ..Settings::default() });
        assert_eq!(wrong, ["MessageAckTimeoutSecs is \"0\", which is no number above 0"]);
    }
}
