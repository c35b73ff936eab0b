//! The entry point and the order of the stages.

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    macros::xdp,
    programs::XdpContext,
};
use ha_common::net::{self, ARP_REQUEST, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Fragment};
use ha_common::net::{Ip, Link};
use ha_common::verdict::{Fate, Verdict};
use ha_common::vrrp::IPPROTO_VRRP;

use crate::fence::{self, Asks};
use crate::packet::Packet;
use crate::{stats, vrrp};

/// Judges one frame, counts the verdict and tells the kernel what to do with it.
#[xdp(frags)]
pub(crate) fn ha_xdp(ctx: XdpContext) -> u32 {
    let packet = Packet::new(ctx);
    let verdict = judge(&packet);
    stats::count(verdict);
    match verdict.fate() {
        Fate::Pass => XDP_PASS,
        Fate::Drop => XDP_DROP,
    }
}

#[inline(always)]
fn judge(packet: &Packet) -> Verdict {
    let Some(link) = net::link(packet) else {
        return Verdict::PassUnparsed;
    };
    match link.ethertype {
        ETHERTYPE_ARP => judge_arp(packet, &link),
        ETHERTYPE_IPV4 => match net::ipv4(packet, link.payload) {
            Some(ip) => judge_ipv4(packet, &link, &ip),
            None => Verdict::PassUnparsed,
        },
        ETHERTYPE_IPV6 => match net::ipv6(packet, link.payload) {
            Some(ip) => judge_ipv6(packet, &link, ip),
            None => Verdict::PassUnparsed,
        },
        _ => Verdict::PassOther,
    }
}

/// A gratuitous request asks nothing: it passes, so that the caches of a Backup stay right.
#[inline(always)]
fn judge_arp(packet: &Packet, link: &Link) -> Verdict {
    let Some(arp) = net::arp(packet, link.payload) else {
        return Verdict::PassUnparsed;
    };
    if arp.operation != ARP_REQUEST || arp.sender == arp.target {
        return Verdict::PassArp;
    }
    match fence::vip4(arp.target) {
        Some(vip) => fence::judge(packet, link, vip, Asks::Arp),
        None => Verdict::PassArp,
    }
}

#[inline(always)]
fn judge_ipv4(packet: &Packet, link: &Link, ip: &Ip) -> Verdict {
    if is_vrrp(ip) {
        return vrrp::judge(packet, link, ip);
    }
    match fence::vip4(net::unmapped(&ip.destination)) {
        Some(vip) => fence::judge(packet, link, vip, Asks::Traffic),
        None => Verdict::PassNotOurs,
    }
}

/// The extension headers are walked before the destination is looked up only because VRRP and
/// neighbour discovery may hide behind them. A chain that cannot be walked does not open the fence.
#[inline(always)]
fn judge_ipv6(packet: &Packet, link: &Link, ip: Ip) -> Verdict {
    let upper = net::upper_layer(packet, ip);
    if let Some(upper) = upper {
        if is_vrrp(&upper) {
            return vrrp::judge(packet, link, &upper);
        }
        if let Some(target) = net::solicited(packet, &upper)
            && let Some(vip) = fence::vip6(packet, target)
        {
            return fence::judge(packet, link, vip, Asks::Neighbour);
        }
    }
    match (fence::vip6(packet, ip.destination), upper) {
        (Some(vip), _) => fence::judge(packet, link, vip, Asks::Traffic),
        (None, Some(_)) => Verdict::PassNotOurs,
        (None, None) => Verdict::PassUnparsed,
    }
}

/// A later fragment has no VRRP header: it is traffic like any other.
#[inline(always)]
fn is_vrrp(ip: &Ip) -> bool {
    ip.protocol == IPPROTO_VRRP && ip.fragment != Fragment::Later
}

/// The verifier refuses a program that can reach this loop, so none that loads can panic.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
