//! VRRP on the wire, and the checks of RFC 9568 §7.1 that need nothing but the packet and the
//! instance: run by XDP in the kernel and by the raw-socket fallback in user space.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |Version| Type  |  VRID         |  Priority     | Address Count |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! v3: |  Reserve  |  Max Advertise Interval (cs)  |   Checksum    |
//! v2: |  Auth Type    |  Adver Int (s)            |   Checksum    |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  addresses, 4 or 16 bytes each            (v2: + 8 bytes of authentication data)
//! ```

use crate::maps::{Cast, Instance, LastAdvert};
use crate::net::{Address, Family, Fragment, Frame, Ip, unmapped};
use crate::verdict::Verdict;

/// IP protocol number of VRRP (RFC 9568 §5.1.1.4).
pub const IPPROTO_VRRP: u8 = 112;
/// TTL and hop limit of every advertisement (RFC 9568 §5.1.1.3).
pub const VRRP_TTL: u8 = 255;
/// VRRP type 1, ADVERTISEMENT: the only one.
pub const TYPE_ADVERTISEMENT: u8 = 1;
/// Length of the fixed fields, in bytes.
pub const HEADER_LEN: usize = 8;
/// Length of the authentication data behind a VRRPv2 message, in bytes (RFC 2338 §5.3.10).
pub const AUTH_LEN: usize = 8;
/// Longest message judged, in bytes: what fits an unfragmented 1500-byte IPv4 packet.
pub const MAX_MESSAGE_LEN: usize = 1480;
/// Words of the longest address list.
const MAX_LIST_WORDS: usize = (MAX_MESSAGE_LEN - HEADER_LEN) / 4;
/// 224.0.0.18 (RFC 9568 §5.1.1.2).
pub const GROUP_IPV4: [u8; 4] = [224, 0, 0, 18];
/// ff02::12 (RFC 9568 §5.1.2.2).
pub const GROUP_IPV6: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12];
/// VRRPv2 authentication type 0, none.
pub const AUTH_NONE: u8 = 0;
/// VRRPv2 authentication type 1, simple text password (RFC 2338 §5.3.6).
pub const AUTH_PASS: u8 = 1;

/// What a checksum covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Checksum {
    /// The VRRP message alone: VRRPv2, and IPv4 by RFC 9568 §5.2.8.
    MessageOnly = 0,
    /// Message and pseudo-header: IPv6, and IPv4 by RFC 5798 §5.2.8.
    PseudoHeader = 1,
}

/// The fixed fields of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header([u8; HEADER_LEN]);

impl Header {
    /// Reads the header at `offset`; `None` when the frame ends inside it.
    #[inline(always)]
    pub fn load<F: Frame + ?Sized>(frame: &F, offset: usize) -> Option<Self> {
        frame.load(offset).map(Self)
    }

    /// VRRP version, 0–15.
    #[inline(always)]
    #[must_use]
    pub const fn version(&self) -> u8 {
        self.0[0] >> 4
    }

    /// VRRP type, 0–15.
    #[inline(always)]
    #[must_use]
    pub const fn kind(&self) -> u8 {
        self.0[0] & 0x0f
    }

    /// Virtual router identifier.
    #[inline(always)]
    #[must_use]
    pub const fn vrid(&self) -> u8 {
        self.0[1]
    }

    /// Priority; 0 means that the sender resigns.
    #[inline(always)]
    #[must_use]
    pub const fn priority(&self) -> u8 {
        self.0[2]
    }

    /// Number of addresses in the message.
    #[inline(always)]
    #[must_use]
    pub const fn address_count(&self) -> u8 {
        self.0[3]
    }

    /// VRRPv2 authentication type.
    #[inline(always)]
    #[must_use]
    pub const fn auth_type(&self) -> u8 {
        self.0[4]
    }

    /// Advertisement interval in centiseconds, whatever the version: v2 carries whole seconds in
    /// 8 bits, v3 centiseconds in 12.
    #[inline(always)]
    #[must_use]
    pub const fn interval_cs(&self) -> u16 {
        if self.version() == 2 {
            self.0[5] as u16 * 100
        } else {
            u16::from_be_bytes([self.0[4], self.0[5]]) & 0x0fff
        }
    }
}

/// Length that a message of `version` with `count` addresses has on the wire, in bytes.
#[inline(always)]
#[must_use]
pub const fn message_len(version: u8, family: Family, count: u8) -> usize {
    let auth = if version == 2 { AUTH_LEN } else { 0 };
    HEADER_LEN + count as usize * family.address_len() + auth
}

