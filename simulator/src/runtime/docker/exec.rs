//! Running a command in a container that runs, with what goes in and comes out joined to this process.

use std::pin::Pin;

use bollard::container::LogOutput;
use bollard::exec::{ResizeExecOptions, StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use futures_util::{Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;

use crate::runtime::docker::engine::{Engine, EngineError, EngineHost};
use crate::runtime::module_runtime::LogStream;

/// Width and height of a terminal, in characters.
pub type TerminalSize = (u16, u16);

/// A command to run in a container.
pub struct ExecRequest<I> {
    /// The engine.
    pub host: EngineHost,
    /// The container.
    pub container: String,
    /// The command with its arguments.
    pub argv: Vec<String>,
    /// What it reads.
    pub stdin: I,
    /// The size of the terminal that it gets, as it changes; none for a command without one.
    pub terminal: Option<watch::Receiver<TerminalSize>>,
}

/// Runs a command, and hands on what it prints. Returns its exit status.
pub async fn exec<I: AsyncRead + Unpin>(
    request: ExecRequest<I>,
    mut print: impl FnMut(LogStream, &[u8]),
) -> Result<i64, EngineError> {
    let ExecRequest { host, container, argv, stdin, terminal } = request;
    let engine = Engine::connect(&host).await?;
    let docker = engine.docker();
    let tty = terminal.is_some();
    let config = ExecConfig {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(tty),
        cmd: Some(argv),
        ..ExecConfig::default()
    };
    let explain = |error| engine.explain(error);
    let id = docker.create_exec(&container, config).await.map_err(explain)?.id;
    let started = docker.start_exec(&id, Some(StartExecOptions { tty, ..StartExecOptions::default() })).await;
    if let StartExecResults::Attached { output, input } = started.map_err(explain)? {
        let resizing = resize(&engine, &id, terminal);
        tokio::select! {
            // The end of what it prints is its end.
            ended = print_all(&engine, output, &mut print) => ended?,
            () = async { tokio::join!(feed(stdin, input), resizing); std::future::pending().await } => {}
        }
    }
    let status = docker.inspect_exec(&id).await.map_err(explain)?.exit_code;
    status.ok_or_else(|| EngineError::Refused { status: 500, message: "the command has no exit status".to_owned() })
}

async fn print_all(
    engine: &Engine,
    mut output: Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>,
    print: &mut impl FnMut(LogStream, &[u8]),
) -> Result<(), EngineError> {
    while let Some(piece) = output.next().await {
        match piece.map_err(|error| engine.explain(error))? {
            LogOutput::StdErr { message } => print(LogStream::Stderr, &message),
            // A terminal has one stream for both.
            LogOutput::StdOut { message } | LogOutput::Console { message } => print(LogStream::Stdout, &message),
            LogOutput::StdIn { .. } => {}
        }
    }
    Ok(())
}

/// Gives the command what it reads, and the end of it.
async fn feed(mut stdin: impl AsyncRead + Unpin, mut input: Pin<Box<dyn AsyncWrite + Send>>) {
    // A command that reads no more, or is gone, is told by its end.
    if tokio::io::copy(&mut stdin, &mut input).await.is_ok() {
        let _ = input.shutdown().await;
    }
}

async fn resize(engine: &Engine, id: &str, terminal: Option<watch::Receiver<TerminalSize>>) {
    let Some(mut terminal) = terminal else { return };
    loop {
        let (width, height) = *terminal.borrow_and_update();
        // A terminal of another size is still one.
        let _ = engine.docker().resize_exec(id, ResizeExecOptions { height, width }).await;
        if terminal.changed().await.is_err() {
            return;
        }
    }
}
