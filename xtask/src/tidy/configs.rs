//! The files below `configs/` are examples an operator copies: they must be right.

use std::process::Command;

use anyhow::Result;

use super::{File, Finding};
use crate::{build, cmd, workspace};

/// Exit statuses of `ha-agent check` that mean a file can be run: right, right with warnings.
const USABLE: [i32; 2] = [0, 5];

/// Lines every unit has: systemd must know when the agent is ready, how to start it, and what
/// to take down after one that died.
const UNIT_KEYS: [&str; 3] = ["Type=notify", "ExecStart=", "ExecStopPost="];

fn below_configs<'a>(files: &'a [File], end: &'a str) -> impl Iterator<Item = &'a File> {
    files
        .iter()
        .filter(move |file| file.path.starts_with("configs/") && file.path.ends_with(end))
}

/// Units that lack a key.
pub fn check_units(files: &[File]) -> Vec<Finding> {
    let mut found = Vec::new();
    for unit in below_configs(files, ".service") {
        for key in UNIT_KEYS {
            let has = |line: &str| match key.ends_with('=') {
                true => line.starts_with(key),
                false => line == key,
            };
            if !unit.text.lines().any(|line| has(line.trim())) {
                found.push(unit.finding(1, format!("no `{key}`"), "add it to [Service]"));
            }
        }
    }
    found
}

/// Configurations that our own checker refuses. Builds the agent if there is one to check.
pub fn check_examples(files: &[File]) -> Result<Vec<Finding>> {
    let mut examples = below_configs(files, ".toml").peekable();
    if examples.peek().is_none() {
        return Ok(Vec::new());
    }
    let agent = build::agent(&[])?;
    check_with(examples, |example| {
        let mut command = Command::new(&agent);
        command
            .arg("check")
            .arg(&example.path)
            .current_dir(workspace::root());
        let output = cmd::captured(&mut command)?;
        let said = [output.stderr, output.stdout].concat();
        Ok((
            output.status.code(),
            String::from_utf8_lossy(&said).into_owned(),
        ))
    })
}

/// The same with any checker: exit status and what it said.
fn check_with<'a>(
    examples: impl Iterator<Item = &'a File>,
    checker: impl Fn(&File) -> Result<(Option<i32>, String)>,
) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    for example in examples {
        let (code, said) = checker(example)?;
        if !code.is_some_and(|code| USABLE.contains(&code)) {
            let first = said
                .lines()
                .find(|line| !line.trim().is_empty())
                .unwrap_or("it says nothing");
            found.push(example.finding(
                1,
                format!("`ha-agent check` refuses it: {}", first.trim()),
                "an example must work as it is",
            ));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::testing::{file, lines};

    const UNIT: &str = "[Service]\nType=notify\nExecStart=/usr/sbin/ha-agent run\nExecStopPost=-/usr/sbin/ha-agent x\n";

    #[test]
    fn a_unit_has_all_its_keys() {
        assert_eq!(lines(check_units, "configs/ha-agent.service", UNIT), [0; 0]);
        assert_eq!(lines(check_units, "elsewhere/x.service", ""), [0; 0]);
    }

    #[test]
    fn a_unit_without_one_is_found() {
        for key in UNIT_KEYS {
            let without: String = UNIT
                .lines()
                .filter(|l| !l.starts_with(key))
                .map(|l| format!("{l}\n"))
                .collect();
            assert_eq!(
                lines(check_units, "configs/ha-agent.service", &without),
                [1],
                "{key}"
            );
        }
        let simple = UNIT.replace("Type=notify", "Type=simple\n#Type=notify");
        assert_eq!(lines(check_units, "configs/ha-agent.service", &simple), [1]);
    }

    #[test]
    fn an_example_the_checker_refuses_is_found() -> Result<()> {
        let example = file("configs/pair.toml", "");
        let with = |code| {
            check_with([&example].into_iter(), move |_| {
                Ok((code, "\nline 3: no such key\n".to_owned()))
            })
        };
        assert!(with(Some(0))?.is_empty());
        assert!(with(Some(5))?.is_empty());
        for code in [Some(1), Some(101), None] {
            let found = with(code)?;
            assert_eq!(found.len(), 1);
            assert!(found[0].what.ends_with("line 3: no such key"));
        }
        Ok(())
    }

    #[test]
    fn only_configurations_below_configs_are_examples() {
        let files = [
            file("configs/a.toml", ""),
            file("Cargo.toml", ""),
            file("configs/a.service", ""),
        ];
        assert_eq!(below_configs(&files, ".toml").count(), 1);
    }
}
