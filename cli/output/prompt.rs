//! Questions, for where a person can answer them.

use tokio::signal::unix::{SignalKind, signal};

use crate::commands::device::block_on;
use crate::error::{CommandError, ErrorKind};

/// Asks which of some choices is meant. The first one is offered.
pub fn choose(question: &str, choices: &[String]) -> Result<usize, CommandError> {
    choose_from(question, choices, 0)
}

/// Asks which of some choices is meant, and offers one of them.
pub fn choose_from(question: &str, choices: &[String], offered: usize) -> Result<usize, CommandError> {
    answered(|| dialoguer::Select::new().with_prompt(question).items(choices).default(offered).interact_opt())?
        .ok_or_else(given_up)
}

/// Asks for yes or no, and offers one.
pub fn confirm(question: &str, offered: bool) -> Result<bool, CommandError> {
    answered(|| dialoguer::Confirm::new().with_prompt(question).default(offered).interact_opt())?.ok_or_else(given_up)
}

/// Asks for a text, offers one if there is one, and asks again while `check` says that something is wrong.
pub fn text(
    question: &str,
    offered: Option<&str>,
    check: impl Fn(&str) -> Result<(), String>,
) -> Result<String, CommandError> {
    let mut input = dialoguer::Input::<String>::new().with_prompt(question);
    if let Some(offered) = offered {
        input = input.default(offered.to_owned());
    }
    answered(|| input.validate_with(|text: &String| check(text)).interact_text())
}

/// Asks, and leaves the terminal as it was, whatever the answer is.
fn answered<T>(ask: impl FnOnce() -> dialoguer::Result<T>) -> Result<T, CommandError> {
    // Ctrl-C raises the signal, which would end the process at once, with the cursor hidden. From now on it makes the question
    // end; who works on after the last one listens for signals.
    let heard = block_on(async { signal(SignalKind::interrupt()).map(drop) })?;
    heard.map_err(|error| CommandError::failed(format!("signals: {error}")))?;
    ask().map_err(|error| {
        // A terminal that is gone has no cursor.
        let _ = dialoguer::console::Term::stderr().show_cursor();
        failed(error)
    })
}

fn given_up() -> CommandError {
    CommandError::new(ErrorKind::Interrupted, "nothing was chosen")
}

fn failed(error: dialoguer::Error) -> CommandError {
    let dialoguer::Error::IO(source) = &error;
    if source.kind() == std::io::ErrorKind::Interrupted {
        return given_up();
    }
    CommandError::failed(format!("the question could not be asked: {error}"))
}
