//! Words of an internal tracker, which say nothing to a reader of the tree.

use super::{File, Finding};

/// In pieces, so that this file does not find itself.
const WORDS: [&str; 3] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];

/// Before a number it is a ticket.
const TICKET: &str = concat!("iss", "ue #");

/// What is read: sources, scripts, configuration and prose, by the end of the name.
const SOURCES: [&str; 7] = [".rs", ".toml", ".md", ".sh", ".service", ".conf", "/run"];

/// Tickets and notes to oneself.
pub fn check(files: &[File]) -> Vec<Finding> {
    let source = |file: &&File| SOURCES.iter().any(|end| file.path.ends_with(end));
    let mut found = Vec::new();
    for file in files.iter().filter(source) {
        for (line, text) in file.lines() {
            if let Some(word) = WORDS.iter().find(|word| has_word(text, word)) {
                found.push(file.finding(
                    line,
                    format!("`{word}`"),
                    "do it, or say what is so and why",
                ));
            }
            if names_ticket(text) {
                found.push(file.finding(line, "a ticket's number", "say what the ticket says"));
            }
        }
    }
    found
}

/// Whether a line has a word by itself.
fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].chars().next_back().is_some_and(part)
            && !text[at + word.len()..].chars().next().is_some_and(part)
    })
}

fn names_ticket(text: &str) -> bool {
    let text = text.to_lowercase();
    text.match_indices(TICKET)
        .any(|(at, _)| text[at + TICKET.len()..].starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::testing::lines;

    #[test]
    fn notes_and_tickets_are_found() {
        for word in WORDS {
            assert_eq!(
                lines(check, "a/b.rs", &format!("\n// {word}: later")),
                [2],
                "{word}"
            );
        }
        assert_eq!(
            lines(check, "README.md", &format!("see I{}12", &TICKET[1..])),
            [1]
        );
        assert_eq!(lines(check, ".ci/run", &format!("# {}", WORDS[0])), [1]);
    }

    #[test]
    fn other_words_and_files_are_not() {
        let inside = format!("let {}_LIST = 1; let A{} = 2;", WORDS[0], WORDS[1]);
        assert_eq!(lines(check, "a/b.rs", &inside), [0; 0]);
        assert_eq!(
            lines(
                check,
                "a/b.rs",
                &format!("{}n of many, keepalived#1143", TICKET)
            ),
            [0; 0]
        );
        assert_eq!(lines(check, "a/capture.hex", WORDS[0]), [0; 0]);
    }
}
