//! Ethernet, VLAN, IPv4, IPv6, ARP and neighbour-discovery views.
//!
//! Network byte order exists only inside this file and `vrrp.rs`; what leaves an accessor is in
//! host order. Offsets count bytes from the start of the frame.

/// Bytes that can be read at an offset, each read bounds-checked.
///
/// Implemented for `[u8]` (host, tests, fuzzing) and for the XDP context in `ha-ebpf`, whose
/// verifier needs a constant size per access.
pub trait Frame {
    /// The `N` bytes at `offset`, or `None` when the frame ends before them.
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;
}

impl Frame for [u8] {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.get(offset..offset.checked_add(N)?)?.try_into().ok()
    }
}

/// EtherType of IPv4 (RFC 894).
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of ARP (RFC 826).
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// EtherType of IPv6 (RFC 2464).
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// Tag protocol of a customer VLAN (IEEE 802.1Q).
pub const ETHERTYPE_VLAN: u16 = 0x8100;
/// Tag protocol of a service VLAN (IEEE 802.1ad).
pub const ETHERTYPE_QINQ: u16 = 0x88a8;
/// Length of an Ethernet header without tags.
pub const ETH_LEN: usize = 14;
/// Length of one VLAN tag.
pub const VLAN_LEN: usize = 4;
/// IP protocol number of ICMPv6.
pub const IPPROTO_ICMPV6: u8 = 58;
/// ICMPv6 type of a neighbour solicitation (RFC 4861 §4.3).
pub const ND_NEIGHBOR_SOLICIT: u8 = 135;
/// ICMPv6 type of a neighbour advertisement (RFC 4861 §4.4).
pub const ND_NEIGHBOR_ADVERT: u8 = 136;
/// ARP operation: request.
pub const ARP_REQUEST: u16 = 1;
/// Most IPv6 extension headers walked before a packet counts as not understood.
///
/// RFC 8200 §4.1 lists six kinds, each at most once (destination options twice).
pub const MAX_EXTENSION_HEADERS: usize = 7;

/// An address of either family in 16 bytes; IPv4 is mapped (`::ffff:a.b.c.d`, RFC 4291 §2.5.5.2).
pub type Address = [u8; 16];

/// The IPv4 address `a` in its mapped form.
#[inline(always)]
#[must_use]
pub const fn mapped(a: [u8; 4]) -> Address {
    [
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a[0], a[1], a[2], a[3],
    ]
}

/// The IPv4 address inside a mapped one; meaningless for a native IPv6 address.
#[inline(always)]
#[must_use]
pub const fn unmapped(a: &Address) -> [u8; 4] {
    [a[12], a[13], a[14], a[15]]
}

/// Address family as the maps carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Family {
    /// IPv4.
    Ipv4 = 4,
    /// IPv6.
    Ipv6 = 6,
}

impl Family {
    /// Length of an address on the wire, in bytes.
    #[inline(always)]
    #[must_use]
    pub const fn address_len(self) -> usize {
        match self {
            Self::Ipv4 => 4,
            Self::Ipv6 => 16,
        }
    }
}

/// What follows the Ethernet header and its tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The EtherType of the payload.
    pub ethertype: u16,
    /// VLAN identifiers, outer in the upper 16 bits when there are two, else in the lower; 0 untagged.
    pub vlans: u32,
    /// Offset of the payload.
    pub payload: usize,
}

/// Reads the Ethernet header and up to two VLAN tags.
///
/// A third tag is left as the EtherType of the result, so that the caller passes the frame as
/// something it does not understand. `None`: the frame ends inside the header.
#[inline(always)]
pub fn link<F: Frame + ?Sized>(frame: &F) -> Option<Link> {
    let mut link = Link {
        ethertype: u16::from_be_bytes(frame.load(12)?),
        vlans: 0,
        payload: ETH_LEN,
    };
    if link.ethertype == ETHERTYPE_VLAN || link.ethertype == ETHERTYPE_QINQ {
        tag(frame, &mut link)?;
        if link.ethertype == ETHERTYPE_VLAN || link.ethertype == ETHERTYPE_QINQ {
            tag(frame, &mut link)?;
        }
    }
    Some(link)
}

