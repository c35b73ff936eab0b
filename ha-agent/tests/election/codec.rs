//! The codec against keepalived's bytes, against itself and against nonsense.

use std::net::IpAddr;

use bytes::BytesMut;
use ha_agent::vrrp::Advert;
use ha_agent::vrrp::packet::{Arrival, Message, Unencodable, advert, decode, encode};
use ha_agent::vrrp::types::{
    AdvertPriority, Centiseconds, Checksum, Family, Instant, Version, Vrid, family_of, to_wire,
};
use ha_common::maps::{Cast, Instance, LastAdvert, Role, WRITING};
use ha_common::verdict::{Fate, Verdict};
use ha_common::vrrp::digest;
use proptest::prelude::*;

const IFINDEX: u32 = 3;
const AT: Instant = Instant(1_000_000_007);
/// Offset of the VRRP message in an untagged IPv4 frame without options.
const IPV4_MESSAGE: usize = 34;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn cs(n: u16) -> Centiseconds {
    Centiseconds::try_from(u64::from(n)).unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2)
        .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

fn password(text: &str) -> [u8; 8] {
    let mut data = [0; 8];
    data[..text.len()].copy_from_slice(text.as_bytes());
    data
}

/// What keepalived v2.2.7 (01/16,2022) of Debian 12 put on a veth pair, taken with tcpdump.
struct Capture {
    name: &'static str,
    frame: &'static str,
    version: Version,
    vrid: u64,
    priority: u8,
    interval: u16,
    addresses: &'static [&'static str],
    password: Option<&'static str>,
    checksum: Checksum,
    source: &'static str,
    destination: &'static str,
}

