//! The table: one frame, one verdict.

use std::collections::HashSet;

use ha_common::maps::Role;
use ha_common::net::{Address, mapped};
use ha_common::verdict::{Fate, Verdict};
use ha_common::vrrp::{Checksum, IPPROTO_VRRP};

use crate::bench::{Bench, FOREVER, LAN, OWN4, OWN6, PASSWORD, UPLINK, difference, slot_of};
use crate::frames::{Advert, ICMPV6, Ipv4, Ipv6, PEER4, PEER6, TCP, UDP};
use crate::frames::{arp, ethernet, global, link_local};

const CLIENT: [u8; 4] = [192, 0, 2, 200];
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;

pub(crate) struct Case {
    name: &'static str,
    /// Frames that were there before, on the same interface.
    heard: Vec<Vec<u8>>,
    pub(crate) ifindex: u32,
    pub(crate) frame: Vec<u8>,
    verdict: Verdict,
    /// The virtual router that the verdict is counted for.
    vrid: Option<u8>,
    /// Whether the agent is woken by it.
    wakes: bool,
}

fn case(name: &'static str, frame: Vec<u8>, verdict: Verdict) -> Case {
    Case {
        name,
        heard: Vec::new(),
        ifindex: LAN,
        frame,
        verdict,
        vrid: None,
        wakes: verdict == Verdict::AdvertChanged,
    }
}

impl Case {
    fn on(self, ifindex: u32) -> Self {
        Self { ifindex, ..self }
    }

    fn of(self, vrid: u8) -> Self {
        let vrid = Some(vrid);
        Self { vrid, ..self }
    }

    fn after(mut self, frame: Vec<u8>) -> Self {
        self.heard.push(frame);
        self
    }
}

pub(crate) fn table() -> Vec<Case> {
    let mut all = others();
    all.extend(fences());
    all.extend(valid());
    all.extend(invalid());
    all.extend(news());
    all
}

fn vip(vrid: u8) -> [u8; 4] {
    [192, 0, 2, vrid]
}

fn tcp4(vrid: u8) -> Vec<u8> {
    Ipv4::to(vip(vrid), TCP, &[0; 20]).frame()
}

fn udp6(address: Address) -> Ipv6 {
    Ipv6::to(address, UDP, &[0; 8])
}

fn who_has(vrid: u8) -> Vec<u8> {
    ethernet(&[], 0x0806, &arp(1, CLIENT, vip(vrid)))
}