/// Judges the VRRP message of `ip` by the configuration of `instance`.
///
/// Order of RFC 9568 §7.1: TTL, version, type, completeness, checksum, then authentication and
/// interval, address count, and the source. The virtual router is known already: a message of
/// another VRID is nobody's business here. Cast and destination are the first thing looked at,
/// because a message for another node is not ours to judge.
///
/// # Errors
/// The verdict to count; for [`Verdict::PassVrrpTransit`] the frame passes.
#[inline(always)]
pub fn judge<F: Frame + ?Sized>(
    frame: &F,
    ip: &Ip,
    header: Header,
    instance: &Instance,
) -> Result<LastAdvert, Verdict> {
    let multicast = is_group(ip);
    if !multicast && ip.destination != instance.local {
        return Err(Verdict::PassVrrpTransit);
    }
    if ip.fragment != Fragment::Whole {
        return Err(Verdict::VrrpFragment);
    }
    if ip.ttl < instance.ttl_min {
        return Err(Verdict::VrrpTtl);
    }
    if header.version() != instance.version {
        return Err(Verdict::VrrpVersion);
    }
    if header.kind() != TYPE_ADVERTISEMENT {
        return Err(Verdict::VrrpType);
    }
    let received = ip.end.saturating_sub(ip.payload);
    let counted = message_len(header.version(), ip.family, header.address_count());
    if received < counted {
        return Err(Verdict::VrrpTruncated);
    }
    if received > counted || counted > MAX_MESSAGE_LEN {
        return Err(Verdict::VrrpLength);
    }
    let sums = sum_message(frame, ip.payload, header, ip.family).ok_or(Verdict::VrrpTruncated)?;
    let checksum = covers(sums.message, ip, counted).ok_or(Verdict::VrrpChecksum)?;
    if header.version() == 2 {
        if header.auth_type() != instance.auth_type {
            return Err(Verdict::VrrpAuthType);
        }
        if instance.auth_type == AUTH_PASS
            && u64::from_ne_bytes(sums.auth_data) != u64::from_ne_bytes(instance.auth_data)
        {
            return Err(Verdict::VrrpPassword);
        }
        if header.interval_cs() != instance.interval_cs {
            return Err(Verdict::VrrpInterval);
        }
    } else if header.interval_cs() == 0 {
        return Err(Verdict::VrrpZeroInterval);
    }
    if header.address_count() == 0 && instance.addressless == 0 {
        return Err(Verdict::VrrpNoAddress);
    }
    if multicast != (instance.cast == Cast::Multicast) {
        return Err(Verdict::VrrpCast);
    }
    if ip.source == instance.local {
        return Err(Verdict::VrrpOwnSource);
    }
    Ok(LastAdvert {
        at_ns: 0,
        source: ip.source,
        addresses: sums.addresses,
        interval_cs: header.interval_cs(),
        priority: header.priority(),
        address_count: header.address_count(),
        checksum,
        _pad: [0; 7],
    })
}

/// Whether `ip` goes to the VRRP multicast group of its family.
#[inline(always)]
#[must_use]
pub fn is_group(ip: &Ip) -> bool {
    match ip.family {
        Family::Ipv4 => unmapped(&ip.destination) == GROUP_IPV4,
        Family::Ipv6 => ip.destination == GROUP_IPV6,
    }
}

struct Sums {
    /// Ones'-complement sum of the message, not folded.
    message: u64,
    /// [`digest`] of the address list.
    addresses: u32,
    /// Authentication data of VRRPv2, else zeroes.
    auth_data: [u8; AUTH_LEN],
}

/// One pass over the message: fixed fields, authentication data, then the list, which is a whole
/// number of words.
///
/// The list comes last and its loop has no second branch: the verifier walks every iteration, and
/// what depends on the length after the loop it would walk once per possible length.
#[inline(always)]
fn sum_message<F: Frame + ?Sized>(
    frame: &F,
    offset: usize,
    header: Header,
    family: Family,
) -> Option<Sums> {
    let list = offset + HEADER_LEN;
    let list_len = header.address_count() as usize * family.address_len();
    let mut sums = Sums {
        message: sum_words(header.0),
        addresses: 0,
        auth_data: [0; AUTH_LEN],
    };
    if header.version() == 2 {
        sums.auth_data = frame.load(list + list_len)?;
        sums.message += sum_words(sums.auth_data);
    }
    for index in 0..MAX_LIST_WORDS {
        if index >= list_len / 4 {
            break;
        }
        let word: [u8; 4] = frame.load(list + index * 4)?;
        sums.message += u32::from_be_bytes(word) as u64;
        sums.addresses = sums.addresses.wrapping_add(mix(word, index, family));
    }
    Some(sums)
}

