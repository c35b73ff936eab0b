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