/// What is not ours, and what nobody can read.
#[rustfmt::skip] // A table: one line per case.
fn others() -> Vec<Case> {
    use Verdict::{PassArp, PassForeignVrid, PassNotOurs, PassOther, PassUnparsed};
    let other4 = Ipv4::to([198, 51, 100, 1], TCP, &[0; 20]);
    let mut short_header = other4.frame();
    short_header[14] = 0x44;
    let mut wrong_version = other4.frame();
    wrong_version[14] = 0x65;
    let mut short_total = other4.frame();
    short_total[16..18].copy_from_slice(&[0, 19]);
    let mut ieee802 = arp(1, CLIENT, vip(10));
    ieee802[1] = 6;
    let mut infiniband = arp(1, CLIENT, vip(10));
    infiniband[1] = 32;
    let mut ip6_wrong_version = udp6(global(200)).frame();
    ip6_wrong_version[14] = 0x40;
    let mut endless = udp6(global(99));
    for _ in 0..8 {
        endless = endless.behind(DESTINATION, &[]);
    }
    vec![
        case("LLDP", ethernet(&[], 0x88cc, &[0; 46]), PassOther),
        case("length field of 802.3", ethernet(&[], 38, &[0x42; 46]), PassOther),
        case("three tags", other4.tagged(&[(0x88a8, 1), (0x8100, 2), (0x8100, 3)]), PassOther),
        case("tag without the rest", ethernet(&[], 0x8100, &[0, 100]), PassUnparsed),
        case("IPv4 cut short", other4.frame()[..33].to_vec(), PassUnparsed),
        case("IPv4 header of 16 bytes", short_header, PassUnparsed),
        case("IPv4 EtherType, version 6", wrong_version, PassUnparsed),
        case("IPv4 shorter than its header", short_total, PassUnparsed),
        case("IPv6 cut short", udp6(global(200)).frame()[..53].to_vec(), PassUnparsed),
        case("IPv6 EtherType, version 4", ip6_wrong_version, PassUnparsed),
        case("IPv6 with eight extension headers", endless.frame(), PassUnparsed),
        case("ARP cut short", ethernet(&[], 0x0806, &arp(1, CLIENT, vip(10))[..20]), PassUnparsed),
        case("ARP for InfiniBand", ethernet(&[], 0x0806, &infiniband), PassUnparsed),
        case("ARP of IEEE 802 hardware, which Linux answers", ethernet(&[], 0x0806, &ieee802), Verdict::FenceArp).of(10),
        case("IPv4", other4.frame(), PassNotOurs),
        case("IPv4 in a priority tag", other4.tagged(&[(0x8100, 0)]), PassNotOurs),
        case("IPv4 with options", Ipv4 { options: vec![1; 40], ..other4.clone() }.frame(), PassNotOurs),
        case("IPv4 of 3000 bytes", Ipv4::to([198, 51, 100, 1], UDP, &[7; 3000]).frame(), PassNotOurs),
        case("first fragment", Ipv4 { fragment: 0x2000, ..other4.clone() }.frame(), PassNotOurs),
        case("later fragment of a VRRP message", Ipv4 { fragment: 3, ..Advert::v3(10).ipv4() }.frame(), PassNotOurs),
        case("IPv6", udp6(global(200)).frame(), PassNotOurs),
        case("IPv6 behind seven extension headers", (0..7).fold(udp6(global(99)), |p, _| p.behind(DESTINATION, &[])).frame(), PassNotOurs),
        case("IPv6 behind six extension headers", (0..6).fold(udp6(global(99)), |p, _| p.behind(ROUTING, &[0; 30])).frame(), PassNotOurs),
        case("no next header", Ipv6::to(global(200), 59, &[]).frame(), PassNotOurs),
        case("echo request", Ipv6::to(global(200), ICMPV6, &[128, 0, 0, 0, 0, 1, 0, 1]).frame(), PassNotOurs),
        case("neighbour solicitation for another", Ipv6::solicitation(global(99)).frame(), PassNotOurs),
        case("neighbour solicitation without target", Ipv6 { payload: vec![135, 0, 0, 0], ..Ipv6::solicitation(global(30)) }.frame(), PassNotOurs),
        case("neighbour advertisement of a rival", Ipv6 { payload: [&[136, 0, 0, 0, 0, 0, 0, 0][..], &global(30)].concat(), ..Ipv6::solicitation(global(30)) }.frame(), PassNotOurs),
        case("neighbour solicitation in a fragment", Ipv6::solicitation(global(30)).behind(FRAGMENT, &[0, 1, 0, 0, 0, 1]).frame(), PassNotOurs),
        case("link-local address of another interface", udp6(link_local(30)).frame(), PassNotOurs).on(UPLINK),
        case("ARP request for another", ethernet(&[], 0x0806, &arp(1, CLIENT, [192, 0, 2, 99])), PassArp),
        case("ARP reply of a rival", ethernet(&[], 0x0806, &arp(2, vip(10), vip(10))), PassArp),
        case("gratuitous ARP request of the peer", ethernet(&[], 0x0806, &arp(1, vip(10), vip(10))), PassArp),
        case("foreign VRID", Advert::v3(99).frame(), PassForeignVrid),
        case("our VRID on another interface", Advert::v3(10).frame(), PassForeignVrid).on(UPLINK),
        case("our VRID on another VLAN", Advert::v3(10).ipv4().tagged(&[(0x8100, 100)]), PassForeignVrid),
        case("our VRID in the other family", Advert::v6(10).frame(), PassForeignVrid),
        case("VRRP without a header", Ipv4::to([224, 0, 0, 18], IPPROTO_VRRP, &[0x31, 10, 1]).frame(), PassUnparsed),
        case("unicast VRRP for another node", Advert { destination: mapped([192, 0, 2, 77]), ..Advert::v3(22) }.frame(), Verdict::PassVrrpTransit),
    ]
}

