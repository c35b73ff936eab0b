//! A table of the file while it is read: one typed look per key, every mistake reported.
//!
//! A key that is missing, wrong or of another type never stops the reading: the caller gets
//! `None` or the default and goes on, and an error in the report refuses the result.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::duration::{self, Written};
use super::keys::{Key, Table};
use super::report::{Report, Span};
use super::suggest;

/// A value and its place.
pub(super) type Item<'t> = &'t Spanned<DeValue<'t>>;

/// A table being read.
#[derive(Clone)]
pub(super) struct Section<'t> {
    table: Table,
    /// What stands for the table in a finding.
    pub(super) header: Span,
    entries: &'t DeTable<'t>,
}

impl<'t> Section<'t> {
    /// Opens a table, and reports the keys that nobody will ask for.
    pub(super) fn open(
        report: &mut Report<'_>,
        table: Table,
        header: Span,
        entries: &'t DeTable<'t>,
    ) -> Self {
        for key in entries.keys() {
            if !table.has(key.get_ref()) {
                unknown(report, table, key.span(), key.get_ref());
            }
        }
        Self {
            table,
            header,
            entries,
        }
    }

    /// The value of a key, if it is there.
    pub(super) fn item(&self, key: &'static str) -> Option<(Key, Item<'t>)> {
        let known = self.table.keys().iter().find(|(name, _)| *name == key);
        debug_assert!(known.is_some(), "{key} is missing in the vocabulary");
        Some((*known?, self.entries.get(key)?))
    }

    /// A value that may be absent; `None` also when it is wrong.
    pub(super) fn optional<T>(
        &self,
        report: &mut Report<'_>,
        key: &'static str,
        read: impl FnOnce(&mut Report<'_>, Key, Item<'t>) -> Option<T>,
    ) -> Option<Spanned<T>> {
        let (key, item) = self.item(key)?;
        read(report, key, item).map(|value| Spanned::new(item.span(), value))
    }

    /// A value that must be there.
    pub(super) fn required<T>(
        &self,
        report: &mut Report<'_>,
        key: &'static str,
        read: impl FnOnce(&mut Report<'_>, Key, Item<'t>) -> Option<T>,
    ) -> Option<Spanned<T>> {
        if !self.entries.contains_key(key) && !self.misspelt(key) {
            let example = self.table.keys().iter().find(|(name, _)| *name == key);
            let fix = example.map_or(String::new(), |key| for_example(*key));
            let message = format!("{} has no {key}", self.table.label());
            report.error(self.header.clone(), message, fix);
        }
        self.optional(report, key, read)
    }

    /// Whether an unknown key was meant to be this one, and is reported as that.
    fn misspelt(&self, key: &str) -> bool {
        let names = || self.table.keys().iter().map(|(name, _)| *name);
        let mut unknown = self.entries.keys().filter(|k| !self.table.has(k.get_ref()));
        unknown.any(|written| suggest::nearest(written.get_ref(), names()) == Some(key))
    }

    /// A value with a default; `None` when it is wrong.
    pub(super) fn defaulted<T>(
        &self,
        report: &mut Report<'_>,
        key: &'static str,
        default: T,
        read: impl FnOnce(&mut Report<'_>, Key, Item<'t>) -> Option<T>,
    ) -> Option<Spanned<T>> {
        if self.entries.contains_key(key) {
            self.optional(report, key, read)
        } else {
            Some(Spanned::new(self.header.clone(), default))
        }
    }
}

fn unknown(report: &mut Report<'_>, table: Table, at: Span, key: &str) {
    let names = || table.keys().iter().map(|(name, _)| *name);
    let elsewhere = Table::HEADED.into_iter().find(|other| other.has(key));
    let fix = if let Some(here) = suggest::from_keepalived(key) {
        here.to_owned()
    } else if let Some(near) = suggest::nearest(key, names()) {
        format!("did you mean {near}?")
    } else if let Some(other) = elsewhere {
        format!("it belongs to {}", other.label())
    } else {
        format!(
            "the keys here are {}",
            names().collect::<Vec<_>>().join(", ")
        )
    };
    report.error(at, format!("{} has no key {key:?}", table.label()), fix);
}

/// The fix that always helps: a right value.
pub(super) fn for_example((key, example): Key) -> String {
    format!("for example {key} = {example}")
}

/// Words as a sentence offers them: `a, b or c`.
fn either<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<&str> = words.into_iter().collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

