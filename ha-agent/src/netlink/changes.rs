//! What is different, until it is reported.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::Interface;
use super::view::View;

/// What [`Netlink::changed`] reports. It is already visible in [`Netlink::interfaces`].
///
/// [`Netlink::changed`]: super::Netlink::changed
/// [`Netlink::interfaces`]: super::Netlink::interfaces
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// The interface of this name appeared, vanished, was renamed or created anew, went up or
    /// down, changed its MAC address, or had an address added or changed.
    Interface(String),
    /// An address is gone, whoever removed it, this agent included.
    AddressGone {
        /// The interface, which may be gone too.
        ifindex: u32,
        /// The address.
        address: IpAddr,
    },
}

/// Changes not yet reported.
#[derive(Debug, Default)]
pub(super) struct Changes {
    interfaces: BTreeSet<String>,
    /// Addresses removed; those that are there again are left out when they are taken.
    gone: BTreeSet<(u32, IpAddr)>,
}

impl Changes {
    /// Something about the interface of this name.
    pub(super) fn interface(&mut self, name: &str) {
        self.interfaces.insert(name.to_owned());
    }

    pub(super) fn address_gone(&mut self, ifindex: u32, address: IpAddr) {
        self.gone.insert((ifindex, address));
    }

    /// All addresses an interface had.
    pub(super) fn addresses_gone(&mut self, interface: &Interface) {
        for address in &interface.addresses {
            self.address_gone(interface.index, address.prefix.address);
        }
    }

    pub(super) fn vanished(&mut self, interface: &Interface) {
        self.interface(&interface.name);
        self.addresses_gone(interface);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.interfaces.is_empty() && self.gone.is_empty()
    }

    pub(super) fn take(&mut self, view: &View) -> Vec<Change> {
        let interfaces = std::mem::take(&mut self.interfaces)
            .into_iter()
            .map(Change::Interface);
        let gone = std::mem::take(&mut self.gone)
            .into_iter()
            .filter(|(ifindex, address)| {
                view.get(*ifindex)
                    .is_none_or(|i| i.addresses.iter().all(|a| a.prefix.address != *address))
            })
            .map(|(ifindex, address)| Change::AddressGone { ifindex, address });
        interfaces.chain(gone).collect()
    }
}
