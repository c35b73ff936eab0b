//! The interfaces as events and dumps tell of them.

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use rustix::io::Errno;

use super::changes::Changes;
use super::message::{Event, Link};
use super::requests::Requests;
use super::{Error, Interface};

/// How often a dump is repeated because the tables changed under it.
const DUMP_ATTEMPTS: usize = 16;

/// The interfaces as events and dumps tell of them, by index. Pure but for [`View::dump`].
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) interfaces: Vec<Interface>,
}

impl View {
    /// Reads everything, on a socket of its own: a dump that was given up half-way leaves the
    /// rest of its answers, and the kernel's refusal to begin another, behind.
    pub(super) async fn dump() -> Result<Self, Error> {
        for _ in 0..DUMP_ATTEMPTS {
            let mut requests = Requests::open().map_err(Error::Open)?;
            let mut view = Self::default();
            let mut ignored = Changes::default();
            let mut links = LinkMessage::default();
            links
                .attributes
                .push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
            let links = requests
                .dump(RouteNetlinkMessage::GetLink(links), |event| {
                    view.apply(event, &mut ignored);
                })
                .await
                .map_err(|source| Error::List {
                    what: "links",
                    source,
                })?;
            let addresses = requests
                .dump(
                    RouteNetlinkMessage::GetAddress(AddressMessage::default()),
                    |event| view.apply(event, &mut ignored),
                )
                .await
                .map_err(|source| Error::List {
                    what: "addresses",
                    source,
                })?;
            if links && addresses {
                return Ok(view);
            }
        }
        Err(Error::List {
            what: "links and addresses",
            source: Errno::AGAIN.into(),
        })
    }

    fn position(&self, index: u32) -> Result<usize, usize> {
        self.interfaces.binary_search_by_key(&index, |i| i.index)
    }

    pub(super) fn get(&self, index: u32) -> Option<&Interface> {
        self.position(index).ok().map(|at| &self.interfaces[at])
    }

    fn get_mut(&mut self, index: u32) -> Option<&mut Interface> {
        self.position(index).ok().map(|at| &mut self.interfaces[at])
    }

    pub(super) fn apply(&mut self, event: Event, changes: &mut Changes) {
        match event {
            Event::Link(link) => self.link(link, changes),
            Event::LinkGone { index } => {
                if let Ok(at) = self.position(index) {
                    let gone = self.interfaces.remove(at);
                    changes.vanished(&gone);
                }
            }
            Event::Address { index, address } => {
                // An address of an interface that is not known: its link message was before the
                // dump, and it is gone since.
                let Some(interface) = self.get_mut(index) else {
                    return;
                };
                let known = interface
                    .addresses
                    .iter_mut()
                    .find(|a| a.prefix == address.prefix);
                match known {
                    Some(known) if *known == address => return,
                    Some(known) => *known = address,
                    None => interface.addresses.push(address),
                }
                changes.interface(&interface.name);
            }
            Event::AddressGone { index, prefix } => {
                let Some(interface) = self.get_mut(index) else {
                    return;
                };
                let before = interface.addresses.len();
                interface.addresses.retain(|a| a.prefix != prefix);
                if interface.addresses.len() < before {
                    changes.address_gone(index, prefix.address);
                }
            }
        }
    }

    fn link(&mut self, link: Link, changes: &mut Changes) {
        let Link {
            index,
            name,
            mac,
            up,
            kind,
        } = link;
        match self.position(index) {
            Err(at) => {
                changes.interface(&name);
                let interface = Interface {
                    index,
                    name,
                    mac,
                    up,
                    kind,
                    addresses: Vec::new(),
                };
                self.interfaces.insert(at, interface);
            }
            Ok(at) => {
                let known = &mut self.interfaces[at];
                let same =
                    known.name == name && known.mac == mac && known.up == up && known.kind == kind;
                if same {
                    return;
                }
                changes.interface(&known.name);
                changes.interface(&name);
                known.name = name;
                known.mac = mac;
                known.up = up;
                known.kind = kind;
            }
        }
    }