#[inline(always)]
fn sum_words(bytes: [u8; 8]) -> u64 {
    let both = u64::from_be_bytes(bytes);
    (both >> 32) + (both & 0xffff_ffff)
}

/// The form in which the checksum of a message with the unfolded sum `message` is right.
#[inline(always)]
fn covers(message: u64, ip: &Ip, len: usize) -> Option<Checksum> {
    if ip.family == Family::Ipv4 && fold(message) == 0xffff {
        return Some(Checksum::MessageOnly);
    }
    let pseudo = pseudo_header_sum(ip.family, &ip.source, &ip.destination, len);
    (fold(message + pseudo) == 0xffff).then_some(Checksum::PseudoHeader)
}

/// Unfolded sum of the pseudo-header (RFC 8200 §8.1; RFC 5798 §5.2.8 uses the IPv4 one).
#[inline(always)]
#[must_use]
pub fn pseudo_header_sum(
    family: Family,
    source: &Address,
    destination: &Address,
    len: usize,
) -> u64 {
    let mut sum = IPPROTO_VRRP as u64 + len as u64;
    match family {
        Family::Ipv4 => {
            sum += u32::from_be_bytes(unmapped(source)) as u64;
            sum += u32::from_be_bytes(unmapped(destination)) as u64;
        }
        Family::Ipv6 => {
            sum += sum_address(source);
            sum += sum_address(destination);
        }
    }
    sum
}

#[inline(always)]
fn sum_address(a: &Address) -> u64 {
    u32::from_be_bytes([a[0], a[1], a[2], a[3]]) as u64
        + u32::from_be_bytes([a[4], a[5], a[6], a[7]]) as u64
        + u32::from_be_bytes([a[8], a[9], a[10], a[11]]) as u64
        + u32::from_be_bytes([a[12], a[13], a[14], a[15]]) as u64
}

/// Folds an unfolded ones'-complement sum to 16 bits (RFC 1071).
#[inline(always)]
#[must_use]
pub const fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

/// Checksum of `message`, whose own checksum field reads as zero, in the form `checksum`.
///
/// `message` has a length that is a multiple of four, as every VRRP message has.
#[must_use]
pub fn checksum(
    message: &[u8],
    form: Checksum,
    family: Family,
    source: &Address,
    destination: &Address,
) -> u16 {
    let (words, _) = message.as_chunks::<4>();
    let mut sum: u64 = words
        .iter()
        .map(|word| u64::from(u32::from_be_bytes(*word)))
        .sum();
    if form == Checksum::PseudoHeader {
        sum += pseudo_header_sum(family, source, destination, message.len());
    }
    !fold(sum)
}

/// A number that two address lists share when they hold the same addresses in any order.
///
/// Not a secret and not collision-free: it decides whether to wake the agent and whether to warn
/// that two nodes carry different lists, never whether to accept an advertisement.
#[must_use]
pub fn digest(family: Family, addresses: impl IntoIterator<Item = Address>) -> u32 {
    let mut sum = 0u32;
    for address in addresses {
        let (words, _) = address.as_chunks::<4>();
        let skip = 4 - family.address_len() / 4;
        for (index, word) in words.iter().skip(skip).enumerate() {
            sum = sum.wrapping_add(mix(*word, index, family));
        }
    }
    sum
}

