//! What the tables of the file say together.

use std::collections::BTreeMap;

use ha_common::maps::MAX_PEERS;

use super::address::{self, is_link_local};
use super::file::{File, repeated_fences};
use super::model::XdpMode;
use super::report::Report;
use crate::vrrp::types::Family;

/// Checks the file as a whole.
pub(super) fn file(report: &mut Report<'_>, file: &File) {
    if file.instances.is_empty() && report.errors() == 0 {
        report.error(
            file.empty.clone().unwrap_or(0..0),
            "there is no instance: nothing to do",
            "write an [[instance]] with name, interface, vrid and addresses",
        );
    }
    names(report, file);
    routers(report, file);
    addresses(report, file);
    capacities(report, file);
    let fences = &file.agent.fences;
    repeated_fences(report, fences);
    if let (XdpMode::Off, Some(fence)) = (file.agent.agent.xdp, fences.first()) {
        report.error(
            fence.span(),
            "fence_interfaces needs the XDP program, but xdp is off",
            "remove fence_interfaces, or write xdp = \"auto\"",
        );
    }
}

fn names(report: &mut Report<'_>, file: &File) {
    let mut seen = BTreeMap::new();
    for name in file.instances.iter().filter_map(|i| i.name.as_ref()) {
        if let Some(first) = seen.get(name.get_ref()) {
            let line = report.line(first);
            let message = format!("instance {} is in line {line} already", name.get_ref());
            report.error(name.span(), message, "give it another name");
        } else {
            seen.insert(name.get_ref(), name.span());
        }
    }
}

fn routers(report: &mut Report<'_>, file: &File) {
    let mut seen = BTreeMap::new();
    for instance in &file.instances {
        let (Some(interface), Some(vrid)) = (&instance.interface, &instance.vrid) else {
            continue;
        };
        let Some(family) = instance.family() else {
            continue;
        };
        let key = (interface.get_ref(), family as u8, *vrid.get_ref());
        if let Some(first) = seen.get(&key) {
            let line = report.line(first);
            let message = format!(
                "vrid {} is in line {line} already, for {} on {}",
                vrid.get_ref(),
                address::name(family),
                interface.get_ref()
            );
            report.error(
                vrid.span(),
                message,
                "use another vrid, on every router of the group",
            );
        } else {
            seen.insert(key, vrid.span());
        }
    }
}

fn addresses(report: &mut Report<'_>, file: &File) {
    let mut seen = BTreeMap::new();
    for instance in &file.instances {
        let interface = instance.interface.as_ref().map(|name| name.get_ref());
        for vip in instance.vips() {
            let address = vip.get_ref().prefix.address;
            // A link-local address belongs to its link (RFC 4007): two links, two addresses.
            let key = (address, interface.filter(|_| is_link_local(address)));
            if let Some(first) = seen.get(&key) {
                let line = report.line(first);
                let message = format!("{address} is in line {line} already");
                report.error(vip.span(), message, "keep one of them");
            } else {
                seen.insert(key, vip.span());
            }
        }
    }
}

fn capacities(report: &mut Report<'_>, file: &File) {
    let count = file.instances.len();
    if let Some(most) = &file.agent.max_instances
        && count > *most.get_ref() as usize
    {
        let message = format!("{count} instances, but max_instances is {}", most.get_ref());
        report.error(
            most.span(),
            message,
            format!("max_instances = {count} in [agent]"),
        );
    }
    for family in [Family::Ipv4, Family::Ipv6] {
        let of_family = file.instances.iter().filter(|i| i.family() == Some(family));
        let count: usize = of_family.map(|i| i.vips().len()).sum();
        if let Some(most) = &file.agent.max_addresses
            && count > *most.get_ref() as usize
        {
            let name = address::name(family);
            let message = format!(
                "{count} {name} addresses, but max_addresses is {}",
                most.get_ref()
            );
            report.error(
                most.span(),
                message,
                format!("max_addresses = {count} in [agent]"),
            );
        }
    }
    let lists = file.instances.iter().filter_map(|i| i.peers.as_ref());
    let mut peers = 0;
    for list in lists {
        peers += list.get_ref().len();
        if peers > MAX_PEERS as usize {
            let message = format!("more than {MAX_PEERS} peers in the file");
            report.error(list.span(), message, "use multicast, or fewer instances");
            break;
        }
    }
}
