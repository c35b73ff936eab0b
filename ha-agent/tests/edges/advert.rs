//! Advertisement sockets on both ends of a cable.

use std::net::IpAddr;

use ha_agent::advert::{Error, Path, Receiver, Sender};
use ha_agent::vrrp::types::{Family, family_of, from_wire};
use ha_common::net::Fragment;
use ha_common::vrrp::{GROUP_IPV4, GROUP_IPV6, VRRP_TTL};

use crate::lab::{Namespace, Pair, QUIET, SOON, Tap, eventually, ip, is_vrrp};

/// A VRRPv3 message for VRID 51; nobody here looks at the checksum.
const MESSAGE: [u8; 12] = [0x31, 51, 100, 1, 0, 100, 0xab, 0xcd, 10, 0, 0, 1];

fn group(family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => IpAddr::from(GROUP_IPV4),
        Family::Ipv6 => IpAddr::from(GROUP_IPV6),
    }
}

fn open(node: &Namespace, ifname: &str, source: IpAddr, multicast: bool) -> Result<Sender, Error> {
    let path = Path {
        ifname: ifname.to_owned(),
        ifindex: node.ifindex(ifname),
        source,
        multicast,
    };
    node.enter(|| Sender::open(&path))
}

/// Everything that waits.
fn frames(receiver: &Receiver) -> Vec<Vec<u8>> {
    let mut frame = [0; 1600];
    std::iter::from_fn(|| {
        let len = receiver.recv(&mut frame).unwrap()?;
        Some(frame[..len].to_vec())
    })
    .collect()
}

/// The advertisements that wait. The filter admits what has IPv6 extension headers, such as the
/// kernel's own multicast listener reports: those are left out.
fn waiting(receiver: &Receiver) -> Vec<Vec<u8>> {
    let mut frames = frames(receiver);
    frames.retain(|frame| is_vrrp(frame));
    frames
}

fn receive(receiver: &Receiver) -> Vec<u8> {
    let mut frames = Vec::new();
    eventually("advertisement", || {
        frames = waiting(receiver);
        !frames.is_empty()
    });
    assert_eq!(frames.len(), 1);
    frames.swap_remove(0)
}

fn listen(node: &Namespace, ifname: &str) -> Receiver {
    let ifindex = node.ifindex(ifname);
    node.enter(|| Receiver::open(ifname, ifindex).unwrap())
}

/// Nothing can be read from the sender's socket.
fn deaf(sender: &Sender) -> bool {
    let mut byte = [0];
    let read = rustix::net::recv(sender, &mut byte[..], rustix::net::RecvFlags::DONTWAIT);
    read.err() == Some(rustix::io::Errno::WOULDBLOCK)
}