/// Questions and traffic for virtual addresses, in every role.
#[rustfmt::skip] // A table: one line per case.
fn fences() -> Vec<Case> {
    use Verdict::{
        FenceArp, FenceNd, FenceTraffic, PassAnswered, PassHandover, PassServed, PassTransit,
    };
    let tagged = |tags: &[(u16, u16)], vrid| Ipv4::to(vip(vrid), TCP, &[0; 20]).tagged(tags);
    let eight = (0..8).fold(udp6(global(30)), |p, _| p.behind(DESTINATION, &[]));
    vec![
        case("Backup: ARP request", who_has(10), FenceArp).of(10),
        case("Backup: ARP probe", ethernet(&[], 0x0806, &arp(1, [0; 4], vip(10))), FenceArp).of(10),
        case("Backup: traffic", tcp4(10), FenceTraffic).of(10),
        case("Backup: traffic with options", Ipv4 { options: vec![1; 12], ..Ipv4::to(vip(10), TCP, &[0; 20]) }.frame(), FenceTraffic).of(10),
        case("Backup: later fragment", Ipv4 { fragment: 100, ..Ipv4::to(vip(10), UDP, &[0; 64]) }.frame(), FenceTraffic).of(10),
        case("Backup: later fragment of protocol 112", Ipv4 { fragment: 100, ..Ipv4::to(vip(10), IPPROTO_VRRP, &[0; 64]) }.frame(), FenceTraffic).of(10),
        case("Backup: traffic from another interface", tcp4(10), PassTransit).of(10).on(UPLINK),
        case("Backup: traffic from another VLAN", tagged(&[(0x8100, 5)], 10), PassTransit).of(10),
        case("Backup: traffic on the VLAN of the address", tagged(&[(0x8100, 100)], 23), FenceTraffic).of(23),
        case("Backup: traffic on both VLANs of the address", tagged(&[(0x88a8, 7), (0x8100, 100)], 24), FenceTraffic).of(24),
        case("Backup: traffic in the inner VLAN alone", tagged(&[(0x8100, 100)], 24), PassTransit).of(24),
        case("Backup: ARP request on the VLAN of the address", ethernet(&[(0x8100, 100)], 0x0806, &arp(1, CLIENT, vip(23))), FenceArp).of(23),
        case("Initialize: ARP request", who_has(15), FenceArp).of(15),
        case("Initialize: traffic, whatever the lease", tcp4(15), FenceTraffic).of(15),
        case("Active: ARP request", who_has(11), PassAnswered).of(11),
        case("Active: traffic", tcp4(11), PassServed).of(11),
        case("Active: traffic from another interface", tcp4(11), PassServed).of(11).on(UPLINK),
        case("Active: jumbo frame", Ipv4::to(vip(11), UDP, &[7; 3000]).frame(), PassServed).of(11),
        case("Active too long: ARP request", who_has(12), FenceArp).of(12),
        case("Active too long: ARP request on another interface", who_has(12), FenceArp).of(12).on(UPLINK),
        case("Active too long: traffic", tcp4(12), FenceTraffic).of(12),
        case("Active too long: traffic from another interface", tcp4(12), FenceTraffic).of(12).on(UPLINK),
        case("Handover: ARP request", who_has(13), FenceArp).of(13),
        case("Handover: traffic", tcp4(13), PassHandover).of(13),
        case("Handover too long: traffic", tcp4(14), FenceTraffic).of(14),
        case("Backup: neighbour solicitation", Ipv6::solicitation(global(30)).frame(), FenceNd).of(30),
        case("Backup: neighbour solicitation for the link-local address", Ipv6::solicitation(link_local(30)).frame(), FenceNd).of(30),
        case("Backup: neighbour solicitation behind an extension header", Ipv6::solicitation(global(30)).behind(DESTINATION, &[]).frame(), FenceNd).of(30),
        case("Backup: IPv6 traffic", udp6(global(30)).frame(), FenceTraffic).of(30),
        case("Backup: IPv6 traffic to the link-local address", udp6(link_local(30)).frame(), FenceTraffic).of(30),
        case("Backup: IPv6 traffic behind extension headers", udp6(global(30)).behind(HOP_BY_HOP, &[]).behind(ROUTING, &[]).behind(FRAGMENT, &[]).frame(), FenceTraffic).of(30),
        case("Backup: IPv6 traffic that nobody can walk", eight.frame(), FenceTraffic).of(30),
        case("Backup: IPv6 traffic from another interface", udp6(global(30)).frame(), PassTransit).of(30).on(UPLINK),
        case("Backup: IPv6 address of an IPv4 virtual router", udp6(global(10)).frame(), FenceTraffic).of(10),
        case("Active: neighbour solicitation", Ipv6::solicitation(global(31)).frame(), PassAnswered).of(31),
        case("Active: IPv6 traffic", udp6(global(31)).frame(), PassServed).of(31),
        case("Active too long: neighbour solicitation", Ipv6::solicitation(global(32)).frame(), FenceNd).of(32),
        case("Active too long: IPv6 traffic", udp6(global(32)).frame(), FenceTraffic).of(32),
    ]
}

