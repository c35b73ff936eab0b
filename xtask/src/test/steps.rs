//! The checks around the tests; each counts as one.

use std::path::Path;

use super::libtest::Outcome;
use crate::{cmd, tidy};

/// One check.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// As it is printed and counted.
    pub name: &'static str,
    /// The cargo arguments; none for `tidy`, which is ours.
    cargo: &'static [&'static str],
    /// A variable cargo needs for it.
    variable: Option<(&'static str, &'static str)>,
}

/// All of them, the cheapest first.
pub const ALL: [Step; 4] = [
    Step {
        name: "fmt",
        // Only the names of the files: the differences are a command away.
        cargo: &["fmt", "--all", "--", "--check", "-l"],
        variable: None,
    },
    Step {
        name: "tidy",
        cargo: &[],
        variable: None,
    },
    Step {
        name: "clippy",
        cargo: &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--quiet",
            "--",
            "-D",
            "warnings",
        ],
        variable: None,
    },
    Step {
        name: "rustdoc",
        cargo: &["doc", "--workspace", "--no-deps", "--quiet"],
        variable: Some(("RUSTDOCFLAGS", "-Dwarnings")),
    },
];

impl Step {
    /// Runs it; all it says goes to the log and, if it fails, into the outcome.
    pub fn run(&self, log: &Path) -> Outcome {
        let failed = match self.cargo {
            [] => tidy::findings().map(|found| found.iter().map(ToString::to_string).collect()),
            _ => self.run_cargo(log),
        };
        match failed {
            Ok(lines) if lines.is_empty() => Outcome::success(),
            Ok(lines) => Outcome::failure(self.name, lines.join("\n")),
            Err(e) => Outcome::failure(self.name, format!("{e:#}")),
        }
    }

    /// What cargo said, if it failed.
    fn run_cargo(&self, log: &Path) -> anyhow::Result<Vec<String>> {
        let mut command = cmd::cargo();
        command.args(self.cargo).envs(self.variable);
        let output = cmd::captured(&mut command)?;
        let text = [output.stdout, output.stderr].concat();
        cmd::append(log, format!("\n$ {}\n", cmd::shown(&command)).as_bytes())?;
        cmd::append(log, &text)?;
        if output.status.success() {
            return Ok(Vec::new());
        }
        let mut lines: Vec<String> = String::from_utf8_lossy(&text)
            .lines()
            .map(str::to_owned)
            .collect();
        lines.push(format!("`{}`: {}", cmd::shown(&command), output.status));
        Ok(lines)
    }
}
