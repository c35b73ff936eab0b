//! The virtual addresses: put on, taken off and put back, and the record of which are on.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::slot::{Hold, Slot};
use super::{Effects, with_causes};
use crate::engine::Command;
use crate::netlink::{self, Added, Interface, Record};
use crate::sys;
use crate::vrrp::types::Prefix;

impl Effects {
    pub(super) async fn hold(&mut self, index: usize) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.hold = Hold::Held;
        }
        self.add_addresses(index).await;
    }

    /// Puts the addresses of a held instance on its interface, as long as its lease lives: this
    /// process may have been stopped since they were asked for, or since one was deleted.
    pub(super) async fn add_addresses(&mut self, index: usize) {
        let Some(slot) = self.slots.get(index) else {
            return;
        };
        let ifindex = slot.ifindex();
        if slot.hold != Hold::Held || ifindex == 0 || !self.leases.alive(index, sys::now()) {
            return;
        }
        let wanted: Vec<_> = slot.virtual_addresses().copied().collect();
        let mut news = false;
        for address in &wanted {
            news |= self.record.insert(&slot.settings.interface, address.prefix);
        }
        if news {
            self.save_record();
        }
        for address in &wanted {
            if !self.leases.alive(index, sys::now()) {
                return;
            }
            if let Err(error) = self.netlink.add(ifindex, address).await {
                self.give_up(index, &error).await;
                return;
            }
        }
    }

    /// Puts back what is held but not there, though nobody reported it gone.
    pub(super) async fn add_missing(&mut self) {
        for index in 0..self.slots.len() {
            let lacking = self.slots.get(index).is_some_and(|slot| {
                slot.hold == Hold::Held
                    && self
                        .netlink
                        .get(&slot.settings.interface)
                        .is_some_and(|interface| lacks(interface, slot))
            });
            if lacking {
                self.add_addresses(index).await;
            }
        }
    }

    /// An address could not be added: the engine hands over, and what is there goes.
    async fn give_up(&mut self, index: usize, error: &netlink::Error) {
        if let Some(slot) = self.slots.get_mut(index) {
            tracing::error!("{}: {}", slot.settings.name, with_causes(error));
            slot.hold = Hold::Releasing(sys::now());
        }
        let _ = self
            .engine
            .send(Command::AddressesFailed { slot: index })
            .await;
    }

    /// Puts back a virtual address that somebody took off.
    pub(super) async fn restore(&mut self, ifindex: u32, address: IpAddr) {
        for index in 0..self.slots.len() {
            let Some(slot) = self.slots.get(index) else {
                continue;
            };
            let ours = slot.hold == Hold::Held
                && slot.told.is_some_and(|(known, _)| known == ifindex)
                && self.leases.alive(index, sys::now());
            let Some(wanted) = slot
                .virtual_addresses()
                .find(|wanted| ours && wanted.prefix.address == address)
                .copied()
            else {
                continue;
            };
            match self.netlink.add(ifindex, &wanted).await {
                Ok(Added::New) => {}
                Ok(Added::Existed) => continue, // a reload was faster
                Err(error) => {
                    self.give_up(index, &error).await;
                    continue;
                }
            }
            tracing::warn!(
                "{}: {} was deleted by somebody else and is restored",
                slot.settings.name,
                wanted.prefix
            );
            self.announcer.conflict(index as u32, sys::now());
        }
    }

    pub(super) async fn release_due(&mut self) {
        let now = sys::now();
        for index in 0..self.slots.len() {
            if matches!(self.slots.get(index), Some(Slot { hold: Hold::Releasing(at), .. }) if *at <= now)
            {
                self.release(index).await;
            }
        }
    }

    async fn release(&mut self, index: usize) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.hold = Hold::Released;
        }
        self.remove_unwanted().await;
    }

    /// Takes off every address on record that no instance holds. What cannot be taken off stays
    /// on record and is tried again every [`TICK`](super::TICK).
    pub(super) async fn remove_unwanted(&mut self) {
        let unwanted = unwanted(&self.record, &self.slots);
        if unwanted.is_empty() {
            return;
        }
        for (name, prefix) in unwanted {
            if let Some(ifindex) = self.netlink.get(&name).map(|interface| interface.index)
                && let Err(error) = self.netlink.remove(ifindex, &prefix).await
            {
                tracing::error!("{}", with_causes(&error));
                continue;
            }
            self.record.remove(&name, prefix);
        }
        self.save_record();
    }

    fn save_record(&self) {
        if let Err(error) = self.record.store(&self.agent.run_dir) {
            tracing::warn!(
                "{}: cannot note the addresses held, a crash would leave them: {error}",
                self.agent.run_dir.join(Record::FILE).display()
            );
        }
    }
}