    /// Notes what is different in `new`.
    pub(super) fn compare(&self, new: &Self, changes: &mut Changes) {
        for old in &self.interfaces {
            match new.get(old.index) {
                None => changes.vanished(old),
                Some(now) if now == old => {}
                Some(now) => {
                    changes.interface(&old.name);
                    changes.interface(&now.name);
                    changes.addresses_gone(old);
                }
            }
        }
        for now in &new.interfaces {
            if self.get(now.index).is_none() {
                changes.interface(&now.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Change;
    use super::super::testing::address;
    use super::*;
    use crate::config::model::Scope;

    fn link(index: u32, name: &str, up: bool) -> Event {
        Event::Link(Link {
            index,
            name: name.to_owned(),
            mac: None,
            up,
            kind: None,
        })
    }

    fn apply(view: &mut View, events: Vec<Event>) -> Vec<Change> {
        let mut changes = Changes::default();
        for event in events {
            view.apply(event, &mut changes);
        }
        changes.take(view)
    }

    #[test]
    fn only_what_is_different_is_a_change() {
        let mut view = View::default();
        let eth0 = || Change::Interface("eth0".to_owned());
        assert_eq!(apply(&mut view, vec![link(2, "eth0", true)]), [eth0()]);
        assert_eq!(apply(&mut view, vec![link(2, "eth0", true)]), []);
        // Down and up again within one batch: it may have lost addresses.
        let flap = vec![link(2, "eth0", false), link(2, "eth0", true)];
        assert_eq!(apply(&mut view, flap), [eth0()]);
        let renamed = apply(&mut view, vec![link(2, "wan", true)]);
        assert_eq!(renamed, [eth0(), Change::Interface("wan".to_owned())]);
    }

    #[test]
    fn an_address_removed_and_added_again_is_not_gone() {
        let vip = address("10.0.0.1/32", Scope::Global);
        let add = || Event::Address {
            index: 2,
            address: vip,
        };
        let remove = || Event::AddressGone {
            index: 2,
            prefix: vip.prefix,
        };
        let gone = Change::AddressGone {
            ifindex: 2,
            address: vip.prefix.address,
        };
        let mut view = View::default();
        apply(&mut view, vec![link(2, "eth0", true), add()]);
        assert_eq!(apply(&mut view, vec![add()]), []);
        assert_eq!(
            apply(&mut view, vec![remove(), add()]),
            [Change::Interface("eth0".to_owned())]
        );
        assert_eq!(
            apply(&mut view, vec![remove()]),
            std::slice::from_ref(&gone)
        );
        assert_eq!(apply(&mut view, vec![remove()]), []);
        apply(&mut view, vec![add()]);
        assert_eq!(
            apply(&mut view, vec![Event::LinkGone { index: 2 }]),
            [Change::Interface("eth0".to_owned()), gone]
        );
    }

    #[test]
    fn a_dump_after_an_overrun_tells_what_was_missed() {
        let vip = address("10.0.0.1/32", Scope::Global);
        let mut old = View::default();
        let events = vec![
            link(2, "eth0", true),
            Event::Address {
                index: 2,
                address: vip,
            },
            link(3, "eth1", true),
            link(4, "eth2", true),
        ];
        apply(&mut old, events);
        let mut new = View::default();
        let events = vec![
            link(2, "eth0", true),
            link(3, "eth1", true),
            link(9, "eth2", true),
        ];
        apply(&mut new, events);
        let mut changes = Changes::default();
        old.compare(&new, &mut changes);
        assert_eq!(
            changes.take(&new),
            [
                Change::Interface("eth0".to_owned()),
                Change::Interface("eth2".to_owned()),
                Change::AddressGone {
                    ifindex: 2,
                    address: vip.prefix.address
                },
            ]
        );
    }
}
