//! Child processes: one way to run them, errors that name the command.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::workspace;

/// Runs a command on our own terminal; anything but exit status 0 is an error that names it.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("run `{}`", shown(command)))?;
    check(command, status, "")
}

/// Runs a command and returns what it wrote to stdout; its last error line goes into the error.
pub fn stdout(command: &mut Command) -> Result<String> {
    let Output {
        status,
        stdout,
        stderr,
    } = captured(command)?;
    check(command, status, &String::from_utf8_lossy(&stderr))?;
    String::from_utf8(stdout).with_context(|| format!("`{}` wrote no UTF-8", shown(command)))
}

/// Runs a command silently, with everything it says appended to a log file.
///
/// The error is one line: the command, the most telling line it wrote, the log.
pub fn logged(command: &mut Command, log: &Path) -> Result<()> {
    let Output {
        status,
        mut stdout,
        stderr,
    } = captured(command)?;
    stdout.extend_from_slice(&stderr);
    append(log, format!("$ {}\n", shown(command)).as_bytes())?;
    append(log, &stdout)?;
    check(command, status, &String::from_utf8_lossy(&stdout))
        .with_context(|| format!("see {}", workspace::short(log)))
}

/// Runs a command without a terminal and returns everything it said, whatever its status.
pub fn captured(command: &mut Command) -> Result<Output> {
    command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("run `{}`", shown(command)))
}

/// A cargo command for the host, in the workspace: the cargo that started us, without the
/// variables it set for us.
pub fn cargo() -> Command {
    let mut command =
        Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(workspace::root());
    forget_package(&mut command);
    command
}

/// Removes what `cargo run` tells a program about its own package, so that an inner cargo
/// sees the environment that the user's shell would give it.
pub fn forget_package(command: &mut Command) -> &mut Command {
    let ours = |name: &OsStr| {
        name.to_str().is_some_and(|name| {
            ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
                || [
                    "CARGO",
                    "CARGO_CRATE_NAME",
                    "CARGO_PRIMARY_PACKAGE",
                    "OUT_DIR",
                ]
                .contains(&name)
        })
    };
    for (name, _) in std::env::vars_os().filter(|(name, _)| ours(name)) {
        command.env_remove(name);
    }
    command
}

/// The command as one would type it.
pub fn shown(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| {
            let word = word.to_string_lossy();
            if word.is_empty() || word.contains([' ', '"', '$', '*', ';', '\u{1f}']) {
                format!("'{word}'")
            } else {
                word.into_owned()
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// Appends to a file, creating it and its folder.
pub fn append(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write as _;
    let write = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)?
            .write_all(bytes)
    };
    write().with_context(|| format!("write {}", path.display()))
}

/// Anything but exit status 0 is an error: the command, the status, the line of `said` that
/// tells most.
pub fn check(command: &Command, status: ExitStatus, said: &str) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    match telling_line(said) {
        Some(line) => bail!("`{}`: {status}: {line}", shown(command)),
        None => bail!("`{}`: {status}", shown(command)),
    }
}

/// The line of a failed command's output that says most: the first error, else the last line.
fn telling_line(said: &str) -> Option<&str> {
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
    lines()
        .find(|line| line.starts_with("error") || line.starts_with("E: "))
        .or_else(|| lines().next_back())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_command_and_its_reason() {
        let e = stdout(Command::new("sh").args([
            "-c",
            "echo first >&2; echo E: no such thing >&2; echo last >&2; exit 3",
        ]))
        .unwrap_err();
        let text = format!("{e:#}");
        assert!(text.starts_with("`sh -c 'echo"), "{text}");
        assert!(text.ends_with("exit status: 3: E: no such thing"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let e = run(&mut Command::new("no-such-program-here")).unwrap_err();
        assert!(
            format!("{e:#}").starts_with("run `no-such-program-here`: "),
            "{e:#}"
        );
    }

    #[test]
    fn the_last_line_tells_when_no_error_does() {
        assert_eq!(telling_line("one\ntwo\n\n"), Some("two"));
        assert_eq!(telling_line("\n"), None);
    }

    #[test]
    fn output_comes_back() -> Result<()> {
        assert_eq!(stdout(Command::new("echo").arg("hello"))?, "hello\n");
        Ok(())
    }
}
