//! Reads what a Rust test binary prints.

/// What one binary, or one step, came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How many passed.
    pub passed: usize,
    /// Which failed, and what they said.
    pub failed: Vec<Named>,
    /// Which were skipped, and why.
    pub skipped: Vec<Named>,
}

/// A test and what there is to say about it: its output, or the reason it was skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The test's path, such as `vrrp::router::tests::resigns`.
    pub test: String,
    /// Output or reason.
    pub said: String,
}

/// Begins the line a test prints to say that it could not run after all (an old kernel, say):
/// it then counts as skipped for the reason that follows, not as passed.
pub const SKIP: &str = "SKIP: ";

impl Named {
    fn new(test: &str, said: impl Into<String>) -> Self {
        Self {
            test: test.to_owned(),
            said: said.into(),
        }
    }
}

impl Outcome {
    /// One thing, and it passed.
    pub fn success() -> Self {
        Self {
            passed: 1,
            ..Self::default()
        }
    }

    /// One thing, and it failed.
    pub fn failure(test: &str, said: impl Into<String>) -> Self {
        Self {
            failed: vec![Named::new(test, said)],
            ..Self::default()
        }
    }

    /// One thing, and it did not run.
    pub fn skipped(test: &str, reason: impl Into<String>) -> Self {
        Self {
            skipped: vec![Named::new(test, reason)],
            ..Self::default()
        }
    }

    /// Nothing ran: the filter left every test out.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// From the output of `TEST-BINARY --show-output`, or of several in a row as doc tests
    /// print it. `None` if there is no `test result:` line, that is, if the binary died.
    ///
    /// Counts come from those lines: the ones above may be torn by what child processes write.
    pub fn parse(text: &str) -> Option<Self> {
        let mut outcome = None;
        let mut run = Run::default();
        for line in text.lines() {
            if let Some(result) = line.strip_prefix("test result: ") {
                std::mem::take(&mut run).finish(result, outcome.get_or_insert_default());
            } else {
                run.line(line);
            }
        }
        outcome
    }
}

/// The output of one binary, while it is read.
#[derive(Default)]
struct Run {
    block: Block,
    /// Tests with output, `---- NAME stdout ----`, and the block they stand in.
    sections: Vec<(Block, Named)>,
    in_section: bool,
    /// Names listed at the end of the block of failures.
    failures: Vec<String>,
    ignored: Vec<Named>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Block {
    #[default]
    Running,
    Successes,
    Failures,
}

impl Run {
    fn line(&mut self, line: &str) {
        if line == "failures:" || line == "successes:" {
            // Each stands twice: before the sections, and before the list of names.
            self.in_section = false;
            self.block = match line {
                "failures:" => Block::Failures,
                _ => Block::Successes,
            };
        } else if self.block == Block::Running {
            self.ignored.extend(ignored(line));
        } else if let Some(test) = section(line) {
            self.in_section = true;
            self.sections.push((self.block, Named::new(test, "")));
        } else if self.in_section {
            if let Some((_, named)) = self.sections.last_mut() {
                named.said.push_str(line);
                named.said.push('\n');
            }
        } else if let (Block::Failures, Some(test)) = (self.block, line.strip_prefix("    ")) {
            self.failures.push(test.to_owned());
        }
    }

