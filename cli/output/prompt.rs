//! Questions, for where a person can answer them.

use crate::error::{CommandError, ErrorKind};

/// Asks which of some choices is meant. The first one is offered.
pub fn choose(question: &str, choices: &[String]) -> Result<usize, CommandError> {
    choose_from(question, choices, 0)
}

/// Asks which of some choices is meant, and offers one of them.
pub fn choose_from(question: &str, choices: &[String], offered: usize) -> Result<usize, CommandError> {
    let answer = dialoguer::Select::new().with_prompt(question).items(choices).default(offered).interact_opt();
    match answer {
        Ok(Some(index)) => Ok(index),
        Ok(None) => Err(given_up()),
        Err(error) => Err(failed(error)),
    }
}

/// Asks for yes or no, and offers one.
pub fn confirm(question: &str, offered: bool) -> Result<bool, CommandError> {
    match dialoguer::Confirm::new().with_prompt(question).default(offered).interact_opt() {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(given_up()),
        Err(error) => Err(failed(error)),
    }
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
    input.validate_with(|text: &String| check(text)).interact_text().map_err(failed)
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
