//! The file as it is written: every key read, typed and in its own range.
//!
//! What two keys say together is the business of the `check` module.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ha_common::maps::{DEFAULT_MAX_INSTANCES, DEFAULT_MAX_VIPS};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::Table;
use super::model::{Agent, Announce, LogLevel, VirtualAddress, XdpMode};
use super::report::{Report, Span};
use super::section::{
    Item, Section, boolean, choice, entries, entry_text, for_example, integer, length, length_in,
    text,
};
use super::values::{folder, host, interface, named, virtual_address};
use crate::vrrp::types::{Checksum, Family, Priority, Version, Vrid};

/// Longest run_dir, in bytes: a socket's path below it has 107 (`sockaddr_un`).
const RUN_DIR: usize = 80;

/// The file.
pub(super) struct File {
    pub(super) agent: AgentTable,
    pub(super) instances: Vec<InstanceTable>,
    /// Where `instance` is, when it is there and empty.
    pub(super) empty: Option<Span>,
}

/// `[agent]`, and where the keys are that other tables are checked against.
pub(super) struct AgentTable {
    pub(super) agent: Agent,
    pub(super) max_instances: Option<Spanned<u32>>,
    pub(super) max_addresses: Option<Spanned<u32>>,
    pub(super) fences: Vec<Spanned<String>>,
}

/// `[[instance]]`; `None`: absent or reported.
pub(super) struct InstanceTable {
    pub(super) header: Span,
    pub(super) name: Option<Spanned<String>>,
    pub(super) interface: Option<Spanned<String>>,
    pub(super) vrid: Option<Spanned<Vrid>>,
    pub(super) version: Option<Spanned<Version>>,
    pub(super) family: Option<Spanned<Family>>,
    pub(super) priority: Option<Spanned<Priority>>,
    pub(super) interval: Option<Spanned<Duration>>,
    pub(super) preempt: Option<Spanned<bool>>,
    pub(super) preempt_delay: Option<Spanned<Duration>>,
    pub(super) addresses: Option<Spanned<Vec<Spanned<VirtualAddress>>>>,
    pub(super) source: Option<Spanned<IpAddr>>,
    pub(super) peers: Option<Spanned<Vec<Spanned<IpAddr>>>>,
    pub(super) password: Option<Spanned<String>>,
    pub(super) ttl_min: Option<Spanned<u8>>,
    pub(super) checksum: Option<Spanned<Option<Checksum>>>,
    pub(super) announce: Announce,
    /// Errors in this table so far.
    pub(super) errors: usize,
}

/// Reads the whole file.
pub(super) fn read<'t>(
    report: &mut Report<'_>,
    root: &'t Spanned<DeTable<'t>>,
    host_name: impl FnOnce() -> String,
) -> File {
    let top = Section::open(report, Table::Top, 0..0, root.get_ref());
    let agent = top
        .item("agent")
        .and_then(|(_, item)| headed(report, Table::Agent, "[agent]", item));
    let agent = read_agent(report, agent, host_name);
    let mut instances = Vec::new();
    let mut empty = None;
    if let Some((_, item)) = top.item("instance") {
        match item.get_ref() {
            DeValue::Array(list) => {
                for item in list.iter() {
                    if let Some(section) = headed(report, Table::Instance, "[[instance]]", item) {
                        instances.push(read_instance(report, &section));
                    }
                }
                empty = list.is_empty().then(|| item.span());
            }
            _ => report.error(
                item.span(),
                "instance must be a list of tables",
                "write [[instance]] above each, with two brackets",
            ),
        }
    }
    File {
        agent,
        instances,
        empty,
    }
}

fn headed<'t>(
    report: &mut Report<'_>,
    table: Table,
    header: &str,
    item: Item<'t>,
) -> Option<Section<'t>> {
    let Some(entries) = item.get_ref().as_table() else {
        let message = format!("{} must be a table", header.trim_matches(['[', ']']));
        report.error(
            item.span(),
            message,
            format!("write {header} above its keys"),
        );
        return None;
    };
    Some(Section::open(report, table, item.span(), entries))
}