const CAPTURES: [Capture; 12] = [
    Capture {
        name: "v2, multicast, PASS abcdefgh",
        frame: "01005e00001202000000000a080045c0002c00010000ff70d08d0a000001e00000122133640201\
                01d36a0a0000640a0000656162636465666768",
        version: Version::V2,
        vrid: 51,
        priority: 100,
        interval: 100,
        addresses: &["10.0.0.100", "10.0.0.101"],
        password: Some("abcdefgh"),
        checksum: Checksum::MessageOnly,
        source: "10.0.0.1",
        destination: "224.0.0.18",
    },
    Capture {
        name: "v2, multicast, PASS abcdefgh, SIGTERM",
        frame: "01005e00001202000000000a080045c0002c00040000ff70d08a0a000001e00000122133000201\
                01376b0a0000640a0000656162636465666768",
        version: Version::V2,
        vrid: 51,
        priority: 0,
        interval: 100,
        addresses: &["10.0.0.100", "10.0.0.101"],
        password: Some("abcdefgh"),
        checksum: Checksum::MessageOnly,
        source: "10.0.0.1",
        destination: "224.0.0.18",
    },
    Capture {
        name: "v2, multicast, no authentication",
        frame: "01005e00001202000000000a080045c0002800010000ff70d0910a000001e00000122107fe0100\
                01d6910a0000640000000000000000",
        version: Version::V2,
        vrid: 7,
        priority: 254,
        interval: 100,
        addresses: &["10.0.0.100"],
        password: None,
        checksum: Checksum::MessageOnly,
        source: "10.0.0.1",
        destination: "224.0.0.18",
    },
    Capture {
        name: "v2, multicast, no authentication, SIGTERM",
        frame: "01005e00001202000000000a080045c0002800050000ff70d08d0a000001e00000122107000100\
                01d4920a0000640000000000000000",
        version: Version::V2,
        vrid: 7,
        priority: 0,
        interval: 100,
        addresses: &["10.0.0.100"],
        password: None,
        checksum: Checksum::MessageOnly,
        source: "10.0.0.1",
        destination: "224.0.0.18",
    },
    Capture {
        name: "v2, unicast, PASS 1111",
        frame: "02000000000b02000000000a080045c0002800010000ff70a6a20a0000010a00000221335a0101\
                0117040a0000643131313100000000",
        version: Version::V2,
        vrid: 51,
        priority: 90,
        interval: 100,
        addresses: &["10.0.0.100"],
        password: Some("1111"),
        checksum: Checksum::MessageOnly,
        source: "10.0.0.1",
        destination: "10.0.0.2",
    },
    Capture {
        name: "v2, unicast, PASS 1111, SIGTERM",
        frame: "02000000000b02000000000a080045c0002800040000ff70a69f0a0000010a0000022133000101\
                0171040a0000643131313100000000",
        version: Version::V2,
        vrid: 51,
        priority: 0,
        interval: 100,
        addresses: &["10.0.0.100"],
        password: Some("1111"),
        checksum: Checksum::MessageOnly,
        source: "10.0.0.1",
        destination: "10.0.0.2",
    },
    Capture {
        name: "v3, IPv4, advert_int 0.5",
        frame: "01005e00001202000000000a080045c0002000010000ff70d0990a000001e00000123133c80100\
                3211a50a000064",
        version: Version::V3,
        vrid: 51,
        priority: 200,
        interval: 50,
        addresses: &["10.0.0.100"],
        password: None,
        checksum: Checksum::PseudoHeader,
        source: "10.0.0.1",
        destination: "224.0.0.18",
    },
    Capture {
        name: "v3, IPv4, advert_int 0.5, SIGTERM",
        frame: "01005e00001202000000000a080045c00020000b0000ff70d08f0a000001e00000123133000100\
                32d9a50a000064",
        version: Version::V3,
        vrid: 51,
        priority: 0,
        interval: 50,
        addresses: &["10.0.0.100"],
        password: None,
        checksum: Checksum::PseudoHeader,
        source: "10.0.0.1",
        destination: "224.0.0.18",
    },
    Capture {
        name: "v3, IPv4, three addresses",
        frame: "01005e00001202000000000a080045c0002800010000ff70d0910a000001e00000123133c80300\
                32fccf0a0000640a0000650a000066",
        version: Version::V3,
        vrid: 51,
        priority: 200,
        interval: 50,
        addresses: &["10.0.0.100", "10.0.0.101", "10.0.0.102"],
        password: None,
        checksum: Checksum::PseudoHeader,
        source: "10.0.0.1",
        destination: "224.0.0.18",
    },
    Capture {
        name: "v3, IPv4, three addresses, SIGTERM",
        frame: "01005e00001202000000000a080045c00028000b0000ff70d0870a000001e00000123133000300\
                32c4d00a0000640a0000650a000066",
        version: Version::V3,
        vrid: 51,
        priority: 0,
        interval: 50,
        addresses: &["10.0.0.100", "10.0.0.101", "10.0.0.102"],
        password: None,
        checksum: Checksum::PseudoHeader,
        source: "10.0.0.1",
        destination: "224.0.0.18",
    },
    Capture {
        name: "v3, IPv6",
        frame: "33330000001202000000000a86dd6c06b9c4002870fffe80000000000000000000fffe00000aff\
                0200000000000000000000000000123142960200640ce5fe800000000000000000000000000100\
                20010db8000000000000000000000100",
        version: Version::V3,
        vrid: 66,
        priority: 150,
        interval: 100,
        addresses: &["fe80::100", "2001:db8::100"],
        password: None,
        checksum: Checksum::PseudoHeader,
        source: "fe80::ff:fe00:a",
        destination: "ff02::12",
    },
    Capture {
        name: "v3, IPv6, SIGTERM",
        frame: "33330000001202000000000a86dd6c06b9c4002870fffe80000000000000000000fffe00000aff\
                020000000000000000000000000012314200020064a2e5fe800000000000000000000000000100\
                20010db8000000000000000000000100",
        version: Version::V3,
        vrid: 66,
        priority: 0,
        interval: 100,
        addresses: &["fe80::100", "2001:db8::100"],
        password: None,
        checksum: Checksum::PseudoHeader,
        source: "fe80::ff:fe00:a",
        destination: "ff02::12",
    },
];

