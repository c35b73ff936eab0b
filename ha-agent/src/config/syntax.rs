//! What is wrong with a text that is not TOML: the parser's words, and ours where they are clearer.

use super::keys::{Key, Table};
use super::report::Report;
use super::section::for_example;

/// Reports the error of the parser.
pub(super) fn report(report: &mut Report<'_>, text: &str, error: &toml::de::Error) {
    let at = error.span().unwrap_or(text.len()..text.len());
    let (before, rest) = text.split_at_checked(at.start).unwrap_or((text, ""));
    let before = before.rsplit('\n').next().unwrap_or_default().trim_end();
    let rest = rest.lines().next().unwrap_or_default().trim_start();
    let key = before.split('=').next().unwrap_or_default().trim();
    if before.ends_with('=') && (rest.is_empty() || rest.starts_with('#')) {
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
