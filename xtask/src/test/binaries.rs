//! The test binaries of the workspace: built by cargo, run one by one by us, so that each has
//! its own line, its own log and a limit of time.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::libtest::Outcome;
use crate::{build, cmd};

/// The binary whose tests own the whole machine (namespaces, timing) and run one at a time.
const LABS: &str = "labs";

/// No binary takes half of this; one that hangs must not hold CI for hours.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// How many lines of a binary that died are shown.
const LAST_WORDS: usize = 30;

/// One test binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binary {
    /// The package and the target, such as `ha-agent labs`; a library is the package alone.
    pub name: String,
    target: String,
    executable: PathBuf,
    package: PathBuf,
}

/// Builds all test binaries of the workspace; labs come last.
pub fn build() -> Result<Vec<Binary>> {
    let mut command = cmd::cargo();
    command
        .args(["test", "--workspace", "--no-run", "--quiet"])
        .args(["--message-format", "json-render-diagnostics"])
        .stderr(Stdio::inherit());
    Ok(found(&cmd::stdout(&mut command)?))
}

fn found(messages: &str) -> Vec<Binary> {
    let mut found: Vec<Binary> = build::executables(messages)
        .into_iter()
        .filter(|(message, _)| message["profile"]["test"] == true)
        .filter_map(|(message, executable)| {
            let package = Path::new(message["manifest_path"].as_str()?)
                .parent()?
                .to_owned();
            let folder = package.file_name()?.to_str()?;
            let target = message["target"]["name"].as_str()?.to_owned();
            let name = match message["target"]["kind"][0].as_str()? {
                "lib" => folder.to_owned(),
                "bin" => format!("{folder} main"),
                _ => format!("{folder} {target}"),
            };
            Some(Binary {
                name,
                target,
                executable,
                package,
            })
        })
        .collect();
    found.sort_by(|a, b| (a.target == LABS, &a.name).cmp(&(b.target == LABS, &b.name)));
    found
}

impl Binary {
    /// Runs the tests that match, those that need root only if `privileged`.
    ///
    /// Everything it says goes to the log. An error is one of ours, not of a test.
    pub fn run(&self, filter: Option<&str>, privileged: bool, log: &Path) -> Result<Outcome> {
        let mut command = Command::new(&self.executable);
        command
            .args(self.arguments(filter, privileged))
            .current_dir(&self.package)
            .env("CARGO_MANIFEST_DIR", &self.package);
        run(&mut command, &self.name, log)
    }

    fn arguments(&self, filter: Option<&str>, privileged: bool) -> Vec<OsString> {
        let mut arguments = vec!["--show-output".into(), "--color=never".into()];
        if privileged {
            arguments.push("--include-ignored".into());
        }
        if self.target == LABS {
            arguments.push("--test-threads=1".into());
        }
        arguments.extend(filter.map(OsString::from));
        arguments
    }
}

/// Runs the examples in doc comments.
pub fn doc_tests(filter: Option<&str>, log: &Path) -> Result<Outcome> {
    let mut command = cmd::cargo();
    command.args([
        "test",
        "--workspace",
        "--doc",
        "--",
        "--show-output",
        "--color=never",
    ]);
    command.args(filter);
    run(&mut command, "doc tests", log)
}

fn run(command: &mut Command, name: &str, log: &Path) -> Result<Outcome> {
    cmd::append(log, format!("\n$ {}\n", cmd::shown(command)).as_bytes())?;
    let start = fs::metadata(log)
        .with_context(|| format!("read {}", log.display()))?
        .len();
    let open = || File::options().append(true).open(log);
    let (out, err) = open()
        .and_then(|out| Ok((out, open()?)))
        .with_context(|| format!("write {}", log.display()))?;
    let ended = wait(command.stdin(Stdio::null()).stdout(out).stderr(err))
        .with_context(|| format!("run `{}`", cmd::shown(command)))?;
    Ok(outcome(name, &read_from(log, start)?, &ended))
}

/// How a binary ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Well,
    /// With this status or signal, or by our hand.
    Badly(String),
}

/// Waits for a child, but not for ever.
fn wait(command: &mut Command) -> std::io::Result<Ended> {
    let deadline = Instant::now() + LIMIT;
    let mut child = command.spawn()?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(match status.success() {
                true => Ended::Well,
                false => Ended::Badly(status.to_string()),
            });
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(Ended::Badly(format!(
                "killed: still running after {} min",
                LIMIT.as_secs() / 60
            )));
        }
        // Fine enough not to be noticed, coarse enough not to disturb what is measured.
        thread::sleep(Duration::from_millis(20));
    }
}

