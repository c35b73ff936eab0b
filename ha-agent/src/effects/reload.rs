//! A configuration read again: taken over as a whole, or not at all.

use super::slot::{Hold, Slot};
use super::{Effects, with_causes};
use crate::config::{self, Change, model};
use crate::engine::Command;
use crate::sys;
use crate::vrrp::types::Prefix;

impl Effects {
    /// Takes over what can change without a restart; says what cannot.
    pub(super) async fn reload(&mut self, new: model::Config) {
        let old = model::Config {
            agent: self.agent.clone(),
            instances: self
                .slots
                .iter()
                .map(|slot| slot.settings.clone())
                .collect(),
        };
        let changes = config::changes(&old, &new);
        if changes.is_empty() {
            tracing::info!("configuration read again: nothing changed");
            return;
        }
        let mut touched = Vec::new();
        for change in changes {
            match change {
                Change::Router { index }
                | Change::Addresses { index }
                | Change::Announce { index } => touched.push(index),
                Change::NeedsRestart { .. } => tracing::warn!("configuration read again: {change}"),
            }
        }
        touched.dedup();
        let mut replaced = Vec::new();
        for settings in touched
            .into_iter()
            .filter_map(|index| new.instances.get(index))
        {
            let running = |slot: &Slot| slot.settings.name == settings.name;
            if let Some(index) = self.slots.iter().position(running) {
                let slot = &mut self.slots[index];
                let merged = config::reloadable(&slot.settings, settings);
                replaced.push((index, std::mem::replace(&mut slot.settings, merged)));
            }
        }
        // The fence first: what it cannot hold must not be added.
        if let Err(error) = self.point() {
            tracing::error!(
                "configuration not taken over, everything stays as it is: {}",
                with_causes(&error)
            );
            for (index, old) in replaced {
                self.slots[index].settings = old;
            }
            if let Err(error) = self.point() {
                tracing::error!("{}", with_causes(&error));
            }
            return;
        }
        self.adopt(replaced).await;
    }

    /// Makes before it breaks: adds the new addresses, then removes the old ones.
    async fn adopt(&mut self, replaced: Vec<(usize, model::Instance)>) {
        for (index, _) in &replaced {
            let slot = &self.slots[*index];
            tracing::info!("{}: taken over from the configuration", slot.settings.name);
            let reload = Command::Reload {
                slot: *index,
                settings: Box::new(slot.settings.clone()),
            };
            let _ = self.engine.send(reload).await;
        }
        // An address that is an owner's own, or that advertisements leave from, may be virtual
        // from now on, or no longer.
        for name in self.interface_names() {
            if let Err(error) = self.meet(&name).await {
                tracing::error!("{}", with_causes(&error));
            }
        }
        for (index, _) in &replaced {
            self.add_addresses(*index).await;
        }
        for (index, old) in &replaced {
            self.take_off_changed(*index, old).await;
        }
        self.remove_unwanted().await;
        for (index, _) in &replaced {
            // Once more: IPv6 has an address once, whatever its prefix length.
            self.add_addresses(*index).await;
            if let Some(target) = self.target(*index) {
                self.announcer.update(*index as u32, target, sys::now());
            }
        }
    }

    /// Takes off the addresses whose scope changed: the kernel does not change it in place.
    async fn take_off_changed(&mut self, index: usize, old: &model::Instance) {
        let slot = &self.slots[index];
        let (true, Some((ifindex, _))) = (slot.hold == Hold::Held, slot.told) else {
            return;
        };
        let changed: Vec<Prefix> = slot
            .virtual_addresses()
            .filter(|new| {
                let same = |old: &&model::VirtualAddress| old.prefix == new.prefix;
                old.addresses
                    .iter()
                    .find(same)
                    .is_some_and(|old| old.scope != new.scope)
            })
            .map(|address| address.prefix)
            .collect();
        for prefix in changed {
            if let Err(error) = self.netlink.remove(ifindex, &prefix).await {
                tracing::error!("{}", with_causes(&error));
            }
        }
    }
}