#[inline(always)]
fn tag<F: Frame + ?Sized>(frame: &F, link: &mut Link) -> Option<()> {
    let [tci_high, tci_low, type_high, type_low] = frame.load(link.payload)?;
    let vid = u16::from_be_bytes([tci_high, tci_low]) & 0x0fff;
    // VID 0 is a priority tag (IEEE 802.1Q §6.9): the frame belongs to the untagged network.
    link.vlans = (link.vlans << 16) | vid as u32;
    link.ethertype = u16::from_be_bytes([type_high, type_low]);
    link.payload += VLAN_LEN;
    Some(())
}

/// How a datagram is fragmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// The whole datagram.
    Whole,
    /// The first fragment: the upper-layer header is here, its end may not be.
    First,
    /// A later fragment: no upper-layer header.
    Later,
}

/// An IPv4 or IPv6 header, options and extension headers skipped.
///
/// `repr(C)` with the addresses at multiples of 8: on the BPF stack the verifier wants every
/// access aligned, and the compiler copies an address as two words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Ip {
    /// Source address, IPv4 mapped.
    pub source: Address,
    /// Destination address, IPv4 mapped.
    pub destination: Address,
    /// Offset of the payload.
    pub payload: usize,
    /// Offset at which the datagram ends by its own length field; padding lies beyond it.
    pub end: usize,
    /// IPv4 or IPv6.
    pub family: Family,
    /// Protocol of the payload after options and extension headers.
    pub protocol: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Fragmentation.
    pub fragment: Fragment,
}

/// Reads the IPv4 header at `offset`, options skipped.
///
/// `None`: shorter than a header, version not 4, or lengths that contradict each other.
#[inline(always)]
pub fn ipv4<F: Frame + ?Sized>(frame: &F, offset: usize) -> Option<Ip> {
    let header: [u8; 20] = frame.load(offset)?;
    let header_len = ((header[0] & 0x0f) as usize) * 4;
    let total_len = u16::from_be_bytes([header[2], header[3]]) as usize;
    if header[0] >> 4 != 4 || header_len < 20 || total_len < header_len {
        return None;
    }
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    Some(Ip {
        family: Family::Ipv4,
        protocol: header[9],
        ttl: header[8],
        fragment: if fragment & 0x1fff != 0 {
            Fragment::Later
        } else if fragment & 0x2000 != 0 {
            Fragment::First
        } else {
            Fragment::Whole
        },
        source: mapped([header[12], header[13], header[14], header[15]]),
        destination: mapped([header[16], header[17], header[18], header[19]]),
        payload: offset + header_len,
        end: offset + total_len,
    })
}

/// Reads the IPv6 header at `offset`; the extension headers are left for [`upper_layer`].
///
/// `None`: shorter than a header, or version not 6. `protocol` is the first next header.
#[inline(always)]
pub fn ipv6<F: Frame + ?Sized>(frame: &F, offset: usize) -> Option<Ip> {
    let [version, _, _, _, len_high, len_low, next_header, hop_limit] = frame.load(offset)?;
    if version >> 4 != 6 {
        return None;
    }
    Some(Ip {
        family: Family::Ipv6,
        protocol: next_header,
        ttl: hop_limit,
        fragment: Fragment::Whole,
        source: frame.load(offset + 8)?,
        destination: frame.load(offset + 24)?,
        payload: offset + 40,
        end: offset + 40 + u16::from_be_bytes([len_high, len_low]) as usize,
    })
}

const NEXT_HOP_BY_HOP: u8 = 0;
const NEXT_ROUTING: u8 = 43;
const NEXT_FRAGMENT: u8 = 44;
const NEXT_DESTINATION: u8 = 60;

