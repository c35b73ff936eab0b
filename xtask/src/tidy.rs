//! `cargo xtask tidy`: the rules of this codebase that the compiler does not know.
//!
//! Each rule is a function from the files of the tree to findings, so that a test can show it
//! a file it must object to and one it must not.

pub mod configs;
pub mod imports;
pub mod names;
pub mod paths;
pub mod rust;
pub mod unsafe_code;
pub mod words;

use std::fmt;
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{cmd, workspace};

/// A text file of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Relative to the workspace, with `/`.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// A rule: what it objects to in these files.
type Rule = fn(&[File]) -> Vec<Finding>;

/// A place where a rule is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file, relative to the workspace.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// What is there.
    pub what: String,
    /// What to do about it.
    pub fix: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            line,
            what,
            fix,
        } = self;
        write!(f, "{path}:{line}: {what}; fix: {fix}")
    }
}

impl File {
    /// A finding in this file.
    pub fn finding(&self, line: usize, what: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding {
            path: self.path.clone(),
            line,
            what: what.into(),
            fix: fix.into(),
        }
    }

    /// Lines with their numbers.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }
}

/// Prints what is found; anything found is an error.
pub fn run() -> Result<()> {
    let found = findings()?;
    for finding in &found {
        println!("{finding}");
    }
    match found.len() {
        0 => Ok(()),
        n => bail!("tidy: {n} to mend, listed above"),
    }
}

/// Everything all rules object to in the tree as it is.
pub fn findings() -> Result<Vec<Finding>> {
    let files = tree()?;
    let rules: [Rule; 6] = [
        imports::check,
        names::check,
        unsafe_code::check,
        paths::check,
        words::check,
        configs::check_units,
    ];
    let mut found: Vec<_> = rules.iter().flat_map(|rule| rule(&files)).collect();
    found.extend(configs::check_examples(&files)?);
    Ok(found)
}

/// The text files git tracks, and those it would if asked.
fn tree() -> Result<Vec<File>> {
    let mut command = Command::new("git");
    command
        // A clone made by another user is ours to read.
        .args([
            "-c",
            "safe.directory=*",
            "ls-files",
            "-z",
            "-co",
            "--exclude-standard",
        ])
        .current_dir(workspace::root());
    let listed = cmd::stdout(&mut command)
        .context("tidy reads the files git knows; fix: run it in a git checkout")?;
    let mut files = Vec::new();
    for path in listed.split_terminator('\0') {
        let full = workspace::root().join(path);
        // Deleted but not yet committed, a link, a submodule: not a file of the tree.
        if !full.symlink_metadata().is_ok_and(|meta| meta.is_file()) {
            continue;
        }
        let bytes = fs::read(&full).with_context(|| format!("read {}", full.display()))?;
        // What is not UTF-8 is a capture or a picture.
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(File {
                path: path.to_owned(),
                text,
            });
        }
    }
    Ok(files)
}

#[cfg(test)]
pub(crate) mod testing {
    //! For the tests of the rules.

    use super::{File, Finding};

    /// A file of that path and text.
    pub(crate) fn file(path: &str, text: &str) -> File {
        File {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    /// The lines a rule objects to in one file.
    pub(crate) fn lines(
        rule: impl Fn(&[File]) -> Vec<Finding>,
        path: &str,
        text: &str,
    ) -> Vec<usize> {
        let found = rule(&[file(path, text)]);
        assert!(found.iter().all(|f| f.path == path));
        found.iter().map(|f| f.line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_with_its_place_and_fix() {
        let finding = testing::file("a/b.rs", "").finding(7, "this is there", "take it away");
        assert_eq!(
            finding.to_string(),
            "a/b.rs:7: this is there; fix: take it away"
        );
    }

    #[test]
    fn the_tree_has_this_file_and_nothing_that_git_ignores() {
        let tree = tree().unwrap();
        assert!(tree.iter().any(|f| f.path == "xtask/src/tidy.rs"));
        assert!(!tree.iter().any(|f| f.path.starts_with("target/")));
    }
}