/// What the output and the end of a binary mean together: a bad end that no failed test
/// explains is a failure of its own.
fn outcome(name: &str, text: &str, ended: &Ended) -> Outcome {
    let parsed = Outcome::parse(text);
    let explained = parsed.as_ref().is_some_and(|o| !o.failed.is_empty());
    let why = match ended {
        Ended::Badly(why) if !explained => why,
        Ended::Well if parsed.is_none() && name != "doc tests" => "ended without a result",
        _ => return parsed.unwrap_or_default(),
    };
    let mut outcome = parsed.unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    let last = lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n");
    outcome
        .failed
        .extend(Outcome::failure(name, format!("{last}\n{why}")).failed);
    outcome
}

fn read_from(log: &Path, start: u64) -> Result<String> {
    let read = || {
        let mut file = File::open(log)?;
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    };
    let bytes = read().with_context(|| format!("read {}", log.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARTIFACTS: &str = concat!(
        r#"{"reason":"compiler-artifact","manifest_path":"/w/agent/Cargo.toml","target":{"kind":["test"],"name":"labs"},"profile":{"test":true},"executable":"/t/labs-1"}"#,
        "\n",
        r#"{"reason":"compiler-artifact","manifest_path":"/w/agent/Cargo.toml","target":{"kind":["lib"],"name":"the_agent"},"profile":{"test":true},"executable":"/t/agent-1"}"#,
        "\n",
        r#"{"reason":"compiler-artifact","manifest_path":"/w/agent/Cargo.toml","target":{"kind":["bin"],"name":"agent"},"profile":{"test":false},"executable":"/t/agent"}"#,
        "\n",
        r#"{"reason":"compiler-artifact","manifest_path":"/w/x/Cargo.toml","target":{"kind":["lib"],"name":"x"},"profile":{"test":true},"executable":null}"#,
        "\n",
        r#"{"reason":"compiler-artifact","manifest_path":"/w/xtask/Cargo.toml","target":{"kind":["bin"],"name":"xtask"},"profile":{"test":true},"executable":"/t/xtask-1"}"#,
        "\nnot json\n",
        r#"{"reason":"build-finished","success":true}"#,
    );

    #[test]
    fn test_binaries_are_found_and_labs_come_last() {
        let found = found(ARTIFACTS);
        let names: Vec<_> = found.iter().map(|b| b.name.as_str()).collect();
        assert_eq!(names, ["agent", "xtask main", "agent labs"]);
        assert_eq!(found[2].executable, Path::new("/t/labs-1"));
        assert_eq!(found[2].package, Path::new("/w/agent"));
    }

    #[test]
    fn only_labs_run_alone_and_only_the_privileged_run_the_ignored() {
        let found = found(ARTIFACTS);
        assert_eq!(
            found[0].arguments(None, false),
            ["--show-output", "--color=never"]
        );
        assert_eq!(
            found[2].arguments(Some("takeover"), true),
            [
                "--show-output",
                "--color=never",
                "--include-ignored",
                "--test-threads=1",
                "takeover"
            ]
        );
    }

    #[test]
    fn a_binary_that_dies_fails_with_its_last_words() {
        let died = outcome(
            "x",
            "running 1 test\nthread panicked",
            &Ended::Badly("signal: 6".to_owned()),
        );
        assert_eq!(died.failed.len(), 1);
        assert!(died.failed[0].said.ends_with("thread panicked\nsignal: 6"));
        let silent = outcome("x", "", &Ended::Well);
        assert_eq!(silent.failed.len(), 1);
    }

    #[test]
    fn a_bad_end_counts_unless_a_failed_test_explains_it() {
        let passed = "test result: ok. 1 passed; 0 failed; 0 ignored\n";
        let failed = "failures:\n    a\n\ntest result: FAILED. 1 passed; 1 failed; 0 ignored\n";
        let badly = || Ended::Badly("exit status: 101".to_owned());
        assert_eq!(outcome("x", passed, &badly()).failed.len(), 1);
        assert_eq!(outcome("x", failed, &badly()).failed.len(), 1);
        assert_eq!(outcome("x", passed, &Ended::Well).failed.len(), 0);
    }

    #[test]
    fn a_workspace_without_doc_tests_is_no_failure() {
        assert!(outcome("doc tests", "", &Ended::Well).is_empty());
    }
}
