//! Values of the file that are more than a number or a word: names, paths and addresses.

use std::net::IpAddr;
use std::path::PathBuf;

use toml::de::DeValue;

use super::address;
use super::keys::{Key, Table};
use super::model::{Scope, VirtualAddress};
use super::report::Report;
use super::section::{Item, Section, choice, for_example, text};

/// Longest interface name, in bytes (IFNAMSIZ with its terminating zero is 16).
const INTERFACE_NAME: usize = 15;
/// Longest name of an instance or a node, in bytes: it stands in one column of the status table.
const LONGEST_NAME: usize = 64;

/// A name for people and for the command line.
pub(super) fn named(report: &mut Report<'_>, key: Key, item: Item<'_>) -> Option<String> {
    let name = text(report, key, item)?;
    let message = if name.is_empty() {
        format!("{} is empty", key.0)
    } else if name.len() > LONGEST_NAME {
        format!(
            "{} has {} bytes, more than {LONGEST_NAME}",
            key.0,
            name.len()
        )
    } else if name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/') {
        format!("{} has a blank, a slash or a control character", key.0)
    } else {
        return Some(name.to_owned());
    };
    report.error(item.span(), message, for_example(key));
    None
}

/// What the kernel takes for an interface name (`dev_valid_name`).
pub(super) fn interface(
    report: &mut Report<'_>,
    key: Key,
    item: Item<'_>,
    name: &str,
) -> Option<String> {
    let stranger = |c: char| c.is_whitespace() || c.is_control() || c == '/' || c == ':';
    let wrong = if name.is_empty() {
        "is empty".to_owned()
    } else if name.len() > INTERFACE_NAME {
        format!("has {} bytes, more than {INTERFACE_NAME}", name.len())
    } else if name == "." || name == ".." || name.contains(stranger) {
        "is . or .., or has a slash, a colon or a blank".to_owned()
    } else {
        return Some(name.to_owned());
    };
    let message = format!("interface name {name:?} {wrong}");
    report.error(item.span(), message, for_example(key));
    None
}

/// An absolute path.
pub(super) fn folder(report: &mut Report<'_>, key: Key, item: Item<'_>) -> Option<PathBuf> {
    let path = text(report, key, item)?;
    if path.starts_with('/') && !path.contains('\0') && !path.split('/').any(|part| part == "..") {
        return Some(PathBuf::from(path));
    }
    let message = format!(
        "{} must be an absolute path without .., not {path:?}",
        key.0
    );
    report.error(item.span(), message, for_example(key));
    None
}

/// The address of a host, without a prefix length.
pub(super) fn host(
    report: &mut Report<'_>,
    key: Key,
    item: Item<'_>,
    text: &str,
) -> Option<IpAddr> {
    let text = text.trim();
    match address::host(text) {
        Ok(address) => Some(address),
        Err(_) if text.contains('/') && address::host_prefix(text).is_ok() => {
            let message = format!("{} takes an address without a prefix length", key.0);
            let (address, _) = text.split_once('/').unwrap_or((text, ""));
            report.error(item.span(), message, format!("write \"{address}\""));
            None
        }
        Err(wrong) => {
            report.error(item.span(), format!("{}: {wrong}", key.0), wrong.fix());
            None
        }
    }
}

/// An entry of `addresses`.
pub(super) fn virtual_address(
    report: &mut Report<'_>,
    key: Key,
    item: Item<'_>,
) -> Option<VirtualAddress> {
    let (written, at, scope) = match item.get_ref() {
        DeValue::String(written) => (&**written, item.span(), None),
        DeValue::Table(entries) => {
            let s = Section::open(report, Table::Address, item.span(), entries);
            let scope = s.optional(report, "scope", |r, k, v| {
                let words = [
                    ("global", Scope::Global),
                    ("site", Scope::Site),
                    ("link", Scope::Link),
                    ("host", Scope::Host),
                ];
                choice(r, k, v, &words)
            });
            let written = s.required(report, "address", text)?;
            (*written.get_ref(), written.span(), scope)
        }
        _ => {
            let message = "an entry of addresses must be a text, or a table with address and scope";
            report.error(item.span(), message, for_example(key));
            return None;
        }
    };
    let prefix = match address::host_prefix(written) {
        Ok(prefix) => prefix,
        Err(wrong) => {
            report.error(at, format!("addresses: {wrong}"), wrong.fix());
            return None;
        }
    };
    // The kernel takes the scope of an IPv6 address from its bits.
    let own = if address::is_link_local(prefix.address) {
        Scope::Link
    } else {
        Scope::Global
    };
    if let Some(scope) = &scope
        && prefix.address.is_ipv6()
        && *scope.get_ref() != own
    {
        let message = format!("{} has the scope of its prefix, no other", prefix.address);
        report.warning(scope.span(), message, "remove scope: it is for IPv4");
    }
    let scope = match scope {
        Some(scope) if prefix.address.is_ipv4() => *scope.get_ref(),
        _ => own,
    };
    Some(VirtualAddress { prefix, scope })
}
