//! Asking a program of the machine something, for a short time.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// A program that says its version takes less on a machine that can be worked with.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What a program said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether it ended well.
    pub success: bool,
    /// What it wrote on both its outputs.
    pub text: String,
}

/// Runs a program to its end without input. The error says why there is no answer.
pub fn ask(program: &Path, arguments: &[&str], directory: &Path) -> Result<Answer, String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).current_dir(directory).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        match tokio::time::timeout(TIMEOUT, command.output()).await {
            Err(_) => Err(format!("{} does not answer", program.display())),
            Ok(Err(error)) => Err(format!("{}: {error}", program.display())),
            Ok(Ok(output)) => {
                let text = [output.stdout, output.stderr].concat();
                let text = String::from_utf8_lossy(&text).trim().to_owned();
                Ok(Answer { success: output.status.success(), text })
            }
        }
    })
}

/// The first version in a text: numbers joined with dots.
pub fn version(text: &str) -> Option<Vec<u32>> {
    text.split(|c: char| !(c.is_ascii_digit() || c == '.')).find_map(|word| {
        let numbers: Option<Vec<u32>> = word.trim_matches('.').split('.').map(|number| number.parse().ok()).collect();
        numbers.filter(|numbers| numbers.len() > 1)
    })
}

/// A version as people write it.
pub fn dotted(version: &[u32]) -> String {
    version.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_tools_say() {
        assert_eq!(version("Python 3.11.4+"), Some(vec![3, 11, 4]));
        assert_eq!(version("v22.1.0"), Some(vec![22, 1, 0]));
        assert_eq!(version("rustc 1.95.0 (abc 2026-01-02)"), Some(vec![1, 95, 0]));
        assert_eq!(version("Docker version 19.03.1, build 7"), Some(vec![19, 3, 1]));
        assert_eq!(version("nothing of 7 kinds."), None);
    }
}