impl Capture {
    fn addresses(&self) -> Vec<IpAddr> {
        self.addresses.iter().map(|text| ip(text)).collect()
    }

    fn family(&self) -> Family {
        family_of(ip(self.source))
    }

    fn message<'a>(&self, addresses: &'a [IpAddr]) -> Message<'a> {
        Message {
            version: self.version,
            vrid: Vrid::try_from(self.vrid).unwrap(),
            priority: AdvertPriority::from_wire(self.priority),
            interval: cs(self.interval),
            addresses,
            password: self.password.map(password),
            checksum: self.checksum,
            source: ip(self.source),
            destination: ip(self.destination),
        }
    }

    /// The instance that such a sender's peer would have.
    fn instance(&self) -> Instance {
        receiver(&self.message(&self.addresses()))
    }
}

/// An instance that accepts `message`.
fn receiver(message: &Message<'_>) -> Instance {
    let family = family_of(message.source);
    let group = match family {
        Family::Ipv4 => ip("224.0.0.18"),
        Family::Ipv6 => ip("ff02::12"),
    };
    let multicast = message.destination == group;
    let local = match (multicast, family) {
        (false, _) => message.destination,
        (true, Family::Ipv4) => ip("10.0.0.2"),
        (true, Family::Ipv6) => ip("fe80::2"),
    };
    Instance {
        lease_until_ns: 0,
        local: to_wire(local),
        auth_data: message.password.unwrap_or_default(),
        ifindex: IFINDEX,
        vlans: 0,
        interval_cs: message.interval.get(),
        role: Role::Backup,
        vrid: message.vrid.get(),
        version: message.version.number(),
        family,
        priority: 90,
        ttl_min: 255,
        cast: if multicast {
            Cast::Multicast
        } else {
            Cast::Unicast
        },
        auth_type: u8::from(message.password.is_some()),
        addressless: 0,
        _pad: [0; 5],
    }
}

/// Judges `frame`; the peer is known.
fn judge(frame: &[u8], instance: &Instance) -> Result<LastAdvert, Verdict> {
    let arrival = Arrival {
        ifindex: IFINDEX,
        at: AT,
    };
    decode(frame, arrival, instance, &[ip("10.0.0.1")])
}

fn encoded(message: &Message<'_>) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode(message, &mut out).unwrap();
    out.to_vec()
}

/// `message` in an Ethernet frame, as the kernel would send it.
fn framed(message: &Message<'_>) -> Vec<u8> {
    let body = encoded(message);
    let mut frame = vec![0; 12];
    match (message.source, message.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let len = u16::try_from(20 + body.len()).unwrap();
            frame.extend([0x08, 0x00, 0x45, 0xc0]);
            frame.extend(len.to_be_bytes());
            frame.extend([0, 0, 0, 0, 255, 112, 0, 0]);
            frame.extend(source.octets());
            frame.extend(destination.octets());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let len = u16::try_from(body.len()).unwrap();
            frame.extend([0x86, 0xdd, 0x6c, 0, 0, 0]);
            frame.extend(len.to_be_bytes());
            frame.extend([112, 255]);
            frame.extend(source.octets());
            frame.extend(destination.octets());
        }
        mixed => panic!("{mixed:?}"),
    }
    frame.extend(body);
    frame
}

#[test]
fn keepalived_is_understood() {
    for capture in &CAPTURES {
        let last = judge(&bytes(capture.frame), &capture.instance())
            .unwrap_or_else(|verdict| panic!("{}: {}", capture.name, verdict.name()));
        let expected = Advert {
            at: AT,
            source: ip(capture.source),
            priority: AdvertPriority::from_wire(capture.priority),
            interval: cs(capture.interval),
            addresses: digest(
                capture.family(),
                capture.addresses().into_iter().map(to_wire),
            ),
            checksum: capture.checksum,
        };
        assert_eq!(
            advert(capture.family(), &last),
            Some(expected),
            "{}",
            capture.name
        );
        assert_eq!(usize::from(last.address_count), capture.addresses.len());
    }
}

