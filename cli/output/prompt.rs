//! Questions, for where a person can answer them.

use crate::error::{CommandError, ErrorKind};

/// Asks which of some choices is meant. The first one is offered.
pub fn choose(question: &str, choices: &[String]) -> Result<usize, CommandError> {
    let answer = dialoguer::Select::new().with_prompt(question).items(choices).default(0).interact_opt();
    match answer {
        Ok(Some(index)) => Ok(index),
        Ok(None) => Err(CommandError::new(ErrorKind::Interrupted, "nothing was chosen")),
        Err(error) => Err(CommandError::failed(format!("the question could not be asked: {error}"))),
    }
}