/// Advertisements that are right, each heard for the first time.
#[rustfmt::skip] // A table: one line per case.
fn valid() -> Vec<Case> {
    use Verdict::AdvertChanged;
    let pass = Advert {
        auth_type: 1,
        auth_data: PASSWORD,
        ..Advert::v2(21)
    };
    let padded = |mut frame: Vec<u8>| {
        frame.resize(60, 0xaa);
        frame
    };
    let many = |count: u16| {
        let addresses = (0..count).map(|n| mapped([10, 0, (n >> 8) as u8, n as u8]));
        Advert {
            addresses: addresses.collect(),
            ..Advert::v3(10)
        }
    };
    let many6 = |count: u8| Advert {
        addresses: (0..count).map(global).collect(),
        ..Advert::v6(30)
    };
    vec![
        case("v3, pseudo-header checksum of RFC 5798", Advert::v3(10).frame(), AdvertChanged).of(10),
        case("v3, message checksum of RFC 9568", Advert { checksum: Checksum::MessageOnly, ..Advert::v3(10) }.frame(), AdvertChanged).of(10),
        case("v3, padded by the driver", padded(Advert::v3(10).frame()), AdvertChanged).of(10),
        case("v3, router alert option", Ipv4 { options: vec![148, 4, 0, 0], ..Advert::v3(10).ipv4() }.frame(), AdvertChanged).of(10),
        case("v3, other interval than ours", Advert { interval_cs: 4095, ..Advert::v3(10) }.frame(), AdvertChanged).of(10),
        case("v3, reserved bits set", Advert { interval_cs: 0xf000 | 100, ..Advert::v3(10) }.frame(), AdvertChanged).of(10),
        case("v3, priority 0", Advert { priority: 0, ..Advert::v3(10) }.frame(), AdvertChanged).of(10),
        case("v3, priority 255", Advert { priority: 255, ..Advert::v3(10) }.frame(), AdvertChanged).of(10),
        case("v3, 255 addresses", many(255).frame(), AdvertChanged).of(10),
        case("v3 on VLAN 100", Advert::v3(23).ipv4().tagged(&[(0x8100, 100)]), AdvertChanged).of(23),
        case("v3 on VLAN 100 inside 7", Advert::v3(24).ipv4().tagged(&[(0x88a8, 7), (0x8100, 100)]), AdvertChanged).of(24),
        case("v3 in a priority tag", Advert::v3(10).ipv4().tagged(&[(0x8100, 0)]), AdvertChanged).of(10),
        case("v3 without addresses, like us", Advert { addresses: vec![], ..Advert::v3(25) }.frame(), AdvertChanged).of(25),
        case("v3, TTL 3 where that is allowed", Advert { ttl: 3, ..Advert::v3(26) }.frame(), AdvertChanged).of(26),
        case("v3, unicast from the peer", Advert { destination: mapped(OWN4), ..Advert::v3(22) }.frame(), AdvertChanged).of(22),
        case("v2", Advert::v2(20).frame(), AdvertChanged).of(20),
        case("v2 with the password", pass.frame(), AdvertChanged).of(21),
        case("IPv6", Advert::v6(30).frame(), AdvertChanged).of(30),
        case("IPv6, 92 addresses", many6(92).frame(), AdvertChanged).of(30),
        case("IPv6 behind a hop-by-hop header", Advert::v6(30).ipv6().behind(HOP_BY_HOP, &[5, 2, 0, 0, 1, 0]).frame(), AdvertChanged).of(30),
        case("IPv6 behind a long destination header", Advert::v6(30).ipv6().behind(DESTINATION, &[0; 1000]).frame(), AdvertChanged).of(30),
        case("IPv6, unicast from the peer", Advert { destination: OWN6, ..Advert::v6(33) }.frame(), AdvertChanged).of(33),
    ]
}