#[test]
#[ignore = "needs root: network namespaces"]
fn adverts_leave_as_the_rfc_asks() {
    let pair = Pair::new();
    let tap = Tap::open(&pair.there, "eth0");
    let receiver = listen(&pair.there, "eth0");
    let link_local = pair.here.link_local("eth0");
    let peer_link_local = pair.there.link_local("eth0");
    let v4: IpAddr = "10.0.0.2".parse().unwrap();
    let v6: IpAddr = "2001:db8::2".parse().unwrap();
    let cases = [
        (v4, group(Family::Ipv4), true),
        (link_local, group(Family::Ipv6), true),
        (v4, "10.0.0.3".parse().unwrap(), false),
        (v6, "2001:db8::3".parse().unwrap(), false),
        (link_local, peer_link_local, false),
    ];
    for (source, destination, multicast) in cases {
        let sender = open(&pair.here, "eth0", source, multicast).unwrap();
        sender.send(destination, &MESSAGE).unwrap();
        let seen = tap.next(SOON, is_vrrp).expect("nothing arrived");
        let header = ip(&seen).unwrap();
        let family = family_of(source);
        assert_eq!(header.ttl, VRRP_TTL);
        assert_eq!(header.fragment, Fragment::Whole);
        assert_eq!(from_wire(family, &header.source), source);
        assert_eq!(from_wire(family, &header.destination), destination);
        assert_eq!(seen[header.payload..header.end], MESSAGE, "as it was given");
        let class = match family {
            Family::Ipv4 => seen[15],
            Family::Ipv6 => seen[14] << 4 | seen[15] >> 4,
        };
        assert_eq!(class, 0xc0, "network control");
        if multicast {
            let mac: [u8; 6] = match family {
                Family::Ipv4 => [0x01, 0x00, 0x5e, 0, 0, 0x12],
                Family::Ipv6 => [0x33, 0x33, 0, 0, 0, 0x12],
            };
            assert_eq!(seen[..6], mac);
        }
        assert_eq!(receive(&receiver), seen, "the receiver sees the same frame");
    }
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_sender_joins_its_group_and_leaves_it() {
    let pair = Pair::new();
    let joined = |family| match family {
        Family::Ipv4 => pair
            .here
            .run("ip maddr show dev eth0")
            .contains("224.0.0.18"),
        Family::Ipv6 => pair.here.run("ip maddr show dev eth0").contains("ff02::12"),
    };
    for (family, source) in [
        (Family::Ipv4, "10.0.0.2".parse().unwrap()),
        (Family::Ipv6, pair.here.link_local("eth0")),
    ] {
        let unicast = open(&pair.here, "eth0", source, false).unwrap();
        assert!(!joined(family));
        drop(unicast);
        let multicast = open(&pair.here, "eth0", source, true).unwrap();
        assert!(joined(family));
        drop(multicast);
        assert!(!joined(family));
    }
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_sender_receives_nothing_and_keeps_the_kernel_quiet() {
    let pair = Pair::new();
    let tap = Tap::open(&pair.there, "eth0");
    let cases: [(IpAddr, IpAddr); 3] = [
        ("10.0.0.2".parse().unwrap(), "10.0.0.3".parse().unwrap()),
        (
            "2001:db8::2".parse().unwrap(),
            "2001:db8::3".parse().unwrap(),
        ),
        (pair.here.link_local("eth0"), pair.there.link_local("eth0")),
    ];
    let is_icmp_error = |frame: &[u8]| {
        ip(frame).is_some_and(|ip| {
            (ip.protocol == 1 && frame[ip.payload] == 3)
                || (ip.protocol == 58 && frame[ip.payload] < 128)
        })
    };
    for (here, there) in cases {
        let peer = open(&pair.there, "eth0", there, true).unwrap();
        // Without a socket the kernel says so, which shows that this test would notice.
        peer.send(here, &MESSAGE).unwrap();
        assert!(tap.next(SOON, is_icmp_error).is_some());

        let sender = open(&pair.here, "eth0", here, true).unwrap();
        for _ in 0..10 {
            peer.send(group(family_of(here)), &MESSAGE).unwrap();
            peer.send(here, &MESSAGE).unwrap();
        }
        assert_eq!(tap.next(QUIET, is_icmp_error), None);
        assert!(deaf(&sender));
    }
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_receiver_admits_nothing_but_adverts_from_outside() {
    let pair = Pair::new();
    let receiver = listen(&pair.here, "eth0");
    let source = "10.0.0.2".parse().unwrap();
    let sender = open(&pair.here, "eth0", source, true).unwrap();
    sender.send(group(Family::Ipv4), &MESSAGE).unwrap();
    pair.there.run("ping -c 2 -i 0.2 10.0.0.2");
    pair.there.run("ping -c 2 -i 0.2 2001:db8::2");
    assert_eq!(waiting(&receiver).len(), 0);

    let there = "10.0.0.3".parse().unwrap();
    let peer = open(&pair.there, "eth0", there, true).unwrap();
    for _ in 0..5 {
        peer.send(group(Family::Ipv4), &MESSAGE).unwrap();
    }
    let mut drained = 0;
    eventually("five frames", || {
        drained += receiver.drain();
        drained >= 5
    });
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_tagged_advert_belongs_to_the_vlan() {
    let pair = Pair::new();
    let receiver = listen(&pair.here, "eth0");
    let tap = Tap::open(&pair.here, "eth0");
    let there = "10.0.0.3".parse().unwrap();
    let peer = open(&pair.there, "eth0", there, true).unwrap();
    peer.send(group(Family::Ipv4), &MESSAGE).unwrap();
    let untagged = receive(&receiver);
    assert!(tap.next(SOON, is_vrrp).is_some());

    // The frame as another node would send it on VLAN 7, on VLAN 0 (a priority tag), and with an
    // IPv6 extension header.
    let injector = Tap::open(&pair.there, "eth0");
    let tagged = |vid: u8| {
        let (addresses, rest) = untagged.split_at(12);
        [addresses, &[0x81, 0x00, 0x00, vid], rest].concat()
    };
    injector.inject(&tagged(7));
    // The tap shows that it arrived; its tag is beside the frame.
    assert_eq!(tap.next(SOON, is_vrrp).as_ref(), Some(&untagged));
    assert_eq!(waiting(&receiver).len(), 0);
    injector.inject(&tagged(0));
    assert_eq!(receive(&receiver), untagged);
}

#[test]
#[ignore = "needs root: network namespaces"]
fn the_filter_looks_at_the_first_next_header() {
    let pair = Pair::new();
    let receiver = listen(&pair.here, "eth0");
    let injector = Tap::open(&pair.there, "eth0");
    let frame = |next_header: u8, flow: u8| {
        let mut frame = vec![0; 14 + 40 + 8];
        frame[..14].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 0x12, 2, 0, 0, 0, 0, 9, 0x86, 0xdd]);
        frame[14] = 0x60;
        frame[14 + 3] = flow;
        frame[14 + 5] = 8;
        frame[14 + 6] = next_header;
        frame[14 + 8] = 0xfe;
        frame[14 + 9] = 0x80;
        frame
    };
    for next_header in 0..=255 {
        // The second frame is certainly admitted: when it is there, so is what came before it.
        let (first, second) = (frame(next_header, 1), frame(112, 2));
        injector.inject(&first);
        injector.inject(&second);
        let mut seen = Vec::new();
        eventually("second frame", || {
            seen.extend(frames(&receiver));
            seen.contains(&second)
        });
        let expected = [0, 43, 60, 112].contains(&next_header);
        assert_eq!(seen.contains(&first), expected, "next header {next_header}");
    }
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_flap_is_survived() {
    let pair = Pair::new();
    let receiver = listen(&pair.here, "eth0");
    let source = "10.0.0.2".parse().unwrap();
    let sender = open(&pair.here, "eth0", source, true).unwrap();
    pair.here.ip("link set eth0 down");
    assert_eq!(waiting(&receiver).len(), 0);
    sender.send(group(Family::Ipv4), &MESSAGE).unwrap_err();
    pair.here.ip("link set eth0 up");
    eventually("route", || {
        sender.send(group(Family::Ipv4), &MESSAGE).is_ok()
    });
    let there = "10.0.0.3".parse().unwrap();
    let peer = open(&pair.there, "eth0", there, true).unwrap();
    eventually("advertisement", || {
        let _ = peer.send(group(Family::Ipv4), &MESSAGE);
        !waiting(&receiver).is_empty()
    });
    pair.here.ip("link del eth0");
    sender.send(group(Family::Ipv4), &MESSAGE).unwrap_err();
    receiver.drain();
    assert_eq!(waiting(&receiver).len(), 0);
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_source_that_is_not_here_is_refused_by_name() {
    let pair = Pair::new();
    let error = open(&pair.here, "eth0", "10.0.0.99".parse().unwrap(), true).unwrap_err();
    assert_eq!(
        error.to_string(),
        "advert: bind to the source address from 10.0.0.99 on eth0"
    );
    let sender = open(&pair.here, "eth0", "10.0.0.2".parse().unwrap(), false).unwrap();
    sender.send(group(Family::Ipv6), &MESSAGE).unwrap_err();
}