/// Walks the IPv6 extension headers of `ip` up to its payload (RFC 8200 §4).
///
/// `None`: the frame ends inside a header, or more than [`MAX_EXTENSION_HEADERS`] follow.
/// IPv4 comes back unchanged.
#[inline(always)]
pub fn upper_layer<F: Frame + ?Sized>(frame: &F, mut ip: Ip) -> Option<Ip> {
    if ip.family == Family::Ipv4 {
        return Some(ip);
    }
    // One look more than headers, at what follows the last of them.
    for _ in 0..=MAX_EXTENSION_HEADERS {
        match ip.protocol {
            NEXT_HOP_BY_HOP | NEXT_ROUTING | NEXT_DESTINATION => {
                let [next, units] = frame.load(ip.payload)?;
                ip.protocol = next;
                ip.payload += (units as usize + 1) * 8;
            }
            NEXT_FRAGMENT => {
                let [next, _, high, low] = frame.load(ip.payload)?;
                let field = u16::from_be_bytes([high, low]);
                ip.protocol = next;
                ip.payload += 8;
                if field & 0xfff8 != 0 {
                    ip.fragment = Fragment::Later;
                    return Some(ip);
                }
                if field & 1 != 0 {
                    ip.fragment = Fragment::First;
                }
            }
            _ => return Some(ip),
        }
    }
    None
}

/// The fields of an ARP packet for IPv4 over Ethernet that a fence needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// [`ARP_REQUEST`] or another operation.
    pub operation: u16,
    /// Sender protocol address.
    pub sender: [u8; 4],
    /// Target protocol address.
    pub target: [u8; 4],
}

/// Reads the ARP packet at `offset`; `None` when it is not IPv4 over Ethernet.
#[inline(always)]
pub fn arp<F: Frame + ?Sized>(frame: &F, offset: usize) -> Option<Arp> {
    let header: [u8; 8] = frame.load(offset)?;
    // Linux takes hardware type 6 (IEEE 802) for 1 (Ethernet) and answers it alike.
    if !matches!(header, [0, 1 | 6, 8, 0, 6, 4, _, _]) {
        return None;
    }
    Some(Arp {
        operation: u16::from_be_bytes([header[6], header[7]]),
        sender: frame.load(offset + 14)?,
        target: frame.load(offset + 24)?,
    })
}