#[test]
fn what_is_sent_is_what_keepalived_sends() {
    for capture in &CAPTURES {
        let offset = match capture.family() {
            Family::Ipv4 => IPV4_MESSAGE,
            Family::Ipv6 => 54,
        };
        let addresses = capture.addresses();
        assert_eq!(
            encoded(&capture.message(&addresses)),
            bytes(capture.frame)[offset..],
            "{}",
            capture.name
        );
    }
}

/// keepalived 2.2.7 has no word for the checksum of RFC 9568 on IPv4; this message is from the
/// test vector of draft-cassen-vrrp-auth-hmac.
#[test]
fn the_checksum_of_rfc_9568_on_ipv4() {
    let addresses = [ip("192.0.2.100")];
    let message = Message {
        version: Version::V3,
        vrid: Vrid::try_from(51).unwrap(),
        priority: AdvertPriority::from_wire(200),
        interval: cs(100),
        addresses: &addresses,
        password: None,
        checksum: Checksum::MessageOnly,
        source: ip("198.51.100.10"),
        destination: ip("224.0.0.18"),
    };
    assert_eq!(encoded(&message), bytes("3133c80100644402c0000264"));
    let last = judge(&framed(&message), &receiver(&message));
    assert_eq!(last.map(|last| last.checksum), Ok(Checksum::MessageOnly));
}

#[test]
fn encode_appends() {
    let capture = &CAPTURES[0];
    let addresses = capture.addresses();
    let mut out = BytesMut::from(&b"head"[..]);
    encode(&capture.message(&addresses), &mut out).unwrap();
    assert_eq!(&out[..4], b"head");
    assert_eq!(out[4..], encoded(&capture.message(&addresses)));
}

#[test]
fn encode_refuses_what_has_no_form() {
    let addresses = CAPTURES[6].addresses();
    let v3 = CAPTURES[6].message(&addresses);
    let v2 = CAPTURES[0].message(&addresses);
    let refused = |message: Message<'_>| {
        let mut out = BytesMut::from(&b"head"[..]);
        let error = encode(&message, &mut out).unwrap_err();
        assert_eq!(&out[..], b"head", "left alone");
        error
    };
    let interval = |version, n| Unencodable::Interval {
        version,
        interval: cs(n),
    };
    assert_eq!(
        refused(Message {
            interval: cs(4096),
            ..v3
        }),
        interval(3, 4096)
    );
    assert_eq!(
        refused(Message {
            interval: cs(150),
            ..v2
        }),
        interval(2, 150)
    );
    assert_eq!(
        refused(Message {
            password: Some([0; 8]),
            ..v3
        }),
        Unencodable::Password
    );
    let mixed = [ip("2001:db8::1")];
    assert_eq!(
        refused(Message {
            addresses: &mixed,
            ..v3
        })
        .to_string(),
        "2001:db8::1 is not of the family of the source 10.0.0.1"
    );
    assert!(matches!(
        refused(Message {
            destination: ip("ff02::12"),
            ..v3
        }),
        Unencodable::Family { .. }
    ));
    let many = vec![ip("10.0.0.1"); 256];
    let too_many = Unencodable::TooManyAddresses { count: 256 };
    assert_eq!(
        refused(Message {
            addresses: &many,
            ..v3
        }),
        too_many
    );
    let many = vec![ip("fe80::1"); 93];
    let six = Message {
        source: ip("fe80::9"),
        destination: ip("ff02::12"),
        addresses: &many[..92],
        ..v3
    };
    encode(&six, &mut BytesMut::new()).unwrap();
    assert_eq!(
        refused(Message {
            addresses: &many,
            ..six
        }),
        Unencodable::TooManyAddresses { count: 93 }
    );
}

