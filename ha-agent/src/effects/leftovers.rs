//! The virtual addresses that a dead predecessor left behind.

use std::net::IpAddr;
use std::path::Path;

use super::Error;
use crate::config::model;
use crate::netlink::{self, Interface, Netlink, Record};
use crate::vrrp::types::{Prefix, Priority};

/// Removes the virtual addresses that a dead agent left: those of its record in `run_dir`, and
/// those of `instances` that their interfaces have. Returns how many.
///
/// # Errors
/// When netlink cannot be opened, or the first address that cannot be removed; the record then
/// stays.
pub async fn clean_up(run_dir: &Path, instances: &[model::Instance]) -> Result<usize, Error> {
    let mut netlink = Netlink::open().await?;
    let mut record = load_record(run_dir);
    let (removed, failed) = remove_leftovers(&mut netlink, &mut record, instances).await;
    if let Some(error) = failed.into_iter().next() {
        return Err(error.into());
    }
    let _ = std::fs::remove_file(run_dir.join(Record::FILE));
    Ok(removed)
}

/// The record of a predecessor; one that cannot be read is as good as none, but not silently.
pub(super) fn load_record(run_dir: &Path) -> Record {
    Record::load(run_dir).unwrap_or_else(|error| {
        tracing::warn!(
            "{}: {error}; only configured addresses are looked for",
            run_dir.join(Record::FILE).display()
        );
        Record::default()
    })
}

/// Removes virtual addresses that a dead predecessor, of this or another make, left behind: what
/// the record names, and what the configuration names and the interface already has. Returns how
/// many there were, and what could not be removed and is on record therefore.
pub(super) async fn remove_leftovers(
    netlink: &mut Netlink,
    record: &mut Record,
    instances: &[model::Instance],
) -> (usize, Vec<netlink::Error>) {
    for settings in instances {
        let Some(interface) = netlink.get(&settings.interface) else {
            continue;
        };
        let owned = owned_addresses(interface, record, settings);
        for own in &interface.addresses {
            let configured = settings
                .addresses
                .iter()
                .any(|address| address.prefix.address == own.prefix.address);
            if configured && !owned.contains(&own.prefix.address) {
                record.insert(&interface.name, own.prefix);
            }
        }
    }
    let leftovers: Vec<(String, Prefix)> = record
        .iter()
        .map(|held| (held.interface.clone(), held.prefix))
        .collect();
    let mut removed = 0;
    let mut failed = Vec::new();
    for (name, prefix) in leftovers {
        if let Some(interface) = netlink.get(&name) {
            let index = interface.index;
            let present = interface.addresses.iter().any(|own| own.prefix == prefix);
            if let Err(error) = netlink.remove(index, &prefix).await {
                failed.push(error);
                continue;
            }
            if present {
                removed += 1;
                tracing::info!("{name}: {prefix} was left behind by a predecessor: removed");
            }
        }
        record.remove(&name, prefix);
    }
    (removed, failed)
}

/// Addresses of the interface itself that an address owner (priority 255) shares.
pub(super) fn owned_addresses(
    interface: &Interface,
    record: &Record,
    settings: &model::Instance,
) -> Vec<IpAddr> {
    if settings.router.priority != Priority::OWNER {
        return Vec::new();
    }
    let own = |address: &&model::VirtualAddress| {
        interface
            .addresses
            .iter()
            .any(|own| own.prefix.address == address.prefix.address && !own.ours)
    };
    let held = |address: &&model::VirtualAddress| {
        record
            .iter()
            .any(|held| held.interface == settings.interface && held.prefix == address.prefix)
    };
    settings
        .addresses
        .iter()
        .filter(|address| own(address) && !held(address))
        .map(|address| address.prefix.address)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{eth0, ip, slot};
    use super::*;
    use crate::netlink::testing::prefix;

    #[test]
    fn an_owner_shares_the_interfaces_own_address_and_no_other() {
        let record = Record::default();
        let own = |priority, there: &[&str], record: &Record| {
            let slot = slot("VI_1", priority, &["10.0.0.1/24", "10.0.0.2/24"]);
            owned_addresses(&eth0(there), record, &slot.settings)
        };
        assert_eq!(own(255, &["10.0.0.1/24"], &record), [ip("10.0.0.1")]);
        assert!(own(254, &["10.0.0.1/24"], &record).is_empty());
        assert!(own(255, &["!10.0.0.1/24"], &record).is_empty(), "put there");
        let mut record = record;
        record.insert("eth0", prefix("10.0.0.1/24"));
        assert!(own(255, &["10.0.0.1/24"], &record).is_empty(), "on record");
    }
}