/// The target of the neighbour solicitation that `ip` carries; `None` when it is something else.
#[inline(always)]
pub fn solicited<F: Frame + ?Sized>(frame: &F, ip: &Ip) -> Option<Address> {
    if ip.protocol != IPPROTO_ICMPV6 || ip.fragment != Fragment::Whole {
        return None;
    }
    let [kind] = frame.load(ip.payload)?;
    if kind != ND_NEIGHBOR_SOLICIT {
        return None;
    }
    frame.load(ip.payload + 8)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    /// A frame of `tags` and `ethertype` around `payload`.
    fn frame(tags: &[[u8; 4]], ethertype: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::from([0u8; 12]);
        tags.iter().for_each(|tag| bytes.extend(tag));
        bytes.extend(ethertype.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    fn link_of(tags: &[[u8; 4]]) -> Link {
        link(&frame(tags, ETHERTYPE_IPV4, &[0; 40])[..]).unwrap()
    }

    #[test]
    fn vlans_are_read_outer_first() {
        let seen = |tags: &[[u8; 4]]| {
            let link = link_of(tags);
            (link.vlans, link.payload, link.ethertype)
        };
        assert_eq!(seen(&[]), (0, 14, ETHERTYPE_IPV4));
        // Priority 5 and DEI do not belong to the identifier.
        assert_eq!(seen(&[[0x81, 0, 0xb0, 100]]), (100, 18, ETHERTYPE_IPV4));
        assert_eq!(
            seen(&[[0x88, 0xa8, 0, 7], [0x81, 0, 0x0f, 0xff]]),
            (7 << 16 | 4095, 22, ETHERTYPE_IPV4)
        );
        assert_eq!(
            seen(&[[0x81, 0, 0xe0, 0]]),
            (0, 18, ETHERTYPE_IPV4),
            "priority tag"
        );
        let three = [[0x88, 0xa8, 0, 1], [0x81, 0, 0, 2], [0x81, 0, 0, 3]];
        assert_eq!(seen(&three), (1 << 16 | 2, 22, ETHERTYPE_VLAN));
    }

    #[test]
    fn frame_that_ends_inside_the_link_header_is_none() {
        let whole = frame(&[[0x88, 0xa8, 0, 7], [0x81, 0, 0, 1]], ETHERTYPE_IPV4, &[]);
        for len in 0..whole.len() {
            assert_eq!(link(&whole[..len]), None, "{len} bytes");
        }
        assert!(link(&whole[..]).is_some());
    }

    const IPV4: [u8; 24] = [
        0x46, 0xc0, 0, 32, 0, 1, 0, 0, 255, 112, 0, 0, 192, 0, 2, 1, 224, 0, 0, 18, 148, 4, 0, 0,
    ];

    #[test]
    fn ipv4_options_are_skipped_and_padding_is_left_out() {
        let ip = ipv4(&IPV4[..], 0).unwrap();
        assert_eq!((ip.payload, ip.end), (24, 32));
        assert_eq!((ip.protocol, ip.ttl), (112, 255));
        assert_eq!(ip.source, mapped([192, 0, 2, 1]));
        assert_eq!(unmapped(&ip.destination), [224, 0, 0, 18]);
        assert_eq!(ip.fragment, Fragment::Whole);
    }

    #[test]
    fn ipv4_that_contradicts_itself_is_none() {
        for (offset, byte) in [(0, 0x56), (0, 0x44), (3, 23)] {
            let mut bytes = IPV4;
            bytes[offset] = byte;
            assert_eq!(ipv4(&bytes[..], 0), None, "byte {offset} = {byte:#x}");
        }
        assert_eq!(ipv4(&IPV4[..19], 0), None);
    }

    #[test]
    fn ipv4_fragments() {
        for (field, fragment) in [
            (0x0000, Fragment::Whole),
            (0x4000, Fragment::Whole),
            (0x2000, Fragment::First),
            (0x2001, Fragment::Later),
            (0x1fff, Fragment::Later),
        ] {
            let mut bytes = IPV4;
            bytes[6..8].copy_from_slice(&u16::to_be_bytes(field));
            assert_eq!(
                ipv4(&bytes[..], 0).unwrap().fragment,
                fragment,
                "{field:#x}"
            );
        }
    }

    /// An IPv6 packet whose extension headers are `chain`, the first of type `first`.
    fn ipv6_packet(first: u8, chain: &[u8], payload: &[u8]) -> Vec<u8> {
        let len = (chain.len() + payload.len()) as u16;
        let mut bytes = Vec::from([0x60, 0, 0, 0]);
        bytes.extend(len.to_be_bytes());
        bytes.extend([first, 255]);
        bytes.extend([0xfe; 16]);
        bytes.extend([0xff; 16]);
        bytes.extend(chain);
        bytes.extend(payload);
        bytes
    }

    fn walk(first: u8, chain: &[u8]) -> Option<Ip> {
        let bytes = ipv6_packet(first, chain, &[0; 8]);
        upper_layer(&bytes[..], ipv6(&bytes[..], 0).unwrap())
    }

    #[test]
    fn extension_headers_are_walked() {
        assert_eq!(walk(112, &[]).unwrap().payload, 40);
        let hop_by_hop = [112, 0, 5, 2, 0, 0, 1, 0];
        let ip = walk(0, &hop_by_hop).unwrap();
        assert_eq!((ip.protocol, ip.payload, ip.end), (112, 48, 56));
        let mut long = [0; 24];
        long[..2].copy_from_slice(&[58, 2]);
        let ip = walk(60, &long).unwrap();
        assert_eq!((ip.protocol, ip.payload), (58, 64));
        let both = [[43, 0, 0, 0, 0, 0, 0, 0], [59, 0, 0, 0, 0, 0, 0, 0]].concat();
        let ip = walk(0, &both).unwrap();
        assert_eq!((ip.protocol, ip.payload), (59, 56));
    }

    #[test]
    fn seven_extension_headers_are_walked_and_eight_are_not() {
        let mut chain = Vec::new();
        for _ in 0..MAX_EXTENSION_HEADERS - 1 {
            chain.extend([60, 0, 0, 0, 0, 0, 0, 0]);
        }
        let seven = [&chain[..], &[17, 0, 0, 0, 0, 0, 0, 0]].concat();
        assert_eq!(walk(60, &seven).unwrap().protocol, 17);
        let eight = [
            &chain[..],
            &[60, 0, 0, 0, 0, 0, 0, 0],
            &[17, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        assert_eq!(walk(60, &eight), None);
    }

    #[test]
    fn extension_header_that_is_cut_off_is_none() {
        let bytes = ipv6_packet(0, &[112, 0, 0, 0, 0, 0, 0, 0], &[]);
        assert_eq!(
            upper_layer(&bytes[..41], ipv6(&bytes[..], 0).unwrap()),
            None
        );
    }

    #[test]
    fn ipv6_fragments() {
        let fragment = |field: u16, next| {
            let [high, low] = field.to_be_bytes();
            walk(44, &[next, 0, high, low, 0, 0, 0, 1]).unwrap()
        };
        assert_eq!(
            fragment(0, 112).fragment,
            Fragment::Whole,
            "atomic (RFC 6946)"
        );
        assert_eq!(fragment(1, 112).fragment, Fragment::First);
        assert_eq!(fragment(8, 112).fragment, Fragment::Later);
        // Behind a later fragment's header comes data, not a header.
        assert_eq!(fragment(8, 60).protocol, 60);
    }

    #[test]
    fn arp_of_ethernet_and_ieee_802_only() {
        let mut bytes = [0; 28];
        bytes[..8].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, 1]);
        bytes[14..18].copy_from_slice(&[192, 0, 2, 1]);
        bytes[24..].copy_from_slice(&[192, 0, 2, 10]);
        let read = Arp {
            operation: ARP_REQUEST,
            sender: [192, 0, 2, 1],
            target: [192, 0, 2, 10],
        };
        assert_eq!(arp(&bytes[..], 0), Some(read));
        assert_eq!(arp(&bytes[..27], 0), None);
        bytes[1] = 6;
        assert_eq!(arp(&bytes[..], 0), Some(read));
        for offset in 0..6 {
            let mut other = bytes;
            other[offset] ^= 0x40;
            assert_eq!(arp(&other[..], 0), None, "byte {offset}");
        }
    }

    #[test]
    fn solicitation_names_its_target() {
        let mut payload = [0; 24];
        payload[0] = ND_NEIGHBOR_SOLICIT;
        payload[8..].fill(0xab);
        let solicited_by = |payload: &[u8], first| {
            let bytes = ipv6_packet(first, &[], payload);
            let ip = ipv6(&bytes[..], 0).unwrap();
            solicited(&bytes[..], &ip)
        };
        assert_eq!(solicited_by(&payload, IPPROTO_ICMPV6), Some([0xab; 16]));
        assert_eq!(solicited_by(&payload, 17), None);
        assert_eq!(solicited_by(&payload[..23], IPPROTO_ICMPV6), None);
        payload[0] = ND_NEIGHBOR_ADVERT;
        assert_eq!(solicited_by(&payload, IPPROTO_ICMPV6), None);
    }

    #[test]
    fn loads_stay_inside_the_frame() {
        let bytes = [1u8, 2, 3, 4];
        let frame = &bytes[..];
        assert_eq!(frame.load(2), Some([3, 4]));
        assert_eq!(frame.load::<2>(3), None);
        assert_eq!(frame.load::<0>(4), Some([]));
        assert_eq!(frame.load::<1>(usize::MAX), None);
    }
}