/// One thing wrong at a time.
#[rustfmt::skip] // A table: one line per case.
fn invalid() -> Vec<Case> {
    use Verdict::*;
    let v3 = || Advert::v3(10);
    let v2 = || Advert::v2(20);
    let pass = || Advert {
        auth_type: 1,
        auth_data: PASSWORD,
        ..Advert::v2(21)
    };
    let cut = |frame: Vec<u8>, by: usize| frame[..frame.len() - by].to_vec();
    let many6 = Advert {
        addresses: vec![global(1); 93],
        ..Advert::v6(30)
    };
    vec![
        case("TTL 254", Advert { ttl: 254, ..v3() }.frame(), VrrpTtl).of(10),
        case("TTL 0 where any is allowed", Advert { ttl: 0, ..Advert::v3(26) }.frame(), VrrpTtl).of(26),
        case("hop limit 64", Advert { ttl: 64, ..Advert::v6(30) }.frame(), VrrpTtl).of(30),
        case("version 2 for version 3", Advert { version: 2, ..v3() }.frame(), VrrpVersion).of(10),
        case("version 3 for version 2", Advert { version: 3, ..v2() }.frame(), VrrpVersion).of(20),
        case("version 15", Advert { version: 15, ..v3() }.frame(), VrrpVersion).of(10),
        case("type 2", Advert { kind: 2, ..v3() }.frame(), VrrpType).of(10),
        case("fewer addresses than counted", Advert { count: Some(2), ..v3() }.frame(), VrrpTruncated).of(10),
        case("v2 without room for the password", Advert { count: Some(2), addresses: vec![mapped(vip(20))], ..v2() }.frame(), VrrpTruncated).of(20),
        case("v2, two addresses more counted", Advert { count: Some(4), ..v2() }.frame(), VrrpTruncated).of(20),
        case("frame ends before the packet", cut(v3().frame(), 2), VrrpTruncated).of(10),
        case("IPv6 frame ends before the packet", cut(Advert::v6(30).frame(), 16), VrrpTruncated).of(30),
        case("more addresses than counted", Advert { count: Some(0), ..v3() }.frame(), VrrpLength).of(10),
        case("four bytes behind the message", Advert { trailer: 4, ..v3() }.frame(), VrrpLength).of(10),
        case("one byte behind the message", Advert { trailer: 1, ..v3() }.frame(), VrrpLength).of(10),
        case("IPv6, more than fits a packet", many6.frame(), VrrpLength).of(30),
        case("first fragment", Ipv4 { fragment: 0x2000, ..v3().ipv4() }.frame(), VrrpFragment).of(10),
        case("IPv6 first fragment", Advert::v6(30).ipv6().behind(FRAGMENT, &[0, 1, 0, 0, 0, 1]).frame(), VrrpFragment).of(30),
        case("checksum off by one", Advert { checksum_error: 1, ..v3() }.frame(), VrrpChecksum).of(10),
        case("v2 checksum off by one", Advert { checksum_error: 1, ..v2() }.frame(), VrrpChecksum).of(20),
        case("IPv6 checksum without pseudo-header", Advert { checksum: Checksum::MessageOnly, ..Advert::v6(30) }.frame(), VrrpChecksum).of(30),
        case("password for a router without", Advert { auth_type: 1, ..v2() }.frame(), VrrpAuthType).of(20),
        case("no password for a router with", Advert { auth_type: 0, ..pass() }.frame(), VrrpAuthType).of(21),
        case("wrong password", Advert { auth_data: *b"Secret\0\0", ..pass() }.frame(), VrrpPassword).of(21),
        case("password with another tail", Advert { auth_data: *b"secret\0x", ..pass() }.frame(), VrrpPassword).of(21),
        case("v2, other interval", Advert { interval_cs: 200, ..v2() }.frame(), VrrpInterval).of(20),
        case("interval 0", Advert { interval_cs: 0, ..v3() }.frame(), VrrpZeroInterval).of(10),
        case("no addresses", Advert { addresses: vec![], ..v3() }.frame(), VrrpNoAddress).of(10),
        case("unicast to a multicast router", Advert { destination: mapped(OWN4), ..v3() }.frame(), VrrpCast).of(10),
        case("multicast to a unicast router", Advert::v3(22).frame(), VrrpCast).of(22),
        case("unicast from a stranger", Advert { source: mapped([192, 0, 2, 3]), destination: mapped(OWN4), ..Advert::v3(22) }.frame(), VrrpSource).of(22),
        case("IPv6 unicast from a stranger", Advert { source: link_local(3), destination: OWN6, ..Advert::v6(33) }.frame(), VrrpSource).of(33),
        case("our own address as source", Advert { source: mapped(OWN4), ..v3() }.frame(), VrrpOwnSource).of(10),
        case("our own IPv6 address as source", Advert { source: OWN6, ..Advert::v6(30) }.frame(), VrrpOwnSource).of(30),
    ]
}