#[test]
fn a_record_that_says_nothing_is_no_advertisement() {
    let capture = &CAPTURES[0];
    let last = judge(&bytes(capture.frame), &capture.instance()).unwrap();
    let none = |last| assert_eq!(advert(Family::Ipv4, &last), None);
    none(LastAdvert {
        interval_cs: 0,
        ..last
    });
    none(LastAdvert { at_ns: 0, ..last });
    none(LastAdvert {
        at_ns: WRITING,
        ..last
    });
}

/// A valid frame, and what was done to it or to the instance.
fn spoiled(
    capture: usize,
    spoil: impl FnOnce(&mut Vec<u8>, &mut Instance),
) -> Result<LastAdvert, Verdict> {
    let mut frame = bytes(CAPTURES[capture].frame);
    let mut instance = CAPTURES[capture].instance();
    judge(&frame, &instance).unwrap();
    spoil(&mut frame, &mut instance);
    judge(&frame, &instance)
}

/// Changes a byte of an IPv4 message and repairs its checksum.
fn with_byte(frame: &mut [u8], at: usize, value: u8) {
    let message = &mut frame[IPV4_MESSAGE..];
    message[at] = value;
    message[6..8].fill(0);
    let zero = to_wire(ip("0.0.0.0"));
    let sum = ha_common::vrrp::checksum(message, Checksum::MessageOnly, Family::Ipv4, &zero, &zero);
    message[6..8].copy_from_slice(&sum.to_be_bytes());
}

const V2_PASS: usize = 0;
const V2_UNICAST: usize = 4;
const V3: usize = 6;
const V3_IPV6: usize = 10;

#[test]
fn discard_ttl() {
    let ttl = |minimum: u8, ttl: u8| {
        spoiled(V3, |frame, instance| {
            instance.ttl_min = minimum;
            frame[22] = ttl;
        })
    };
    assert_eq!(ttl(255, 254), Err(Verdict::VrrpTtl));
    assert_eq!(ttl(254, 253), Err(Verdict::VrrpTtl));
    assert!(ttl(254, 254).is_ok());
    let hop_limit = spoiled(V3_IPV6, |frame, _| frame[21] = 254);
    assert_eq!(hop_limit, Err(Verdict::VrrpTtl));
}

#[test]
fn discard_version() {
    let as_v3 = spoiled(V2_PASS, |_, instance| instance.version = 3);
    assert_eq!(as_v3, Err(Verdict::VrrpVersion));
    let as_v2 = spoiled(V3, |_, instance| instance.version = 2);
    assert_eq!(as_v2, Err(Verdict::VrrpVersion));
}

#[test]
fn discard_type() {
    let two = spoiled(V3, |frame, _| with_byte(frame, 0, 0x32));
    assert_eq!(two, Err(Verdict::VrrpType));
}

#[test]
fn discard_truncated() {
    let counted = spoiled(V3, |frame, _| with_byte(frame, 3, 2));
    assert_eq!(counted, Err(Verdict::VrrpTruncated));
    let short_frame = spoiled(V3, |frame, _| frame.truncate(frame.len() - 1));
    assert_eq!(short_frame, Err(Verdict::VrrpTruncated));
    let no_auth_data = spoiled(V2_PASS, |frame, _| {
        frame.truncate(frame.len() - 8);
        frame[17] -= 8;
    });
    assert_eq!(no_auth_data, Err(Verdict::VrrpTruncated));
}

#[test]
fn discard_length() {
    let trailer = spoiled(V3, |frame, _| {
        frame.extend([0; 28]);
        frame[17] += 28;
    });
    assert_eq!(trailer, Err(Verdict::VrrpLength));
    let uncounted = spoiled(V2_PASS, |frame, _| with_byte(frame, 3, 1));
    assert_eq!(uncounted, Err(Verdict::VrrpLength));
}

