//! Who calls: the kernel says which user's process is at the other end of a socket.

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use rustix::process::{Pid, getpgid, getuid};
use tokio::net::UnixListener;

use crate::runtime::module_runtime::ModuleState;

/// The process at the other end; none where the kernel does not say.
#[derive(Debug, Clone, Copy)]
pub struct Caller(Option<Peer>);

#[derive(Debug, Clone, Copy)]
struct Peer {
    user: u32,
    process: Option<i32>,
}

impl Connected<IncomingStream<'_, UnixListener>> for Caller {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        let peer = stream.io().peer_cred().ok();
        Self(peer.map(|peer| Peer { user: peer.uid(), process: peer.pid() }))
    }
}

impl Caller {
    /// Whether it is a process of the user whose device it is.
    pub fn may_read(&self) -> bool {
        self.0.is_some_and(|peer| peer.user == getuid().as_raw())
    }

    /// Whether it may change the device: the same, unless it is one of the device's modules. These run as the same user
    /// and are known by their process groups.
    pub fn may_write(&self, modules: &[ModuleState]) -> bool {
        let process = self.0.and_then(|peer| Pid::from_raw(peer.process?));
        let group = process.and_then(|process| getpgid(Some(process)).ok());
        let is_module = |group: Pid| {
            modules.iter().any(|module| {
                module.pid.is_some_and(|first| i64::from(first) == i64::from(group.as_raw_nonzero().get()))
            })
        };
        // Of a process that has gone meanwhile nothing is known, and nothing is done for it.
        self.may_read() && group.is_some_and(|group| !is_module(group))
    }
}