/// What is news depends on what was heard before.
#[rustfmt::skip] // A table: one line per case.
fn news() -> Vec<Case> {
    use Verdict::{AdvertChanged, AdvertUnchanged, VrrpRate};
    let v3 = || Advert::v3(10);
    let again = |advert: Advert, verdict| case("", advert.frame(), verdict).after(v3().frame());
    let named = |name, case: Case| Case { name, ..case }.of(10);
    let turned = Advert {
        addresses: vec![mapped(vip(2)), mapped(vip(1))],
        ..v3()
    };
    let straight = Advert {
        addresses: vec![mapped(vip(1)), mapped(vip(2))],
        ..v3()
    };
    let mut flood = case(
        "the seventeenth news of one source",
        Advert {
            priority: 17,
            ..v3()
        }
        .frame(),
        VrrpRate,
    )
    .of(10);
    let mut others = case(
        "news of another source meanwhile",
        Advert {
            source: mapped([192, 0, 2, 3]),
            ..v3()
        }
        .frame(),
        AdvertChanged,
    )
    .of(10);
    let mut repeated = case(
        "a repetition after too much news",
        Advert {
            priority: 16,
            ..v3()
        }
        .frame(),
        AdvertUnchanged,
    )
    .of(10);
    for priority in 1..=16 {
        let frame = Advert { priority, ..v3() }.frame();
        flood.heard.push(frame.clone());
        others.heard.push(frame.clone());
        repeated.heard.push(frame);
    }
    vec![
        named("the same again", again(v3(), AdvertUnchanged)),
        named("the same addresses in another order", case("", turned.frame(), AdvertUnchanged).after(straight.frame())),
        named(
            "the same padded",
            again(v3(), AdvertUnchanged).after({
                let mut frame = v3().frame();
                frame.resize(60, 0);
                frame
            }),
        ),
        named("another priority", again(Advert { priority: 101, ..v3() }, AdvertChanged)),
        named("another source", again(Advert { source: mapped([192, 0, 2, 3]), ..v3() }, AdvertChanged)),
        named("another interval", again(Advert { interval_cs: 101, ..v3() }, AdvertChanged)),
        named("another address", again(Advert { addresses: vec![mapped(vip(9))], ..v3() }, AdvertChanged)),
        named("another checksum form", again(Advert { checksum: Checksum::MessageOnly, ..v3() }, AdvertChanged)),
        named("priority 0 twice", case("", Advert { priority: 0, ..v3() }.frame(), AdvertChanged).after(Advert { priority: 0, ..v3() }.frame())),
        case("the same again while Active", Advert::v3(11).frame(), AdvertChanged).of(11).after(Advert::v3(11).frame()),
        case("the same again in Handover", Advert::v3(13).frame(), AdvertChanged).of(13).after(Advert::v3(13).frame()),
        case("the same again in Initialize", Advert::v3(15).frame(), AdvertUnchanged).of(15).after(Advert::v3(15).frame()),
        case("IPv6, the same again", Advert::v6(30).frame(), AdvertUnchanged).of(30).after(Advert::v6(30).frame()),
        flood,
        others,
        repeated,
    ]
}

/// Verdicts that need more than a frame: each has a test of its own below.
const ELSEWHERE: [Verdict; 1] = [Verdict::AdvertLost];

#[test]
fn every_verdict_has_a_case() {
    let mut produced: HashSet<Verdict> = table().iter().map(|case| case.verdict).collect();
    produced.extend(ELSEWHERE);
    let missing: Vec<_> = Verdict::ALL
        .into_iter()
        .filter(|verdict| !produced.contains(verdict))
        .collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}