#[test]
fn ethernet_padding_is_not_length() {
    let padded = spoiled(V3, |frame, _| frame.resize(60, 0xaa));
    assert!(padded.is_ok());
}

#[test]
fn discard_fragment() {
    let first = spoiled(V3, |frame, _| frame[20] = 0x20);
    assert_eq!(first, Err(Verdict::VrrpFragment));
    let later = spoiled(V3, |frame, _| frame[21] = 1);
    assert_eq!(later, Err(Verdict::PassNotOurs));
}

#[test]
fn discard_checksum() {
    let both = spoiled(V3, |frame, _| frame[IPV4_MESSAGE + 7] ^= 1);
    assert_eq!(both, Err(Verdict::VrrpChecksum));
    let six = spoiled(V3_IPV6, |frame, _| frame[61] ^= 1);
    assert_eq!(six, Err(Verdict::VrrpChecksum));
    // RFC 9568 §5.2.8: IPv6 has the pseudo-header, always.
    let mut message = CAPTURES[V3_IPV6].message(&[]);
    let addresses = CAPTURES[V3_IPV6].addresses();
    message.addresses = &addresses;
    message.checksum = Checksum::MessageOnly;
    assert_eq!(
        judge(&framed(&message), &receiver(&message)),
        Err(Verdict::VrrpChecksum)
    );
}

#[test]
fn discard_authentication_type() {
    let configured = spoiled(V2_PASS, |_, instance| instance.auth_type = 0);
    assert_eq!(configured, Err(Verdict::VrrpAuthType));
    let sent = spoiled(V2_PASS, |frame, _| with_byte(frame, 4, 2));
    assert_eq!(sent, Err(Verdict::VrrpAuthType));
}

#[test]
fn discard_password() {
    let other = spoiled(V2_PASS, |_, instance| {
        instance.auth_data = password("abcdefgi")
    });
    assert_eq!(other, Err(Verdict::VrrpPassword));
    let prefix = spoiled(V2_PASS, |_, instance| {
        instance.auth_data = password("abcdefg")
    });
    assert_eq!(prefix, Err(Verdict::VrrpPassword));
}

#[test]
fn discard_interval() {
    let other = spoiled(V2_PASS, |_, instance| instance.interval_cs = 200);
    assert_eq!(other, Err(Verdict::VrrpInterval));
    let learnt = spoiled(V3, |_, instance| instance.interval_cs = 200);
    assert_eq!(learnt.map(|last| last.interval_cs), Ok(50));
}

#[test]
fn discard_zero_interval() {
    let zero = spoiled(V3, |frame, _| with_byte(frame, 5, 0));
    assert_eq!(zero, Err(Verdict::VrrpZeroInterval));
    // RFC 9568 §5.2.6: the upper four bits are reserved and ignored.
    let reserved = spoiled(V3, |frame, _| {
        with_byte(frame, 4, 0xf0);
        with_byte(frame, 5, 0);
    });
    assert_eq!(reserved, Err(Verdict::VrrpZeroInterval));
    let ignored = spoiled(V3, |frame, _| with_byte(frame, 4, 0xf0));
    assert_eq!(ignored.map(|last| last.interval_cs), Ok(50));
}

#[test]
fn discard_no_address() {
    let message = CAPTURES[V3].message(&[]);
    let mut instance = receiver(&message);
    assert_eq!(
        judge(&framed(&message), &instance),
        Err(Verdict::VrrpNoAddress)
    );
    instance.addressless = 1;
    assert!(judge(&framed(&message), &instance).is_ok());
}