/// Whether a virtual address of the instance is not on its interface.
fn lacks(interface: &Interface, slot: &Slot) -> bool {
    let there: BTreeSet<IpAddr> = interface
        .addresses
        .iter()
        .map(|own| own.prefix.address)
        .collect();
    slot.virtual_addresses()
        .any(|wanted| !there.contains(&wanted.prefix.address))
}

/// What is on record although no instance holds it, now or for a moment longer.
fn unwanted(record: &Record, slots: &[Slot]) -> Vec<(String, Prefix)> {
    let wanted: BTreeSet<(&str, Prefix)> = slots
        .iter()
        .filter(|slot| slot.hold != Hold::Released)
        .flat_map(|slot| {
            let interface = slot.settings.interface.as_str();
            slot.virtual_addresses()
                .map(move |address| (interface, address.prefix))
        })
        .collect();
    record
        .iter()
        .filter(|held| !wanted.contains(&(held.interface.as_str(), held.prefix)))
        .map(|held| (held.interface.clone(), held.prefix))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{eth0, ip, slot};
    use super::*;
    use crate::netlink::testing::prefix;
    use crate::vrrp::types::Instant;

    #[test]
    fn what_nobody_holds_is_unwanted() {
        let mut record = Record::default();
        for text in ["10.0.0.100/24", "10.0.0.101/24", "10.0.0.102/24"] {
            record.insert("eth0", prefix(text));
        }
        record.insert("eth1", prefix("10.0.0.100/24"));
        let mut slots = [
            slot("VI_1", 100, &["10.0.0.100/24"]),
            slot("VI_2", 100, &["10.0.0.101/24"]),
        ];
        slots[0].hold = Hold::Held;
        slots[1].hold = Hold::Releasing(Instant(1));
        let expect = |texts: &[(&str, &str)]| {
            texts
                .iter()
                .map(|(name, text)| ((*name).to_owned(), prefix(text)))
                .collect::<Vec<_>>()
        };
        let strangers = [("eth0", "10.0.0.102/24"), ("eth1", "10.0.0.100/24")];
        assert_eq!(unwanted(&record, &slots), expect(&strangers));
        slots[1].hold = Hold::Released;
        let with_released = [("eth0", "10.0.0.101/24"), strangers[0], strangers[1]];
        assert_eq!(unwanted(&record, &slots), expect(&with_released));
        // A reload that changes the prefix length leaves the old one behind.
        slots[0].settings.addresses[0].prefix.len = 32;
        assert!(unwanted(&record, &slots).contains(&("eth0".to_owned(), prefix("10.0.0.100/24"))));
    }

    #[test]
    fn an_address_that_is_missing_is_noticed_unless_it_is_the_owners() {
        let mut slot = slot("VI_1", 255, &["10.0.0.1/24", "10.0.0.100/24"]);
        assert!(lacks(&eth0(&["10.0.0.1/24"]), &slot));
        assert!(!lacks(&eth0(&["10.0.0.1/24", "!10.0.0.100/32"]), &slot));
        slot.owned = vec![ip("10.0.0.1")];
        assert!(!lacks(&eth0(&["!10.0.0.100/24"]), &slot));
    }
}