#[test]
#[ignore = "needs root: loads an eBPF program"]
fn frames_get_the_verdict_of_the_table() {
    let mut bench = Bench::new(100);
    let mut wrong = Vec::new();
    let cases = table();
    for case in &cases {
        bench.reset();
        if let Err(what) = check(&mut bench, case) {
            wrong.push(format!("{}: {what}", case.name));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} cases:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

fn check(bench: &mut Bench, case: &Case) -> Result<(), String> {
    for frame in &case.heard {
        bench.run(case.ifindex, frame);
    }
    while bench.fast.next_event().is_some() {}
    let slot = case.vrid.map(slot_of);
    let count = |bench: &Bench| slot.map(|slot| bench.dataplane.vrid_counters(slot).unwrap());
    let node = bench.dataplane.counters().unwrap();
    let vrid = count(bench);
    let ran = bench.run(case.ifindex, &case.frame);
    let counted = difference(&node, &bench.dataplane.counters().unwrap());
    if counted.len() != 1 || counted.get(&case.verdict) != Some(&1) {
        return Err(format!("counted as {counted:?}, not {:?}", case.verdict));
    }
    if ran.fate != case.verdict.fate() {
        return Err(format!("{:?} is not its fate", ran.fate));
    }
    if !ran.unchanged {
        return Err("the frame was changed".to_owned());
    }
    if let (Some(before), Some(after)) = (vrid, count(bench)) {
        let counted = difference(&before, &after);
        if counted.len() != 1 || counted.get(&case.verdict) != Some(&1) {
            return Err(format!("counted for its virtual router as {counted:?}"));
        }
    }
    let is_vrrp = case.verdict.name().starts_with("vrrp_");
    if let (true, Fate::Drop, Some(slot)) = (is_vrrp, ran.fate, slot) {
        let drop = bench.dataplane.last_drop(slot).unwrap();
        if drop.map(|drop| drop.verdict) != Some(case.verdict) {
            return Err(format!("recorded as {drop:?}"));
        }
    }
    let woken = bench.fast.next_event();
    if woken.is_some() != case.wakes {
        return Err(format!("the agent got {woken:?}"));
    }
    if let Some(event) = woken {
        let record = bench.fast.last_advert(event.slot);
        if Some(event.slot) != slot || record != Some(event.advert) {
            return Err(format!("{event:?} is not the record {record:?}"));
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root: loads an eBPF program"]
fn record_and_event_say_what_the_advertisement_said() {
    let mut bench = Bench::new(100);
    let slot = slot_of(10);
    assert_eq!(bench.fast.last_advert(slot), None);
    let advert = Advert {
        priority: 77,
        interval_cs: 250,
        checksum: Checksum::MessageOnly,
        addresses: vec![mapped(vip(1)), mapped(vip(2))],
        ..Advert::v3(10)
    };
    let before = now_ns();
    bench.run(LAN, &advert.frame());
    let event = bench.fast.next_event().unwrap();
    assert_eq!(event.slot, slot);
    let heard = event.advert;
    assert!((before..now_ns()).contains(&heard.at_ns));
    assert_eq!(heard.source, mapped(PEER4));
    assert_eq!(
        (heard.priority, heard.interval_cs, heard.address_count),
        (77, 250, 2)
    );
    assert_eq!(heard.checksum, Checksum::MessageOnly);
    let list = advert.addresses.iter().copied();
    assert_eq!(
        heard.addresses,
        ha_common::vrrp::digest(advert.family(), list)
    );
    assert_eq!(bench.fast.last_advert(slot), Some(heard));

    // The next one moves the time, and nothing else.
    bench.run(LAN, &advert.frame());
    let again = bench.fast.last_advert(slot).unwrap();
    assert!(again.at_ns > heard.at_ns);
    assert!(again.repeats(&heard));
    assert_eq!(bench.fast.next_event(), None);

    // News says when the one before it came, event or not.
    let news = Advert {
        priority: 78,
        ..advert
    };
    bench.run(LAN, &news.frame());
    assert_eq!(event.previous_ns, 0);
    let event = bench.fast.next_event().unwrap();
    assert_eq!(event.previous_ns, again.at_ns);
}

#[test]
#[ignore = "needs root: loads an eBPF program"]
fn first_advertisement_after_silence_is_news() {
    let mut bench = Bench::new(1);
    let frame = Advert::v3(10).frame();
    assert_eq!(bench.verdict(LAN, &frame), Verdict::AdvertChanged);
    // Three intervals of 10 ms.
    std::thread::sleep(std::time::Duration::from_millis(31));
    assert_eq!(bench.verdict(LAN, &frame), Verdict::AdvertChanged);
}

#[test]
#[ignore = "needs root: loads an eBPF program"]
fn rate_bound_opens_again_after_its_window() {
    let mut bench = Bench::new(1);
    let frame = |n: u8| {
        Advert {
            priority: 1 + n % 200,
            ..Advert::v3(10)
        }
        .frame()
    };
    let verdicts: HashSet<_> = (0..40).map(|n| bench.verdict(LAN, &frame(n))).collect();
    assert!(verdicts.contains(&Verdict::VrrpRate));
    // RATE_WINDOW_MIN_NS.
    std::thread::sleep(std::time::Duration::from_millis(101));
    assert_eq!(bench.verdict(LAN, &frame(99)), Verdict::AdvertChanged);
}

#[test]
#[ignore = "needs root: loads an eBPF program"]
fn full_ring_loses_the_event_but_not_the_record() {
    let mut bench = Bench::new(4095);
    let news = |n: u16| {
        let [high, low] = n.to_be_bytes();
        Advert {
            source: mapped([10, 1, high, low]),
            ..Advert::v3(10)
        }
    };
    let lost = (0..2000).find(|&n| bench.verdict(LAN, &news(n).frame()) == Verdict::AdvertLost);
    let lost = lost.expect("2000 events do not fit the ring");
    let record = bench.fast.last_advert(slot_of(10)).unwrap();
    assert_eq!(record.source, news(lost).source);
    let waiting = std::iter::from_fn(|| bench.fast.next_event()).count();
    assert_eq!(waiting, usize::from(lost));
    assert_eq!(
        bench.verdict(LAN, &news(3000).frame()),
        Verdict::AdvertChanged
    );
}

#[test]
#[ignore = "needs root: loads an eBPF program"]
fn lease_ends_without_the_agent() {
    let mut bench = Bench::new(100);
    let slot = slot_of(10);
    let ms = 1_000_000;
    bench.fast.set_role(slot, Role::Active, now_ns() + 300 * ms);
    assert_eq!(bench.verdict(LAN, &tcp4(10)), Verdict::PassServed);
    assert_eq!(bench.verdict(LAN, &who_has(10)), Verdict::PassAnswered);
    std::thread::sleep(std::time::Duration::from_millis(301));
    assert_eq!(bench.verdict(LAN, &tcp4(10)), Verdict::FenceTraffic);
    assert_eq!(bench.verdict(UPLINK, &tcp4(10)), Verdict::FenceTraffic);
    bench.fast.renew(slot, FOREVER);
    assert_eq!(bench.verdict(LAN, &tcp4(10)), Verdict::PassServed);
    bench.fast.set_role(slot, Role::Handover, FOREVER);
    assert_eq!(bench.verdict(LAN, &tcp4(10)), Verdict::PassHandover);
    bench.fast.set_role(slot, Role::Backup, 0);
    assert_eq!(bench.verdict(LAN, &tcp4(10)), Verdict::FenceTraffic);
    assert_eq!(bench.verdict(UPLINK, &tcp4(10)), Verdict::PassTransit);
}

#[test]
#[ignore = "needs root: loads an eBPF program"]
fn foreign_virtual_routers_are_remembered() {
    let mut bench = Bench::new(100);
    for priority in [1, 2, 3] {
        bench.run(
            LAN,
            &Advert {
                priority,
                ..Advert::v3(99)
            }
            .frame(),
        );
    }
    bench.run(UPLINK, &Advert::v6(99).frame());
    let mut foreign = bench.dataplane.foreign().unwrap();
    foreign.sort_by_key(|(key, _)| key.family);
    let seen: Vec<_> = foreign
        .iter()
        .map(|(key, f)| {
            (
                key.ifindex,
                key.family,
                key.vrid,
                f.source,
                f.count,
                f.version,
                f.priority,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (LAN, 4, 99, mapped(PEER4), 3, 3, 3),
            (UPLINK, 6, 99, PEER6, 1, 3, 100)
        ]
    );
}

pub(crate) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
