//! What can go wrong between a module and its hub.

/// Why the hub could not be asked, or what it refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "{0} is not set: this program runs as a module, started by an edge runtime or by `edgectl sim up`"
    )]
    Environment(&'static str),
    #[error("the workload API at {uri}: {reason}")]
    Workload { uri: String, reason: String },
    #[error("the trust bundle: {0}")]
    TrustBundle(String),
    #[error("the hub answered {operation} with status {status}: {body}")]
    Refused {
        operation: &'static str,
        status: u16,
        body: String,
    },
    #[error("the hub did not answer {0} in time")]
    TimedOut(&'static str),
    #[error("the connection to the hub is closed")]
    Closed,
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