fn read_agent(
    report: &mut Report<'_>,
    section: Option<Section<'_>>,
    host_name: impl FnOnce() -> String,
) -> AgentTable {
    let nothing = DeTable::new();
    let section = section.unwrap_or_else(|| Section::open(report, Table::Agent, 0..0, &nothing));
    let s = &section;
    let router_id = s.optional(report, "router_id", named);
    let run_dir = s.optional(report, "run_dir", |r, k, v| {
        let path = folder(r, k, v)?;
        if path.as_os_str().len() > RUN_DIR {
            let message = format!("run_dir has more than {RUN_DIR} bytes: no socket fits below");
            r.error(v.span(), message, for_example(k));
            return None;
        }
        Some(path)
    });
    let pin_dir = s.optional(report, "pin_dir", folder);
    let xdp = s.defaulted(report, "xdp", XdpMode::Auto, |r, k, v| {
        let words = [
            ("auto", XdpMode::Auto),
            ("native", XdpMode::Native),
            ("generic", XdpMode::Generic),
            ("off", XdpMode::Off),
        ];
        choice(r, k, v, &words)
    });
    let log_level = s.defaulted(report, "log_level", LogLevel::Info, |r, k, v| {
        let words = [
            ("error", LogLevel::Error),
            ("warn", LogLevel::Warn),
            ("info", LogLevel::Info),
            ("debug", LogLevel::Debug),
        ];
        choice(r, k, v, &words)
    });
    let fences = s.optional(report, "fence_interfaces", |r, k, v| {
        entries(r, k, v, |r, k, v| {
            entry_text(r, k, v).and_then(|t| interface(r, k, v, t))
        })
    });
    let fences = fences.map(Spanned::into_inner).unwrap_or_default();
    let realtime = s.defaulted(report, "realtime_priority", 50, |r, k, v| {
        integer(r, k, v, 0..=99)
    });
    let max_instances = s.defaulted(report, "max_instances", DEFAULT_MAX_INSTANCES, |r, k, v| {
        integer(r, k, v, 1..=65_536)
    });
    let max_addresses = s.defaulted(report, "max_addresses", DEFAULT_MAX_VIPS, |r, k, v| {
        integer(r, k, v, 1..=1_048_576)
    });
    let value = |number: &Option<Spanned<u32>>| number.as_ref().map_or(0, |n| *n.get_ref());
    AgentTable {
        agent: Agent {
            router_id: router_id.map_or_else(host_name, Spanned::into_inner),
            run_dir: or(run_dir, PathBuf::from(super::RUN_DIR)),
            pin_dir: or(pin_dir, PathBuf::from(super::PIN_DIR)),
            xdp: or(xdp, XdpMode::Auto),
            fence_interfaces: fences.iter().map(|f| f.get_ref().clone()).collect(),
            realtime_priority: u8::try_from(value(&realtime)).ok().filter(|p| *p > 0),
            log_level: or(log_level, LogLevel::Info),
            max_instances: value(&max_instances),
            max_addresses: value(&max_addresses),
        },
        max_instances,
        max_addresses,
        fences,
    }
}

fn or<T>(value: Option<Spanned<T>>, default: T) -> T {
    value.map_or(default, Spanned::into_inner)
}

