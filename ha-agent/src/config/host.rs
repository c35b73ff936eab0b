//! What the configuration expects of the host.

use std::collections::HashSet;
use std::net::IpAddr;

use super::address::{self, contains, is_link_local};
use super::diagnostic::Diagnostic;
use super::model::{Config, Instance};
use super::report::{Report, Span};
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
    pub(super) file: String,
    pub(super) text: String,
    pub(super) instances: Vec<InstancePlaces>,
    pub(super) fences: Vec<Span>,
}

/// The places of one instance; the header stands for a key that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InstancePlaces {
    pub(super) interface: Span,
    pub(super) priority: Span,
    pub(super) source: Span,
    pub(super) addresses: Vec<Span>,
    pub(super) peers: Vec<Span>,
}

/// Compares a configuration with the interfaces of the host. Warnings only, in the order of the
/// file: an interface may come, and an address may change, while the agent runs.
#[must_use]
pub fn against_host(loaded: &Loaded, host: &[HostInterface]) -> Vec<Diagnostic> {
    let Loaded { config, places, .. } = loaded;
    let lent = lent(config);
    let mut report = Report::new(&places.file, &places.text);
    for (name, at) in config.agent.fence_interfaces.iter().zip(&places.fences) {
        if !host.iter().any(|interface| interface.name == *name) {
            missing(&mut report, at, name, host);
        }
    }
    for (instance, at) in config.instances.iter().zip(&places.instances) {
        match host.iter().find(|i| i.name == instance.interface) {
            None => missing(&mut report, &at.interface, &instance.interface, host),
            Some(interface) => {
                let local = local(&lent, interface, instance.router.family);
                source(&mut report, instance, at, interface, &local);
                if instance.router.priority == Priority::OWNER {
                    owner(&mut report, instance, at, interface);
                } else if !local.is_empty() {
                    subnets(&mut report, instance, at, &local);
                }
            }
        }
        own_peers(&mut report, &lent, instance, at, host);
    }
    report.found()
}

fn missing(report: &mut Report<'_>, at: &Span, name: &str, host: &[HostInterface]) {
    let names: Vec<&str> = host.iter().map(|interface| &*interface.name).collect();
    let fix = match suggest::nearest(name, names.iter().copied()) {
        Some(near) => format!("create it, or did you mean {near}?"),
        None => format!("create it, or use one of {}", names.join(", ")),
    };
    let message = format!("interface {name} does not exist: the agent waits for it");
    report.warning(at.clone(), message, fix);
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

fn source(
    report: &mut Report<'_>,
    instance: &Instance,
    at: &InstancePlaces,
    interface: &HostInterface,
    local: &[Prefix],
) {
    let name = &interface.name;
    match instance.source {
        Some(source) => {
            if !interface.addresses.iter().any(|own| own.address == source) {
                report.warning(
                    at.source.clone(),
                    format!("source {source} is not on {name}: the instance waits for it"),
                    format!("add {source} to {name}, or remove source"),
                );
            }
        }
        None => {
            if local.is_empty() {
                let family = address::name(instance.router.family);
                report.warning(
                    at.interface.clone(),
                    format!("{name} has no {family} address to send from: the instance waits"),
                    format!("add an {family} address to {name}"),
                );
            }
        }
    }
}

fn owner(
    report: &mut Report<'_>,
    instance: &Instance,
    at: &InstancePlaces,
    interface: &HostInterface,
) {
    for vip in &instance.addresses {
        let address = vip.prefix.address;
        if !interface.addresses.iter().any(|own| own.address == address) {
            let name = &interface.name;
            report.warning(
                at.priority.clone(),
                format!("priority 255 is for the address owner, but {address} is not on {name}"),
                "priority = 254 or less",
            );
        }
    }
}

fn subnets(report: &mut Report<'_>, instance: &Instance, at: &InstancePlaces, local: &[Prefix]) {
    let name = &instance.interface;
    for (vip, at) in instance.addresses.iter().zip(&at.addresses) {
        let Prefix { address, len } = vip.prefix;
        if is_link_local(address) {
            continue;
        }
        let single_host = len == address::bits(family_of(address));
        let around = || local.iter().filter(|own| contains(**own, address));
        match around().next() {
            None => report.warning(
                at.clone(),
                format!("{address} is in no subnet of {name}: neighbours do not ask for it"),
                elsewhere(name, local),
            ),
            Some(own) if !single_host && around().all(|own| own.len != len) => report.warning(
                at.clone(),
                format!(
                    "{address}/{len} adds a route for /{len}, but the subnet is /{}",
                    own.len
                ),
                format!("write {address}/{}, or {address} alone", own.len),
            ),
            Some(_) => {}
        }
    }
}

fn elsewhere(name: &str, local: &[Prefix]) -> String {
    match local.iter().find(|own| !is_link_local(own.address)) {
        Some(own) => format!("use the subnet of {own}, or keep it if it is routed here"),
        None => format!("give {name} an address of that subnet, or keep it if it is routed here"),
    }
}

/// A file copied from the peer names this host as its own peer.
fn own_peers(
    report: &mut Report<'_>,
    lent: &HashSet<IpAddr>,
    instance: &Instance,
    at: &InstancePlaces,
    host: &[HostInterface],
) {
    for (peer, at) in instance.peers.iter().zip(&at.peers) {
        let has = |i: &&HostInterface| i.addresses.iter().any(|own| own.address == *peer);
        if let Some(interface) = host.iter().find(has)
            && !lent.contains(peer)
        {
            report.warning(
                at.clone(),
                format!("peer {peer} is this host, on {}", interface.name),
                "write the other router's address: a pair's files are not the same",
            );
        }
    }
}
