//! What an interface has become, for whom it concerns: the data plane, the engine, the announcer.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::leftovers::owned_addresses;
use super::slot::{Hold, Slot};
use super::{Effects, Error};
use crate::config::model;
use crate::engine::Command;
use crate::neighbor::Target;
use crate::netlink::{self, Interface};
use crate::sys;
use crate::vrrp::LinkState;

impl Effects {
    pub(super) fn interface_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .slots
            .iter()
            .map(|slot| slot.settings.interface.clone())
            .chain(self.agent.fence_interfaces.iter().cloned())
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// Takes note of what an interface has become.
    pub(super) async fn meet(&mut self, name: &str) -> Result<(), Error> {
        let interface = self.netlink.get(name).cloned();
        let result = self.fence(name, interface.as_ref());
        let fenced = self.ports.get(name).is_some_and(|port| port.fenced);
        let ifindex = interface.as_ref().map_or(0, |interface| interface.index);
        if let Some(interface) = &interface {
            self.note_owned(interface);
        }
        let bare = interface
            .as_ref()
            .map(|interface| without_virtual(interface, &self.slots));
        for index in 0..self.slots.len() {
            let Some(slot) = self.slots.get(index) else {
                continue;
            };
            if slot.settings.interface != name {
                continue;
            }
            let found = if fenced || interface.is_none() {
                link_state(bare.as_ref(), &slot.settings)
            } else {
                LinkState::Down
            };
            self.tell(index, ifindex, found).await;
            if let Some(interface) = &interface {
                self.announce_from(index, interface);
            }
        }
        result
    }

    /// Tells the engine of a link, when it is news; a link without sockets is down.
    async fn tell(&mut self, index: usize, ifindex: u32, found: LinkState) {
        let (state, sockets) = match found {
            LinkState::Up { local } => match self.bind(index, ifindex, local) {
                Some(sockets) => (found, Some(sockets)),
                None => (LinkState::Down, None),
            },
            LinkState::Missing | LinkState::Down | LinkState::NoAddress => (found, None),
        };
        if found == LinkState::Missing {
            self.unbind(index);
        }
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let before = slot.told.replace((ifindex, state));
        if before == slot.told {
            return;
        }
        let held = slot.hold == Hold::Held;
        let _ = self
            .engine
            .send(Command::Link {
                slot: index,
                ifindex,
                state,
                sockets,
            })
            .await;
        // The addresses did not come along to an interface that was made anew.
        if held && before.is_some_and(|(known, _)| known != ifindex) {
            self.add_addresses(index).await;
        }
    }

    /// An address owner's own addresses, as soon as they are seen.
    fn note_owned(&mut self, interface: &Interface) {
        for slot in &mut self.slots {
            if slot.settings.interface != interface.name {
                continue;
            }
            if slot.told.is_some_and(|(known, _)| known != interface.index) {
                slot.owned.clear(); // made anew
            }
            for address in owned_addresses(interface, &self.record, &slot.settings) {
                if !slot.owned.contains(&address) {
                    slot.owned.push(address);
                }
            }
        }
    }

    /// Has the announcements follow the interface and its Ethernet address.
    fn announce_from(&mut self, index: usize, interface: &Interface) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let seen = interface.mac.map(|mac| (interface.index, mac));
        if std::mem::replace(&mut slot.announced, seen) != seen
            && let Some(target) = self.target(index)
        {
            self.announcer.update(index as u32, target, sys::now());
        }
    }

    pub(super) fn target(&self, index: usize) -> Option<Target> {
        let slot = self.slots.get(index)?;
        let interface = self.netlink.get(&slot.settings.interface)?;
        Some(Target {
            ifindex: interface.index,
            mac: interface.mac?,
            router: netlink::ipv6_forwarding(&interface.name),
            addresses: slot
                .settings
                .addresses
                .iter()
                .map(|address| address.prefix.address)
                .collect(),
            announce: slot.settings.announce,
        })
    }
}

/// What the election makes of an interface, shown without its virtual addresses.
fn link_state(interface: Option<&Interface>, settings: &model::Instance) -> LinkState {
    let Some(interface) = interface else {
        return LinkState::Missing;
    };
    if !interface.up {
        return LinkState::Down;
    }
    let local = match settings.source {
        Some(source) => interface
            .addresses
            .iter()
            .any(|own| own.prefix.address == source)
            .then_some(source),
        None => netlink::primary_address(interface, settings.router.family, &[]),
    };
    local.map_or(LinkState::NoAddress, |local| LinkState::Up { local })
}

/// The interface without the virtual addresses of *all* its instances: what advertisements leave
/// from must not move with another instance's role.
fn without_virtual(interface: &Interface, slots: &[Slot]) -> Interface {
    let moving: BTreeSet<IpAddr> = slots
        .iter()
        .filter(|slot| slot.settings.interface == interface.name)
        .flat_map(|slot| slot.virtual_addresses())
        .map(|address| address.prefix.address)
        .collect();
    let mut bare = interface.clone();
    bare.addresses
        .retain(|own| !moving.contains(&own.prefix.address));
    bare
}

#[cfg(test)]
mod tests {
    use super::super::testing::{eth0, ip, slot};
    use super::*;

    #[test]
    fn a_link_is_up_when_advertisements_have_a_source() {
        let mut settings = slot("VI_1", 100, &["10.0.0.100/24"]).settings;
        let local = ip("10.0.0.1");
        assert_eq!(link_state(None, &settings), LinkState::Missing);
        let mut down = eth0(&["10.0.0.1/24"]);
        down.up = false;
        assert_eq!(link_state(Some(&down), &settings), LinkState::Down);
        let bare = eth0(&[]);
        assert_eq!(link_state(Some(&bare), &settings), LinkState::NoAddress);
        let up = eth0(&["10.0.0.1/24", "10.0.0.2/24"]);
        assert_eq!(link_state(Some(&up), &settings), LinkState::Up { local });
        settings.source = Some(ip("10.0.0.2"));
        let local = ip("10.0.0.2");
        assert_eq!(link_state(Some(&up), &settings), LinkState::Up { local });
        settings.source = Some(ip("10.0.0.3"));
        assert_eq!(link_state(Some(&up), &settings), LinkState::NoAddress);
    }

    #[test]
    fn no_instance_speaks_from_a_virtual_address_of_another() {
        let slots = [
            slot("VI_1", 100, &["10.0.0.100/24"]),
            slot("VI_2", 100, &["10.0.0.101/24"]),
        ];
        // The interface's own address is gone for a moment, as when a lease is renewed by DHCP.
        let bare = without_virtual(&eth0(&["10.0.0.101/24"]), &slots);
        let state = link_state(Some(&bare), &slots[0].settings);
        assert_eq!(state, LinkState::NoAddress);
    }

    #[test]
    fn an_owners_own_address_may_be_its_source() {
        let mut owner = slot("VI_1", 255, &["10.0.0.1/24"]);
        owner.owned = vec![ip("10.0.0.1")];
        let slots = [owner];
        let bare = without_virtual(&eth0(&["10.0.0.1/24"]), &slots);
        let local = ip("10.0.0.1");
        let state = link_state(Some(&bare), &slots[0].settings);
        assert_eq!(state, LinkState::Up { local });
    }
}