fn read_instance(report: &mut Report<'_>, s: &Section<'_>) -> InstanceTable {
    let before = report.errors();
    let hundred = Priority::try_from(100).unwrap_or(Priority::OWNER);
    let mut table = InstanceTable {
        header: s.header.clone(),
        name: s.required(report, "name", named),
        interface: s.required(report, "interface", |r, k, v| {
            text(r, k, v).and_then(|t| interface(r, k, v, t))
        }),
        vrid: s.required(report, "vrid", |r, k, v| {
            Vrid::try_from(u64::from(integer(r, k, v, 1..=255)?)).ok()
        }),
        version: s.defaulted(report, "version", Version::V3, |r, k, v| {
            let number = integer(r, k, v, 2..=3)?;
            Some(if number == 2 {
                Version::V2
            } else {
                Version::V3
            })
        }),
        family: s.optional(report, "family", |r, k, v| {
            choice(r, k, v, &[("ipv4", Family::Ipv4), ("ipv6", Family::Ipv6)])
        }),
        priority: s.defaulted(report, "priority", hundred, |r, k, v| {
            Priority::try_from(u64::from(integer(r, k, v, 1..=255)?)).ok()
        }),
        interval: s.defaulted(report, "advert_interval", Duration::from_secs(1), length),
        preempt: s.defaulted(report, "preempt", true, boolean),
        preempt_delay: s.defaulted(report, "preempt_delay", Duration::ZERO, |r, k, v| {
            length_in(r, k, v, 0..=1000)
        }),
        addresses: s.optional(report, "addresses", |r, k, v| {
            entries(r, k, v, virtual_address)
        }),
        source: s.optional(report, "source", |r, k, v| {
            text(r, k, v).and_then(|t| host(r, k, v, t))
        }),
        peers: s.optional(report, "peers", |r, k, v| {
            entries(r, k, v, |r, k, v| {
                entry_text(r, k, v).and_then(|t| host(r, k, v, t))
            })
        }),
        password: s.optional(report, "password", |r, k, v| {
            text(r, k, v).map(str::to_owned)
        }),
        ttl_min: s.defaulted(report, "ttl_min", 255, |r, k, v| {
            u8::try_from(integer(r, k, v, 1..=255)?).ok()
        }),
        checksum: s.optional(report, "checksum", |r, k, v| {
            let words = [
                ("auto", None),
                ("rfc5798", Some(Checksum::PseudoHeader)),
                ("rfc9568", Some(Checksum::MessageOnly)),
            ];
            choice(r, k, v, &words)
        }),
        announce: read_announce(report, s),
        errors: 0,
    };
    table.errors = report.errors() - before;
    table
}

fn read_announce(report: &mut Report<'_>, s: &Section<'_>) -> Announce {
    let nothing = DeTable::new();
    let section = s
        .item("announce")
        .and_then(|(_, item)| headed(report, Table::Announce, "[instance.announce]", item));
    let section = section
        .unwrap_or_else(|| Section::open(report, Table::Announce, s.header.clone(), &nothing));
    let seconds = Duration::from_secs;
    let s = &section;
    let count = s.defaulted(report, "count", 5, |r, k, v| integer(r, k, v, 1..=50));
    let after = s.defaulted(report, "repeat_after", seconds(5), |r, k, v| {
        length_in(r, k, v, 0..=600)
    });
    let repeat = s.defaulted(report, "repeat_count", 5, |r, k, v| {
        integer(r, k, v, 0..=50)
    });
    let refresh = s.defaulted(report, "refresh", seconds(60), |r, k, v| {
        let value = length_in(r, k, v, 0..=86_400)?;
        if !value.is_zero() && value < seconds(1) {
            r.error(
                v.span(),
                "refresh must be 0s (never) or at least 1s",
                for_example(k),
            );
            return None;
        }
        Some(value)
    });
    let gap = s.defaulted(report, "conflict_gap", seconds(1), |r, k, v| {
        length_in(r, k, v, 0..=60)
    });
    Announce {
        count: or(count, 5),
        repeat_after: or(after, seconds(5)),
        repeat_count: or(repeat, 5),
        refresh: or(refresh, seconds(60)),
        conflict_gap: or(gap, seconds(1)),
    }
}

/// Interfaces named twice, in a list that should name each once.
pub(super) fn repeated_fences(report: &mut Report<'_>, fences: &[Spanned<String>]) {
    let mut seen = BTreeSet::new();
    for fence in fences {
        if !seen.insert(fence.get_ref()) {
            let message = format!("fence_interfaces names {} twice", fence.get_ref());
            report.warning(fence.span(), message, "keep one of them");
        }
    }
}
