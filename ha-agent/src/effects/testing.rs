//! What tests speak of.

use std::net::IpAddr;

use super::slot::Slot;
use crate::config::model;
use crate::engine::testing::settings;
use crate::netlink::testing::{address, prefix};
use crate::netlink::{Address, Interface};

pub(super) fn slot(name: &str, priority: u64, addresses: &[&str]) -> Slot {
    Slot::new(model::Instance {
        name: name.to_owned(),
        addresses: addresses
            .iter()
            .map(|text| model::VirtualAddress {
                prefix: prefix(text),
                scope: model::Scope::Global,
            })
            .collect(),
        ..settings(priority)
    })
}

/// `!` marks an address that this program put there.
pub(super) fn eth0(addresses: &[&str]) -> Interface {
    Interface {
        index: 2,
        name: "eth0".to_owned(),
        mac: None,
        up: true,
        kind: None,
        addresses: addresses
            .iter()
            .map(|text| Address {
                ours: text.starts_with('!'),
                ..address(text.trim_start_matches('!'), model::Scope::Global)
            })
            .collect(),
    }
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