/// Word `index` of an address list, spread over 32 bits by its place inside its address.
#[inline(always)]
fn mix(word: [u8; 4], index: usize, family: Family) -> u32 {
    let place = match family {
        Family::Ipv4 => 0,
        Family::Ipv6 => index as u32 & 3,
    };
    let word = u32::from_be_bytes(word) ^ place.wrapping_mul(0x9e37_79b9);
    // Finaliser of MurmurHash3: sums of linear images would collide for swapped halves.
    let word = (word ^ (word >> 16)).wrapping_mul(0x85eb_ca6b);
    let word = (word ^ (word >> 13)).wrapping_mul(0xc2b2_ae35);
    word ^ (word >> 16)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec;
    use std::vec::Vec;

    use super::*;
    use crate::maps::Role;
    use crate::net::mapped;

    const SOURCE: Address = mapped([192, 0, 2, 2]);
    const GROUP: Address = mapped(GROUP_IPV4);
    const OWN: Address = mapped([192, 0, 2, 1]);
    const OWN6: Address = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    const SOURCE6: Address = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

    fn instance(version: u8, family: Family) -> Instance {
        Instance {
            lease_until_ns: 0,
            local: match family {
                Family::Ipv4 => OWN,
                Family::Ipv6 => OWN6,
            },
            auth_data: [0; 8],
            ifindex: 2,
            vlans: 0,
            interval_cs: 100,
            role: Role::Backup,
            vrid: 51,
            version,
            family,
            priority: 90,
            ttl_min: 255,
            cast: Cast::Multicast,
            auth_type: AUTH_NONE,
            addressless: 0,
            _pad: [0; 5],
        }
    }

    fn ip(family: Family, message: &[u8]) -> Ip {
        Ip {
            family,
            protocol: IPPROTO_VRRP,
            ttl: VRRP_TTL,
            fragment: Fragment::Whole,
            source: match family {
                Family::Ipv4 => SOURCE,
                Family::Ipv6 => SOURCE6,
            },
            destination: match family {
                Family::Ipv4 => GROUP,
                Family::Ipv6 => GROUP_IPV6,
            },
            payload: 0,
            end: message.len(),
        }
    }

    /// Writes the right checksum into `message`.
    fn sealed(mut message: Vec<u8>, form: Checksum, ip: &Ip) -> Vec<u8> {
        message[6..8].fill(0);
        let sum = checksum(&message, form, ip.family, &ip.source, &ip.destination);
        message[6..8].copy_from_slice(&sum.to_be_bytes());
        message
    }

    fn judged(message: &[u8], ip: &Ip, instance: &Instance) -> Result<LastAdvert, Verdict> {
        judge(message, ip, Header::load(message, 0).unwrap(), instance)
    }

    fn v3() -> Vec<u8> {
        let message = vec![0x31, 51, 100, 1, 0, 100, 0, 0, 192, 0, 2, 10];
        let ip = ip(Family::Ipv4, &message);
        sealed(message, Checksum::PseudoHeader, &ip)
    }

    fn v2() -> Vec<u8> {
        let mut message = vec![0x21, 51, 100, 1, 0, 1, 0, 0, 192, 0, 2, 10];
        message.extend([0; 8]);
        let ip = ip(Family::Ipv4, &message);
        sealed(message, Checksum::MessageOnly, &ip)
    }

    #[test]
    fn header_fields() {
        let header = Header([0x31, 51, 100, 3, 0xfa, 0xbc, 1, 2]);
        assert_eq!((header.version(), header.kind(), header.vrid()), (3, 1, 51));
        assert_eq!((header.priority(), header.address_count()), (100, 3));
        assert_eq!(
            header.interval_cs(),
            0xabc,
            "reserved bits are not the interval's"
        );
        let header = Header([0x21, 51, 100, 3, 1, 255, 1, 2]);
        assert_eq!(
            (header.auth_type(), header.interval_cs()),
            (AUTH_PASS, 25_500)
        );
        assert_eq!(Header::load(&[0; 7][..], 0), None);
    }

    #[test]
    fn message_lengths() {
        assert_eq!(message_len(3, Family::Ipv4, 255), 1028);
        assert_eq!(message_len(2, Family::Ipv4, 1), 20);
        assert_eq!(message_len(3, Family::Ipv6, 92), MAX_MESSAGE_LEN);
    }

    #[test]
    fn checksums_of_known_messages() {
        // 0x3133 + 0x6401 + 0x0064 + 0xc000 + 0x020a = 0x157a2, folded 0x57a3.
        let message = [0x31, 51, 100, 1, 0, 100, 0, 0, 192, 0, 2, 10];
        let sum = |form| checksum(&message, form, Family::Ipv4, &SOURCE, &GROUP);
        assert_eq!(sum(Checksum::MessageOnly), !0x57a3);
        // Pseudo-header: 0xc000 + 0x0202 + 0xe000 + 0x0012 + 112 + 12 = 0x1a290.
        assert_eq!(sum(Checksum::PseudoHeader), !0xfa34);
        assert_eq!(fold(0x157a2 + 0x1a290), 0xfa34);
    }

    #[test]
    fn both_forms_are_right_over_ipv4_and_told_apart() {
        let instance = instance(3, Family::Ipv4);
        for form in [Checksum::MessageOnly, Checksum::PseudoHeader] {
            let message = sealed(v3(), form, &ip(Family::Ipv4, &v3()));
            let advert = judged(&message, &ip(Family::Ipv4, &message), &instance).unwrap();
            assert_eq!(advert.checksum, form);
        }
    }

    #[test]
    fn advertisement_is_taken_as_it_is() {
        let message = v3();
        let advert = judged(
            &message,
            &ip(Family::Ipv4, &message),
            &instance(3, Family::Ipv4),
        );
        let said = LastAdvert {
            at_ns: 0,
            source: SOURCE,
            addresses: digest(Family::Ipv4, [mapped([192, 0, 2, 10])]),
            interval_cs: 100,
            priority: 100,
            address_count: 1,
            checksum: Checksum::PseudoHeader,
            _pad: [0; 7],
        };
        assert_eq!(advert, Ok(said));
        assert!(said.repeats(&LastAdvert { at_ns: 9, ..said }));
    }

    #[test]
    fn ipv6_needs_the_pseudo_header() {
        let mut message = vec![0x31, 51, 100, 2, 0, 100, 0, 0];
        message.extend(OWN6);
        message.extend([0x20; 16]);
        let ip = ip(Family::Ipv6, &message);
        let instance = instance(3, Family::Ipv6);
        let right = sealed(message.clone(), Checksum::PseudoHeader, &ip);
        let advert = judged(&right, &ip, &instance).unwrap();
        assert_eq!(advert.checksum, Checksum::PseudoHeader);
        assert_eq!(advert.addresses, digest(Family::Ipv6, [[0x20; 16], OWN6]));
        let wrong = sealed(message, Checksum::MessageOnly, &ip);
        assert_eq!(judged(&wrong, &ip, &instance), Err(Verdict::VrrpChecksum));
    }

    /// Every exit of `judge`, each with all that comes before it right.
    #[test]
    fn exits() {
        type Wrong = fn(&mut Vec<u8>, &mut Ip, &mut Instance);
        let reseal: fn(&mut Vec<u8>, &Ip) = |message, ip| {
            let form = if message[0] >> 4 == 2 {
                Checksum::MessageOnly
            } else {
                Checksum::PseudoHeader
            };
            *message = sealed(core::mem::take(message), form, ip);
        };
        let cases: &[(Verdict, u8, Wrong)] = &[
            (Verdict::PassVrrpTransit, 3, |_, ip, _| {
                ip.destination = mapped([192, 0, 2, 9]);
            }),
            (Verdict::VrrpFragment, 3, |_, ip, _| {
                ip.fragment = Fragment::First
            }),
            (Verdict::VrrpTtl, 3, |_, ip, _| ip.ttl = 254),
            (Verdict::VrrpVersion, 3, |_, _, instance| {
                instance.version = 2
            }),
            (Verdict::VrrpVersion, 2, |_, _, instance| {
                instance.version = 3
            }),
            (Verdict::VrrpType, 3, |message, _, _| message[0] = 0x32),
            (Verdict::VrrpTruncated, 3, |message, _, _| message[3] = 2),
            (Verdict::VrrpTruncated, 3, |message, _, _| {
                message.truncate(10)
            }),
            (Verdict::VrrpTruncated, 2, |message, _, _| {
                message.truncate(19)
            }),
            (Verdict::VrrpTruncated, 3, |_, ip, _| ip.end = 11),
            (Verdict::VrrpLength, 3, |message, _, _| message[3] = 0),
            (Verdict::VrrpLength, 3, |_, ip, _| ip.end = 13),
            (Verdict::VrrpChecksum, 3, |message, _, _| message[7] ^= 1),
            (Verdict::VrrpChecksum, 3, |message, _, _| message[11] ^= 1),
            (Verdict::VrrpChecksum, 3, |_, ip, _| ip.source[15] ^= 0x40),
            (Verdict::VrrpAuthType, 2, |_, _, instance| {
                instance.auth_type = AUTH_PASS
            }),
            (Verdict::VrrpAuthType, 2, |message, ip, _| {
                message[4] = AUTH_PASS;
                *message = sealed(core::mem::take(message), Checksum::MessageOnly, ip);
            }),
            (Verdict::VrrpPassword, 2, |message, ip, instance| {
                message[4] = AUTH_PASS;
                message[12..].copy_from_slice(b"secret\0x");
                *message = sealed(core::mem::take(message), Checksum::MessageOnly, ip);
                instance.auth_type = AUTH_PASS;
                instance.auth_data = *b"secret\0\0";
            }),
            (Verdict::VrrpInterval, 2, |_, _, instance| {
                instance.interval_cs = 200
            }),
            (Verdict::VrrpCast, 3, |_, _, instance| {
                instance.cast = Cast::Unicast
            }),
            (Verdict::VrrpOwnSource, 3, |_, _, instance| {
                instance.local = SOURCE
            }),
        ];
        for (number, (verdict, version, wrong)) in cases.iter().enumerate() {
            let mut message = if *version == 2 { v2() } else { v3() };
            let mut ip = ip(Family::Ipv4, &message);
            let mut instance = instance(*version, Family::Ipv4);
            assert!(judged(&message, &ip, &instance).is_ok());
            wrong(&mut message, &mut ip, &mut instance);
            assert_eq!(
                judged(&message, &ip, &instance),
                Err(*verdict),
                "case {number}"
            );
        }

        let ip = ip(Family::Ipv4, &v3());
        let instance = instance(3, Family::Ipv4);
        let mut never = v3();
        never[5] = 0;
        reseal(&mut never, &ip);
        assert_eq!(
            judged(&never, &ip, &instance),
            Err(Verdict::VrrpZeroInterval)
        );

        let mut empty = v3()[..8].to_vec();
        empty[3] = 0;
        let ip = Ip { end: 8, ..ip };
        reseal(&mut empty, &ip);
        assert_eq!(judged(&empty, &ip, &instance), Err(Verdict::VrrpNoAddress));
        let like_us = Instance {
            addressless: 1,
            ..instance
        };
        assert!(judged(&empty, &ip, &like_us).is_ok());
    }

    #[test]
    fn unicast_goes_to_our_own_address() {
        let message = v3();
        let ip = Ip {
            destination: OWN,
            ..ip(Family::Ipv4, &message)
        };
        let message = sealed(message, Checksum::PseudoHeader, &ip);
        let multicast = instance(3, Family::Ipv4);
        let unicast = Instance {
            cast: Cast::Unicast,
            ..multicast
        };
        assert!(judged(&message, &ip, &unicast).is_ok());
        assert_eq!(judged(&message, &ip, &multicast), Err(Verdict::VrrpCast));
    }

    #[test]
    fn longest_lists() {
        let list = |family: Family, count: u8| {
            let len = usize::from(count) * family.address_len();
            let mut message = vec![0x31, 51, 100, count, 0, 100, 0, 0];
            message.extend((0..len).map(|n| n as u8));
            let ip = ip(family, &message);
            let message = sealed(message, Checksum::PseudoHeader, &ip);
            judged(&message, &ip, &instance(3, family)).map(|advert| advert.address_count)
        };
        assert_eq!(list(Family::Ipv4, 255), Ok(255));
        assert_eq!(list(Family::Ipv6, 92), Ok(92));
        assert_eq!(list(Family::Ipv6, 93), Err(Verdict::VrrpLength));
    }

    #[test]
    fn padding_behind_the_datagram_does_not_count() {
        let message = v3();
        let ip = ip(Family::Ipv4, &message);
        let padded = [&message[..], &[0xff; 30]].concat();
        assert!(judged(&padded, &ip, &instance(3, Family::Ipv4)).is_ok());
    }

    #[test]
    fn digest_does_not_depend_on_order() {
        let v4 = [[192, 0, 2, 1], [192, 0, 2, 2], [10, 0, 0, 1]].map(mapped);
        let [a, b, c] = v4;
        let of = |list: &[Address]| digest(Family::Ipv4, list.iter().copied());
        assert_eq!(of(&[a, b, c]), of(&[c, a, b]));
        assert_ne!(of(&[a, b]), of(&[a, c]));
        assert_ne!(of(&[a]), of(&[a, a]));
        assert_eq!(of(&[]), 0);

        let one: Address = core::array::from_fn(|n| n as u8);
        let mut swapped = one;
        swapped.rotate_left(8);
        let of = |list: &[Address]| digest(Family::Ipv6, list.iter().copied());
        assert_ne!(of(&[one]), of(&[swapped]), "halves have their place");
        assert_eq!(of(&[one, swapped]), of(&[swapped, one]));
    }
}