fn wrong_type(report: &mut Report<'_>, key: Key, item: Item<'_>, wanted: &str) {
    let got = match item.get_ref() {
        DeValue::Integer(_) => "an integer".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        other => format!("a {}", other.type_str()),
    };
    let message = format!("{} must be {wanted}, not {got}", key.0);
    report.error(item.span(), message, for_example(key));
}

/// The text of an entry of a list.
pub(super) fn entry_text<'t>(report: &mut Report<'_>, key: Key, item: Item<'t>) -> Option<&'t str> {
    let text = item.get_ref().as_str();
    if text.is_none() {
        let message = format!("an entry of {} must be a text in quotes", key.0);
        report.error(item.span(), message, for_example(key));
    }
    text
}

/// A text.
pub(super) fn text<'t>(report: &mut Report<'_>, key: Key, item: Item<'t>) -> Option<&'t str> {
    let text = item.get_ref().as_str();
    if text.is_none() {
        wrong_type(report, key, item, "a text in quotes");
    }
    text
}

/// `true` or `false`.
pub(super) fn boolean(report: &mut Report<'_>, key: Key, item: Item<'_>) -> Option<bool> {
    let value = item.get_ref().as_bool();
    if value.is_none() {
        wrong_type(report, key, item, "true or false");
    }
    value
}

/// A whole number in a range.
pub(super) fn integer(
    report: &mut Report<'_>,
    key: Key,
    item: Item<'_>,
    range: RangeInclusive<u32>,
) -> Option<u32> {
    let Some(number) = item.get_ref().as_integer() else {
        wrong_type(report, key, item, "a whole number");
        return None;
    };
    let value = u32::from_str_radix(number.as_str(), number.radix()).ok();
    let value = value.filter(|value| range.contains(value));
    if value.is_none() {
        let message = format!(
            "{} must be {} {} {}, not {number}",
            key.0,
            range.start(),
            if range.end() - range.start() == 1 {
                "or"
            } else {
                "to"
            },
            range.end()
        );
        report.error(item.span(), message, for_example(key));
    }
    value
}

/// One of some words.
pub(super) fn choice<T: Copy>(
    report: &mut Report<'_>,
    key: Key,
    item: Item<'_>,
    words: &[(&'static str, T)],
) -> Option<T> {
    let written = text(report, key, item)?;
    let chosen = words.iter().find(|(word, _)| *word == written);
    if chosen.is_none() {
        let names = || words.iter().map(|(word, _)| *word);
        let message = format!("{} must be {}, not {written:?}", key.0, either(names()));
        let fix = match suggest::nearest(written, names()) {
            Some(near) => format!("did you mean {near:?}?"),
            None => for_example(key),
        };
        report.error(item.span(), message, fix);
    }
    chosen.map(|(_, value)| *value)
}

/// A duration.
pub(super) fn length(report: &mut Report<'_>, key: Key, item: Item<'_>) -> Option<Duration> {
    let DeValue::String(written) = item.get_ref() else {
        wrong_type(report, key, item, "a text with a unit (ms, s, m)");
        return None;
    };
    match duration::parse(written) {
        Ok(value) => Some(value),
        Err(wrong) => {
            let message = format!("{} is {written:?}, but a duration {wrong}", key.0);
            report.error(item.span(), message, for_example(key));
            None
        }
    }
}

/// A duration in a range, in seconds.
pub(super) fn length_in(
    report: &mut Report<'_>,
    key: Key,
    item: Item<'_>,
    seconds: RangeInclusive<u64>,
) -> Option<Duration> {
    let value = length(report, key, item)?;
    let (min, max) = (*seconds.start(), *seconds.end());
    let allowed = Duration::from_secs(min)..=Duration::from_secs(max);
    if allowed.contains(&value) {
        return Some(value);
    }
    let message = format!("{} must be {min}s to {max}s, not {}", key.0, Written(value));
    report.error(item.span(), message, for_example(key));
    None
}

/// A list, each entry read alone; wrong entries are left out.
pub(super) fn entries<'t, T>(
    report: &mut Report<'_>,
    key: Key,
    item: Item<'t>,
    mut read: impl FnMut(&mut Report<'_>, Key, Item<'t>) -> Option<T>,
) -> Option<Vec<Spanned<T>>> {
    let Some(list) = item.get_ref().as_array() else {
        wrong_type(report, key, item, "a list in brackets");
        return None;
    };
    let mut all = Vec::new();
    for entry in list.iter() {
        if let Some(value) = read(report, key, entry) {
            all.push(Spanned::new(entry.span(), value));
        }
    }
    Some(all)
}
