//! A slot: what is known of one instance, in the place the engine knows it by.

use std::net::IpAddr;

use super::observe;
use crate::alarm::Alarms;
use crate::config::model;
use crate::engine::Sockets;
use crate::vrrp::LinkState;
use crate::vrrp::types::Instant;

/// Whether the addresses of an instance are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    Released,
    Held,
    /// Held until then.
    Releasing(Instant),
}

pub(super) struct Slot {
    pub(super) settings: model::Instance,
    pub(super) hold: Hold,
    /// What the engine was told last.
    pub(super) told: Option<(u32, LinkState)>,
    /// What it speaks and hears with, and what that is bound to.
    pub(super) bound: Option<(u32, IpAddr, Sockets)>,
    /// Why it cannot be bound to a link that is up; tried again every [`TICK`](super::TICK).
    pub(super) unbound: Option<String>,
    /// The interface and its Ethernet address that announcements name.
    pub(super) announced: Option<(u32, [u8; 6])>,
    /// The interface's own addresses that the configuration names as virtual: the address owner's.
    pub(super) owned: Vec<IpAddr>,
    pub(super) alarms: Alarms,
    pub(super) watched: observe::Watched,
}

impl Slot {
    pub(super) fn new(settings: model::Instance) -> Self {
        Self {
            settings,
            hold: Hold::Released,
            told: None,
            bound: None,
            unbound: None,
            announced: None,
            owned: Vec::new(),
            alarms: Alarms::new(),
            watched: observe::Watched::default(),
        }
    }

    /// The interface that the engine was told of; 0 when it is missing.
    pub(super) fn ifindex(&self) -> u32 {
        self.told.map_or(0, |(ifindex, _)| ifindex)
    }

    /// The addresses that come and go with the role.
    pub(super) fn virtual_addresses(&self) -> impl Iterator<Item = &model::VirtualAddress> {
        self.settings
            .addresses
            .iter()
            .filter(|address| !self.owned.contains(&address.prefix.address))
    }
}