#[test]
fn discard_cast() {
    let multicast = spoiled(V3, |_, instance| instance.cast = Cast::Unicast);
    assert_eq!(multicast, Err(Verdict::VrrpCast));
    let unicast = spoiled(V2_UNICAST, |_, instance| instance.cast = Cast::Multicast);
    assert_eq!(unicast, Err(Verdict::VrrpCast));
}

#[test]
fn discard_source() {
    let stranger = spoiled(V2_UNICAST, |frame, _| frame[29] = 3);
    assert_eq!(stranger, Err(Verdict::VrrpSource));
}

#[test]
fn discard_own_source() {
    let own = spoiled(V3, |_, instance| instance.local = to_wire(ip("10.0.0.1")));
    assert_eq!(own, Err(Verdict::VrrpOwnSource));
}

#[test]
fn not_ours_to_judge() {
    let vrid = spoiled(V3, |_, instance| instance.vrid = 52);
    assert_eq!(vrid, Err(Verdict::PassForeignVrid));
    let empty_slot = spoiled(V3, |frame, instance| {
        instance.vrid = 0;
        with_byte(frame, 1, 0);
    });
    assert_eq!(empty_slot, Err(Verdict::PassForeignVrid));
    let interface = spoiled(V3, |_, instance| instance.ifindex += 1);
    assert_eq!(interface, Err(Verdict::PassForeignVrid));
    let vlan = spoiled(V3, |_, instance| instance.vlans = 7);
    assert_eq!(vlan, Err(Verdict::PassForeignVrid));
    let family = spoiled(V3, |_, instance| instance.family = Family::Ipv6);
    assert_eq!(family, Err(Verdict::PassForeignVrid));
    let elsewhere = spoiled(V2_UNICAST, |frame, _| frame[33] = 9);
    assert_eq!(elsewhere, Err(Verdict::PassVrrpTransit));
    let tcp = spoiled(V3, |frame, _| frame[23] = 6);
    assert_eq!(tcp, Err(Verdict::PassNotOurs));
    let arp = spoiled(V3, |frame, _| frame[13] = 6);
    assert_eq!(arp, Err(Verdict::PassOther));
    let header_cut = spoiled(V3, |frame, _| frame.truncate(IPV4_MESSAGE + 7));
    assert_eq!(header_cut, Err(Verdict::PassUnparsed));
    let ip_cut = spoiled(V3, |frame, _| frame.truncate(33));
    assert_eq!(ip_cut, Err(Verdict::PassUnparsed));
    let ethernet_cut = spoiled(V3, |frame, _| frame.truncate(13));
    assert_eq!(ethernet_cut, Err(Verdict::PassUnparsed));
}

#[test]
fn a_tagged_frame_belongs_to_its_vlan() {
    let tagged = spoiled(V3, |frame, instance| {
        frame.splice(12..12, [0x81, 0x00, 0xe0, 0x07]);
        instance.vlans = 7;
    });
    assert!(tagged.is_ok());
}

fn any_message() -> impl Strategy<Value = OwnedMessage> {
    let v4 = any::<[u8; 4]>().prop_map(IpAddr::from);
    let v6 = any::<[u8; 16]>().prop_map(IpAddr::from);
    let source4 = prop::sample::select(vec!["10.0.0.1", "192.0.2.255"]);
    let source6 = prop::sample::select(vec!["fe80::1", "2001:db8::ffff"]);
    let ipv4 = (source4, prop::collection::vec(v4, 1..24), any::<bool>());
    let ipv6 = (source6, prop::collection::vec(v6, 1..24), any::<bool>());
    (
        prop_oneof![ipv4, ipv6],
        1..=255u64,
        any::<u8>(),
        1..=4095u16,
        prop::option::of(any::<[u8; 8]>()),
        any::<bool>(),
    )
        .prop_map(
            |((source, addresses, form), vrid, priority, n, password, v2)| {
                let source = ip(source);
                let six = family_of(source) == Family::Ipv6;
                let v2 = v2 && !six;
                OwnedMessage {
                    version: if v2 { Version::V2 } else { Version::V3 },
                    vrid: Vrid::try_from(vrid).unwrap(),
                    priority: AdvertPriority::from_wire(priority),
                    interval: cs(if v2 { (n % 255 + 1) * 100 } else { n }),
                    addresses,
                    password: password.filter(|_| v2),
                    checksum: if six || (form && !v2) {
                        Checksum::PseudoHeader
                    } else {
                        Checksum::MessageOnly
                    },
                    source,
                    destination: ip(if six { "ff02::12" } else { "224.0.0.18" }),
                }
            },
        )
}

