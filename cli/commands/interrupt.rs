//! Work that runs tools, and what a signal does to it.

use tokio::sync::oneshot;

use crate::commands::device::{Signals, block_on};
use crate::error::{CommandError, ErrorKind};
use crate::image::tool;

/// Does work that starts tools. A signal stops them with all that they started, and is the command's end.
pub fn interruptible<T>(work: impl FnOnce() -> T) -> Result<T, CommandError> {
    let (listening, is_listening) = oneshot::channel();
    let (done, is_done) = oneshot::channel::<()>();
    std::thread::scope(|scope| {
        let listener = scope.spawn(move || {
            block_on(async {
                let mut signals = Signals::listen()?;
                // Work starts when nothing can be missed any more.
                let _ = listening.send(());
                tokio::select! {
                    signal = signals.next() => {
                        tool::stop_all();
                        Err(signal)
                    }
                    _ = is_done => Ok(()),
                }
            })?
        });
        // An error means that the listener failed, which joining it tells.
        let _ = is_listening.blocking_recv();
        let result = work();
        drop(done);
        match listener.join() {
            Ok(heard) => heard.map(|()| result),
            Err(_) => Err(CommandError::new(ErrorKind::Bug, "the listener for signals panicked")),
        }
    })
}
