//! The fence: a virtual address is served by an Active router with a live lease, or not at all.

use core::ptr;

use aya_ebpf::helpers::bpf_ktime_get_ns;
use ha_common::maps::{Role, Vip, Vip6Key, is_link_local};
use ha_common::net::{Address, Link};
use ha_common::verdict::Verdict;

use crate::maps::{INSTANCES, Key, VIPS4, VIPS6};
use crate::packet::Packet;
use crate::stats;

/// What a frame wants of a virtual address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asks {
    /// Who has it, by ARP.
    Arp,
    /// Who has it, by neighbour discovery.
    Neighbour,
    /// Delivery.
    Traffic,
}

#[inline(always)]
pub(crate) fn vip4(address: [u8; 4]) -> Option<Vip> {
    // SAFETY: copied at once; an entry that the agent replaces meanwhile leaves an old or a new
    // value behind, and the slot of either is bounds-checked by its array.
    unsafe { VIPS4.get(&Key(address).0) }.copied()
}

#[inline(always)]
pub(crate) fn vip6(packet: &Packet, address: Address) -> Option<Vip> {
    let ifindex = if is_link_local(&address) {
        packet.ifindex()
    } else {
        0
    };
    // SAFETY: as in `vip4`.
    unsafe { VIPS6.get(&Key(Vip6Key { address, ifindex }).0) }.copied()
}

/// Judges a frame that `asks` something of `vip`, and counts it for its virtual router.
#[inline(always)]
pub(crate) fn judge(packet: &Packet, link: &Link, vip: Vip, asks: Asks) -> Verdict {
    let verdict = verdict(packet, link, &vip, asks);
    stats::count_vrid(vip.slot, verdict);
    verdict
}

#[inline(always)]
fn verdict(packet: &Packet, link: &Link, vip: &Vip, asks: Asks) -> Verdict {
    match (role(vip.slot), asks) {
        (Held::Active, Asks::Traffic) => Verdict::PassServed,
        (Held::Active, Asks::Arp | Asks::Neighbour) => Verdict::PassAnswered,
        (Held::Handover, Asks::Traffic) => Verdict::PassHandover,
        (Held::Handover, Asks::Arp | Asks::Neighbour) | (Held::Expired, _) => fenced(asks),
        (Held::No, _) if packet.ifindex() == vip.ifindex && link.vlans == vip.vlans => fenced(asks),
        // On its way through this node to the Active router.
        (Held::No, _) => Verdict::PassTransit,
    }
}

#[inline(always)]
fn fenced(asks: Asks) -> Verdict {
    match asks {
        Asks::Arp => Verdict::FenceArp,
        Asks::Neighbour => Verdict::FenceNd,
        Asks::Traffic => Verdict::FenceTraffic,
    }
}

/// A role and what became of its lease.
enum Held {
    Active,
    Handover,
    Expired,
    No,
}

/// The role is read before the lease, because the agent writes them in the other order when it
/// opens. A CPU that reorders the two sees an older lease, which closes a moment too long.
#[inline(always)]
fn role(slot: u32) -> Held {
    let Some(instance) = INSTANCES.get_ptr(slot) else {
        return Held::No;
    };
    // SAFETY: the pointer comes from a lookup; both fields are written whole by the agent, the
    // role with no other value than one of `Role`.
    let (role, lease_until_ns) = unsafe {
        (
            ptr::read_volatile(&raw const (*instance).role),
            ptr::read_volatile(&raw const (*instance).lease_until_ns),
        )
    };
    match role {
        Role::Initialize | Role::Backup => Held::No,
        // SAFETY: no precondition.
        _ if unsafe { bpf_ktime_get_ns() } >= lease_until_ns => Held::Expired,
        Role::Active => Held::Active,
        Role::Handover => Held::Handover,
    }
}
