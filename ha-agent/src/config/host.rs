//! What the configuration expects of the host.

use std::collections::HashSet;
use std::net::IpAddr;

use super::address::{self, contains, is_link_local};
use super::diagnostic::{Diagnostic, Place};
use super::model::{Config, Instance};
use super::{Loaded, suggest};
use crate::vrrp::types::{Family, Prefix, Priority, family_of};

/// An interface of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostInterface {
    /// Its name.
    pub name: String,
    /// Its addresses; virtual ones may be among them.
    pub addresses: Vec<Prefix>,
}

/// Where the parts of a configuration are written that the host can disagree with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    pub(super) instances: Vec<InstancePlaces>,
    pub(super) fences: Vec<Place>,
}

/// The places of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InstancePlaces {
    pub(super) interface: Place,
    pub(super) priority: Place,
    pub(super) source: Place,
    pub(super) addresses: Vec<Place>,
    pub(super) peers: Vec<Place>,
}

/// Compares a configuration with the interfaces of the host. Warnings only: an interface may
/// come, and an address may change, while the agent runs.
#[must_use]
pub fn against_host(loaded: &Loaded, host: &[HostInterface]) -> Vec<Diagnostic> {
    let Loaded { config, places, .. } = loaded;
    let lent = lent(config);
    let mut found = Vec::new();
    for (name, place) in config.agent.fence_interfaces.iter().zip(&places.fences) {
        if !host.iter().any(|interface| interface.name == *name) {
            found.push(missing(place, name, host));
        }
    }
    for (instance, places) in config.instances.iter().zip(&places.instances) {
        let interface = host.iter().find(|i| i.name == instance.interface);
        match interface {
            Some(interface) => {
                let local = local(&lent, interface, instance.router.family);
                found.extend(sources(instance, places, interface, &local));
                found.extend(virtual_addresses(instance, places, interface, &local));
            }
            None => found.push(missing(&places.interface, &instance.interface, host)),
        }
        found.extend(own_peers(&lent, instance, places, host));
    }
    found
}

fn missing(place: &Place, name: &str, host: &[HostInterface]) -> Diagnostic {
    let names: Vec<&str> = host.iter().map(|interface| &*interface.name).collect();
    let fix = match suggest::nearest(name, names.iter().copied()) {
        Some(near) => format!("create it, or did you mean {near}?"),
        None => format!("create it, or use one of {}", names.join(", ")),
    };
    let message = format!("interface {name} does not exist: the agent waits for it");
    Diagnostic::warning(place.clone(), message, fix)
}

/// The virtual addresses that are on an interface only while this node is Active.
fn lent(config: &Config) -> HashSet<IpAddr> {
    let instances = config.instances.iter();
    instances
        .filter(|instance| instance.router.priority != Priority::OWNER)
        .flat_map(|instance| instance.addresses.iter().map(|vip| vip.prefix.address))
        .collect()
}

/// The addresses of a family that an interface has of its own.
fn local(lent: &HashSet<IpAddr>, interface: &HostInterface, family: Family) -> Vec<Prefix> {
    let all = interface.addresses.iter().copied();
    all.filter(|own| family_of(own.address) == family && !lent.contains(&own.address))
        .collect()
}

fn sources(
    instance: &Instance,
    places: &InstancePlaces,
    interface: &HostInterface,
    local: &[Prefix],
) -> Option<Diagnostic> {
    let name = &interface.name;
    if let Some(source) = instance.source {
        let there = interface.addresses.iter().any(|own| own.address == source);
        return (!there).then(|| {
            let message = format!("source {source} is not on {name}: the instance waits for it");
            let fix = format!("add {source} to {name}, or remove source");
            Diagnostic::warning(places.source.clone(), message, fix)
        });
    }
    local.is_empty().then(|| {
        let family = address::name(instance.router.family);
        let message = format!("{name} has no {family} address to send from: the instance waits");
        let fix = format!("add an {family} address to {name}");
        Diagnostic::warning(places.interface.clone(), message, fix)
    })
}

fn virtual_addresses(
    instance: &Instance,
    places: &InstancePlaces,
    interface: &HostInterface,
    local: &[Prefix],
) -> Vec<Diagnostic> {
    let name = &interface.name;
    let mut found = Vec::new();
    for (vip, place) in instance.addresses.iter().zip(&places.addresses) {
        let Prefix { address, len } = vip.prefix;
        let on_it = interface.addresses.iter().any(|own| own.address == address);
        if instance.router.priority == Priority::OWNER {
            if !on_it {
                let message = format!(
                    "priority 255 is for the address owner, but {address} is not on {name}"
                );
                let fix = "priority = 254 or less";
                found.push(Diagnostic::warning(places.priority.clone(), message, fix));
            }
            continue;
        }
        if local.is_empty() || is_link_local(address) {
            continue;
        }
        let around: Vec<&Prefix> = local
            .iter()
            .filter(|own| contains(**own, address))
            .collect();
        if around.is_empty() {
            let message =
                format!("{address} is in no subnet of {name}: neighbours do not ask for it");
            let subnets: Vec<_> = local
                .iter()
                .filter(|own| !is_link_local(own.address))
                .map(ToString::to_string)
                .collect();
            let fix = if subnets.is_empty() {
                format!("give {name} an address of that subnet, or keep it if it is routed here")
            } else {
                format!(
                    "use the subnet of {}, or keep it if it is routed here",
                    subnets.join(", ")
                )
            };
            found.push(Diagnostic::warning(place.clone(), message, fix));
        } else if len != address::bits(family_of(address))
            && around.iter().all(|own| own.len != len)
        {
            let own = around[0];
            let message = format!(
                "{address}/{len} adds a route for /{len}, but the subnet is /{}",
                own.len
            );
            let fix = format!("write {address}/{}, or {address} alone", own.len);
            found.push(Diagnostic::warning(place.clone(), message, fix));
        }
    }
    found
}

/// A file copied from the peer names this host as its own peer.
fn own_peers(
    lent: &HashSet<IpAddr>,
    instance: &Instance,
    places: &InstancePlaces,
    host: &[HostInterface],
) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (peer, place) in instance.peers.iter().zip(&places.peers) {
        let mut all = host
            .iter()
            .flat_map(|i| i.addresses.iter().map(move |own| (i, own)));
        let own = all.find(|(_, own)| own.address == *peer && !lent.contains(peer));
        if let Some((interface, _)) = own {
            let message = format!("peer {peer} is this host, on {}", interface.name);
            let fix = "write the other router's address: a pair's files are not the same";
            found.push(Diagnostic::warning(place.clone(), message, fix));
        }
    }
    found
}