    fn finish(self, result: &str, outcome: &mut Outcome) {
        let said = |test: &str| {
            let of =
                |(block, named): &&(Block, Named)| *block == Block::Failures && named.test == test;
            self.sections
                .iter()
                .find(of)
                .map_or_else(String::new, |(_, named)| named.said.trim().to_owned())
        };
        let failed = self
            .failures
            .iter()
            .map(|test| Named::new(test, said(test)));
        outcome.failed.extend(failed);
        for _ in self.failures.len()..count(result, "failed") {
            outcome.failed.push(Named::new("(not named)", ""));
        }

        let given_up = |(block, named): &(Block, Named)| {
            let reason = named
                .said
                .lines()
                .find_map(|line| line.strip_prefix(SKIP))?;
            (*block == Block::Successes).then(|| Named::new(&named.test, reason))
        };
        let given_up: Vec<_> = self.sections.iter().filter_map(given_up).collect();
        outcome.passed += count(result, "passed").saturating_sub(given_up.len());
        outcome.skipped.extend(given_up);
        outcome.skipped.extend(self.ignored);
    }
}

/// `---- NAME stdout ----`
fn section(line: &str) -> Option<&str> {
    line.strip_prefix("---- ")?.strip_suffix(" stdout ----")
}

/// `test NAME ... ignored` or `test NAME ... ignored, REASON`
fn ignored(line: &str) -> Option<Named> {
    let (test, rest) = line.strip_prefix("test ")?.split_once(" ... ignored")?;
    Some(Named::new(
        test,
        rest.strip_prefix(", ").unwrap_or("ignored"),
    ))
}

/// The number before a word in `ok. 3 passed; 0 failed; 1 ignored; ..`; 0 if it is not there.
fn count(result: &str, word: &str) -> usize {
    result
        .split([';', '.'])
        .filter_map(|part| part.trim().split_once(' '))
        .find(|(_, name)| *name == word)
        .and_then(|(number, _)| number.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_passed() {
        let text = "\nrunning 2 tests\ntest a ... ok\ntest b ... ok\n\nsuccesses:\n\nsuccesses:\n    a\n    b\n\n\
                    test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 5 filtered out; finished in 0.00s\n";
        let outcome = Outcome::parse(text).unwrap();
        assert_eq!(outcome.passed, 2);
        assert!(outcome.failed.is_empty() && outcome.skipped.is_empty());
    }

    #[test]
    fn failures_carry_their_output_and_only_theirs() {
        let text = "running 3 tests\ntest m::a ... FAILED\ntest m::b ... ok\ntest m::c ... FAILED\n\n\
            successes:\n\n---- m::b stdout ----\nfine\n\n\nsuccesses:\n    m::b\n\n\
            failures:\n\n---- m::a stdout ----\nassertion failed\n    indented\n\n\nfailures:\n    m::a\n    m::c\n\n\
            test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
        let outcome = Outcome::parse(text).unwrap();
        assert_eq!(outcome.passed, 1);
        assert_eq!(
            outcome.failed,
            [
                Named::new("m::a", "assertion failed\n    indented"),
                Named::new("m::c", "")
            ]
        );
    }

    #[test]
    fn ignored_tests_are_skipped_by_name_and_reason() {
        let text = "running 3 tests\ntest a ... ignored, needs root: namespaces\ntest b ... ignored\ntest c ... ok\n\n\
            test result: ok. 1 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
        let outcome = Outcome::parse(text).unwrap();
        assert_eq!(outcome.passed, 1);
        assert_eq!(
            outcome.skipped,
            [
                Named::new("a", "needs root: namespaces"),
                Named::new("b", "ignored")
            ]
        );
    }

    #[test]
    fn a_test_that_says_so_is_skipped_and_not_passed() {
        let text = "running 2 tests\ntest a ... ok\ntest b ... ok\n\nsuccesses:\n\n---- a stdout ----\n\
            looking\nSKIP: kernel 5.10 has no live frames, needs 5.18\n\n\nsuccesses:\n    a\n    b\n\n\
            test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
        let outcome = Outcome::parse(text).unwrap();
        assert_eq!(outcome.passed, 1);
        assert_eq!(
            outcome.skipped,
            [Named::new(
                "a",
                "kernel 5.10 has no live frames, needs 5.18"
            )]
        );
    }

    #[test]
    fn torn_lines_do_not_change_the_counts() {
        let text = "running 2 tests\ntest a ... child says hello\nok\ntest b ... FAIL\nED\n\n\
            test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
        let outcome = Outcome::parse(text).unwrap();
        assert_eq!((outcome.passed, outcome.failed.len()), (1, 1));
    }

    #[test]
    fn several_results_add_up() {
        let one = "running 1 test\ntest a ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(Outcome::parse(&one.repeat(3)).unwrap().passed, 3);
    }

    #[test]
    fn a_binary_that_died_has_no_outcome() {
        assert_eq!(Outcome::parse("running 2 tests\ntest a ... ok\n"), None);
    }
}
