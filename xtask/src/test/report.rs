//! What is printed: a line per binary, the failures, and the count on the last line.

use std::fmt;
use std::path::Path;

use super::libtest::{Named, Outcome};
use crate::workspace;

/// How many lines of one failure are shown; the log has the rest.
const SHOWN: usize = 40;

/// The sum of all outcomes.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// In CI a skip is a failure.
    skips_fail: bool,
    total: Outcome,
}

impl Report {
    /// An empty report.
    pub fn new(skips_fail: bool) -> Self {
        Self {
            skips_fail,
            total: Outcome::default(),
        }
    }

    /// Adds what one binary or step came to, and prints its line and its failures.
    pub fn add(&mut self, name: &str, outcome: &Outcome) {
        if outcome.is_empty() {
            return;
        }
        let outcome = self.judged(outcome);
        println!("{name:<24} {}", Counts(&outcome));
        for failed in &outcome.failed {
            println!("  FAILED {}{}", failed.test, indented(&failed.said));
        }
        for (reason, tests) in by_reason(&outcome.skipped) {
            println!("  skipped ({reason}): {}", tests.join(", "));
        }
        self.total.passed += outcome.passed;
        self.total.failed.extend(outcome.failed);
        self.total.skipped.extend(outcome.skipped);
    }

    /// The outcome as this run counts it.
    fn judged(&self, outcome: &Outcome) -> Outcome {
        let mut outcome = outcome.clone();
        if self.skips_fail {
            let skipped = outcome.skipped.drain(..).map(|skip| Named {
                said: format!("skipped, and CI=true: {}", skip.said),
                ..skip
            });
            outcome.failed.extend(skipped);
        }
        outcome
    }

    /// Prints where the rest is and, alone on the last line, the count.
    pub fn print_end(&self, log: &Path) {
        if !self.is_green() {
            println!("all output: {}", workspace::short(log));
        }
        println!("{}", Counts(&self.total));
    }

    /// Nothing failed.
    pub fn is_green(&self) -> bool {
        self.total.failed.is_empty()
    }
}

/// `12 passed, 0 failed`, or `12 passed, 0 failed, 3 skipped`.
struct Counts<'a>(&'a Outcome);

impl fmt::Display for Counts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome {
            passed,
            failed,
            skipped,
        } = self.0;
        write!(f, "{passed} passed, {} failed", failed.len())?;
        match skipped.len() {
            0 => Ok(()),
            n => write!(f, ", {n} skipped"),
        }
    }
}

/// One line stays on the line; more go below it, the last [`SHOWN`] of them. A backtrace is
/// for the log.
fn indented(said: &str) -> String {
    let lines: Vec<_> = said
        .trim_end()
        .lines()
        .take_while(|line| *line != "stack backtrace:")
        .collect();
    match lines.as_slice() {
        [] => String::new(),
        [one] => format!(": {one}"),
        all => {
            let left_out = all.len().saturating_sub(SHOWN);
            let mut text = String::new();
            if left_out > 0 {
                text.push_str(&format!("\n    ({left_out} lines before)"));
            }
            for line in &all[left_out..] {
                text.push_str("\n    ");
                text.push_str(line);
            }
            text
        }
    }
}

/// Skips gathered by their reason, in the order they came.
fn by_reason(skipped: &[Named]) -> Vec<(&str, Vec<&str>)> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for Named { test, said } in skipped {
        match groups.iter_mut().find(|(reason, _)| reason == said) {
            Some((_, tests)) => tests.push(test),
            None => groups.push((said, vec![test])),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(passed: usize, failed: usize, skipped: usize) -> String {
        let named = |n| {
            vec![
                Named {
                    test: "t".to_owned(),
                    said: String::new()
                };
                n
            ]
        };
        let (failed, skipped) = (named(failed), named(skipped));
        Counts(&Outcome {
            passed,
            failed,
            skipped,
        })
        .to_string()
    }

    #[test]
    fn the_last_line_has_exactly_this_form() {
        assert_eq!(counts(12, 0, 0), "12 passed, 0 failed");
        assert_eq!(counts(12, 1, 3), "12 passed, 1 failed, 3 skipped");
    }

    #[test]
    fn a_skip_is_a_failure_in_ci_only() {
        let skip = Outcome::skipped("lab", "needs root");
        let mut here = Report::new(false);
        here.add("labs", &skip);
        assert!(here.is_green());
        assert_eq!(
            Counts(&here.total).to_string(),
            "0 passed, 0 failed, 1 skipped"
        );
        let mut ci = Report::new(true);
        ci.add("labs", &skip);
        assert!(!ci.is_green());
        assert_eq!(Counts(&ci.total).to_string(), "0 passed, 1 failed");
    }

    #[test]
    fn skips_are_gathered_by_reason() {
        let named = |test: &str, said: &str| Named {
            test: test.to_owned(),
            said: said.to_owned(),
        };
        let skipped = [named("a", "x"), named("b", "y"), named("c", "x")];
        assert_eq!(
            by_reason(&skipped),
            [("x", vec!["a", "c"]), ("y", vec!["b"])]
        );
    }

    #[test]
    fn long_failures_are_cut_from_the_front() {
        assert_eq!(indented("one\n"), ": one");
        let long: String = (0..100).map(|n| format!("line {n}\n")).collect();
        let text = indented(&long);
        assert!(
            text.starts_with("\n    (60 lines before)\n    line 60\n"),
            "{text}"
        );
        assert!(text.ends_with("line 99"));
        assert_eq!(
            indented("panicked at x\nstack backtrace:\n   0: y\n"),
            ": panicked at x"
        );
    }
}
