//! What is wrong with a text that is not TOML: the parser's words, and ours where they are clearer.

use super::keys::{Key, Table};
use super::report::Report;
use super::section::for_example;

/// Reports the error of the parser.
pub(super) fn report(report: &mut Report<'_>, text: &str, error: &toml::de::Error) {
    let at = error.span().unwrap_or(text.len()..text.len());
    let line_start = text[..at.start]
        .rfind('\n')
        .map_or(0, |newline| newline + 1);
    let before = &text[line_start..at.start];
    let rest = text[at.start..].lines().next().unwrap_or_default().trim();
    let key = before.split('=').next().unwrap_or_default().trim();
    let value_missing =
        before.trim_end().ends_with('=') && (rest.is_empty() || rest.starts_with('#'));
    if value_missing {
        let fix = match known(key) {
            Some(key) => for_example(key),
            None => "write a value behind the equals sign".to_owned(),
        };
        report.error(at, "the value is missing", fix);
        return;
    }
    let fix = if text.contains("vrrp_instance") && text.contains('{') {
        "this looks like keepalived.conf: see configs/examples/keepalived-compatible".to_owned()
    } else if error.message().contains("duplicate key") {
        "keep one of them".to_owned()
    } else if let Some(key) = known(key) {
        for_example(key)
    } else {
        "write key = value: a number, true or false, \"a text\" or [a list]".to_owned()
    };
    report.error(at, format!("not TOML: {}", error.message()), fix);
}

fn known(key: &str) -> Option<Key> {
    let mut all = Table::VALUED.iter().flat_map(|table| table.keys());
    all.find(|(name, _)| *name == key).copied()
}
