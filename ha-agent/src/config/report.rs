//! The findings of one run over one text, each with its place.

use std::ops::Range;

use super::diagnostic::{Diagnostic, Place, Position};
use super::suggest;

/// Bytes of the text, as the parser counts them.
pub(super) type Span = Range<usize>;

/// Longest excerpt of a line, in characters: a terminal's width less the indent.
const EXCERPT: usize = 100;

/// Findings kept: a text with more is not a configuration, and each costs memory.
const KEPT: usize = 1000;

/// Collects findings.
pub(super) struct Report<'t> {
    file: &'t str,
    text: &'t str,
    /// Offset of the first byte of each line.
    lines: Vec<usize>,
    found: Vec<(usize, Diagnostic)>,
    errors: usize,
}

impl<'t> Report<'t> {
    pub(super) fn new(file: &'t str, text: &'t str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self {
            file,
            text,
            lines: std::iter::once(0)
                .chain(breaks.map(|(at, _)| at + 1))
                .collect(),
            found: Vec::new(),
            errors: 0,
        }
    }

    pub(super) fn error(&mut self, at: Span, message: impl Into<String>, fix: impl Into<String>) {
        self.errors += 1;
        if self.found.len() < KEPT {
            let found = Diagnostic::error(self.place(&at), message, fix);
            self.found.push((at.start, found));
        }
    }

    pub(super) fn warning(&mut self, at: Span, message: impl Into<String>, fix: impl Into<String>) {
        if self.found.len() < KEPT {
            let found = Diagnostic::warning(self.place(&at), message, fix);
            self.found.push((at.start, found));
        }
    }

    /// How many errors there are so far.
    pub(super) const fn errors(&self) -> usize {
        self.errors
    }

    /// Everything found, in the order of the text.
    pub(super) fn found(mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|(at, _)| *at);
        self.found.into_iter().map(|(_, found)| found).collect()
    }

    /// The line of the bytes, counted from 1.
    pub(super) fn line(&self, at: &Span) -> usize {
        self.lines.partition_point(|&start| start <= at.start)
    }

    /// Where the bytes are.
    pub(super) fn place(&self, at: &Span) -> Place {
        let index = self.line(at) - 1;
        let start = self.lines[index];
        let rest = &self.text[start..];
        let line = rest.split('\n').next().unwrap_or(rest);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let before = (at.start - start).min(line.len());
        let column = line
            .char_indices()
            .take_while(|(byte, _)| *byte < before)
            .count();
        let (source, indent) = excerpt(line, column);
        Place {
            file: self.file.to_owned(),
            position: Some(Position {
                line: index + 1,
                column: column + 1,
                source,
                indent,
            }),
        }
    }
}

/// The line as it may be shown, and how far in the column is.
fn excerpt(line: &str, column: usize) -> (String, usize) {
    let shown = without_secret(line);
    let mut chars: Vec<char> = shown
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let blanks = chars.iter().take_while(|c| **c == ' ').count();
    let mut column = column.min(chars.len());
    if blanks <= column {
        chars.drain(..blanks);
        column -= blanks;
    }
    if chars.len() > EXCERPT {
        let from = column
            .saturating_sub(EXCERPT / 2)
            .min(chars.len() - EXCERPT);
        chars = chars.split_off(from);
        chars.truncate(EXCERPT);
        column -= from;
    }
    let text: String = chars.into_iter().collect();
    (text.trim_end().to_owned(), column)
}

/// The line up to a key that is `password` or nearly so: findings end up in logs.
fn without_secret(line: &str) -> String {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let mut at = 0;
    for part in line.split_inclusive(|c| !word(c)) {
        at += part.len();
        let key = part.trim_end_matches(|c| !word(c));
        if suggest::is_secret(key) {
            let rest = &line[at..];
            let assigned = rest.find('=').map_or("", |equals| &rest[..=equals]);
            return format!("{}{assigned} …", &line[..at]);
        }
    }
    line.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, at: usize) -> String {
        let found = Diagnostic::error(Report::new("f", text).place(&(at..at)), "m", "x");
        found.to_string()
    }

    #[test]
    fn columns_count_characters_and_the_caret_stands_below() {
        assert_eq!(
            shown("a = 1\n\tü = \"é\" x\r\n", 17),
            "f:2:10: error: m\n    ü = \"é\" x\n            ^\n  fix: x"
        );
    }

    #[test]
    fn the_end_of_the_text_is_a_place() {
        assert_eq!(
            shown("a = 1\n", 6),
            "f:2:1: error: m\n    \n    ^\n  fix: x"
        );
        assert_eq!(shown("", 0), "f:1:1: error: m\n    \n    ^\n  fix: x");
    }

    #[test]
    fn a_long_line_is_cut_around_the_column() {
        let line = format!("{}!{}", "a".repeat(500), "b".repeat(500));
        let place = Report::new("f", &line).place(&(500..501));
        let position = place.position.unwrap();
        assert_eq!(position.column, 501);
        assert_eq!(position.source.chars().count(), EXCERPT);
        assert_eq!(position.source.chars().nth(position.indent), Some('!'));
    }

    #[test]
    fn a_password_is_never_shown() {
        for line in [
            "password = \"1111\"",
            "pasword=\"1111\"",
            "instance = [{ name = \"a\", password = \"1111\" }]",
            "password \"1111\"",
            "\"password\" = \"1111\"",
            "auth_pass = \"1111\" # 1111",
        ] {
            for at in [0, line.len()] {
                let shown = shown(line, at);
                assert!(!shown.contains("1111"), "{shown}");
            }
        }
        assert_eq!(
            shown("password = \"1111\"", 11),
            "f:1:12: error: m\n    password = …\n               ^\n  fix: x"
        );
    }
}