#[derive(Clone, Debug)]
struct OwnedMessage {
    version: Version,
    vrid: Vrid,
    priority: AdvertPriority,
    interval: Centiseconds,
    addresses: Vec<IpAddr>,
    password: Option<[u8; 8]>,
    checksum: Checksum,
    source: IpAddr,
    destination: IpAddr,
}

impl OwnedMessage {
    fn borrow(&self) -> Message<'_> {
        Message {
            version: self.version,
            vrid: self.vrid,
            priority: self.priority,
            interval: self.interval,
            addresses: &self.addresses,
            password: self.password,
            checksum: self.checksum,
            source: self.source,
            destination: self.destination,
        }
    }
}

/// The ones'-complement sums of two byte strings, which a checksum cannot tell apart.
fn same_sum(a: &[u8], b: &[u8]) -> bool {
    let sum = |bytes: &[u8]| {
        let sum: u32 = bytes
            .chunks(2)
            .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
            .sum();
        sum % 0xffff
    };
    a.len() == b.len() && sum(a) == sum(b)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(5_000) })]

    #[test]
    fn what_is_sent_is_what_is_heard(message in any_message()) {
        let message = message.borrow();
        let family = family_of(message.source);
        let last = judge(&framed(&message), &receiver(&message));
        let heard = last.ok().and_then(|last| advert(family, &last)).unwrap();
        prop_assert_eq!(heard.priority, message.priority);
        prop_assert_eq!(heard.interval, message.interval);
        prop_assert_eq!(heard.source, message.source);
        prop_assert_eq!(heard.checksum, message.checksum);
        let list = message.addresses.iter().copied().map(to_wire);
        prop_assert_eq!(heard.addresses, digest(family, list));
    }

    /// One to three bits of the message flipped: discarded, or the checksum collided (flips that
    /// cancel in the sum, or a sum that is right in the other form).
    #[test]
    fn flipped_bits_are_not_accepted(
        message in any_message(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8u8), 1..4),
    ) {
        let message = message.borrow();
        let sent = framed(&message);
        let body = sent.len() - encoded(&message).len();
        let mut frame = sent.clone();
        for (at, bit) in flips {
            let at = body + at.index(sent.len() - body);
            frame[at] ^= 1 << bit;
        }
        let Ok(heard) = judge(&frame, &receiver(&message)) else {
            return Ok(());
        };
        let unchanged = frame == sent;
        let collided = same_sum(&frame[body..], &sent[body..]) || heard.checksum != message.checksum;
        prop_assert!(unchanged || collided, "accepted: {:?}", heard);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(20_000) })]

    #[test]
    fn nonsense_is_refused_calmly(
        frame in prop::collection::vec(any::<u8>(), 0..200),
        capture in 0..CAPTURES.len(),
        head in 0..60usize,
    ) {
        let instance = CAPTURES[capture].instance();
        let _ = judge(&frame, &instance);
        // The same behind the true first bytes of a capture, to get past the early checks.
        let mut mixed = bytes(CAPTURES[capture].frame);
        mixed.truncate(head);
        mixed.extend(&frame);
        if let Err(verdict) = judge(&mixed, &instance) {
            prop_assert!(
                verdict.fate() == Fate::Drop || verdict.name().starts_with("pass_"),
                "{}", verdict.name()
            );
        }
    }
}
