//! Advertisements as bytes: the one encoder, and the decoder of the raw-socket fallback.
//!
//! Owns neither sockets nor rules: what makes an advertisement valid is judged by
//! [`ha_common::vrrp::judge`], the function the XDP program runs.

use std::net::IpAddr;

use bytes::{BufMut, BytesMut};
use ha_common::maps::{Cast, Instance, LastAdvert, LastDrop, WRITING};
use ha_common::net::{self, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Family, Fragment};
use ha_common::verdict::Verdict;
use ha_common::vrrp::{
    self, AUTH_LEN, AUTH_NONE, AUTH_PASS, Checksum, Header, IPPROTO_VRRP, MAX_MESSAGE_LEN,
    TYPE_ADVERTISEMENT,
};

use super::Advert;
use super::types::{
    AdvertPriority, Centiseconds, Instant, Version, Vrid, family_of, from_wire, to_wire,
};

/// Offset of the checksum in a message, for sockets whose kernel fills it in.
pub const CHECKSUM_OFFSET: usize = 6;

/// Longest VRRPv3 interval: the field has 12 bits (RFC 9568 §5.2.7).
const MAX_V3_INTERVAL_CS: u16 = 0x0fff;

/// An advertisement to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Protocol version.
    pub version: Version,
    /// Virtual router identifier.
    pub vrid: Vrid,
    /// Priority, or the resignation.
    pub priority: AdvertPriority,
    /// Advertisement_Interval.
    pub interval: Centiseconds,
    /// The virtual addresses, in the order they are sent; for IPv6 the link-local one first
    /// (RFC 9568 §5.2.9).
    pub addresses: &'a [IpAddr],
    /// VRRPv2 password (RFC 2338 §5.3.6), zero-padded; `None`: no authentication.
    pub password: Option<[u8; AUTH_LEN]>,
    /// What the checksum covers.
    pub checksum: Checksum,
    /// Source address of the packet; its family is the family of the message.
    pub source: IpAddr,
    /// Destination address of the packet.
    pub destination: IpAddr,
}

/// A message that has no form on the wire. The configuration rules all of them out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unencodable {
    /// Another family than the source.
    #[error("{address} is not of the family of the source {source_address}")]
    Family {
        /// The address in question.
        address: IpAddr,
        /// The source.
        source_address: IpAddr,
    },
    /// Too many for the count field or for a packet of 1500 bytes.
    #[error("{count} addresses do not fit one advertisement")]
    TooManyAddresses {
        /// How many.
        count: usize,
    },
    /// Not expressible in the interval field.
    #[error("VRRPv{version} cannot carry an interval of {interval}")]
    Interval {
        /// Protocol version.
        version: u8,
        /// The interval.
        interval: Centiseconds,
    },
    /// VRRPv3 has no authentication.
    #[error("VRRPv3 has no password")]
    Password,
}

/// Appends the VRRP message, checksum included, to `out`; leaves `out` alone on an error.
///
/// # Errors
/// See [`Unencodable`].
pub fn encode(message: &Message<'_>, out: &mut BytesMut) -> Result<(), Unencodable> {
    let family = family_of(message.source);
    if let Some(&address) = message
        .addresses
        .iter()
        .chain([&message.destination])
        .find(|address| family_of(**address) != family)
    {
        return Err(Unencodable::Family {
            address,
            source_address: message.source,
        });
    }
    let version = message.version.number();
    let count = u8::try_from(message.addresses.len())
        .ok()
        .filter(|count| vrrp::message_len(version, family, *count) <= MAX_MESSAGE_LEN)
        .ok_or(Unencodable::TooManyAddresses {
            count: message.addresses.len(),
        })?;
    let fields = interval_fields(message)?;

    let start = out.len();
    out.reserve(vrrp::message_len(version, family, count));
    out.put_u8(version << 4 | TYPE_ADVERTISEMENT);
    out.put_u8(message.vrid.get());
    out.put_u8(message.priority.to_wire());
    out.put_u8(count);
    out.put_slice(&fields);
    out.put_u16(0);
    for address in message.addresses {
        match address {
            IpAddr::V4(address) => out.put_slice(&address.octets()),
            IpAddr::V6(address) => out.put_slice(&address.octets()),
        }
    }
    if message.version == Version::V2 {
        out.put_slice(&message.password.unwrap_or_default());
    }
    let sum = vrrp::checksum(
        &out[start..],
        message.checksum,
        family,
        &to_wire(message.source),
        &to_wire(message.destination),
    );
    let at = start + CHECKSUM_OFFSET;
    out[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    Ok(())
}

/// Bytes 4 and 5: VRRPv2 authentication type and seconds, VRRPv3 centiseconds in 12 bits.
fn interval_fields(message: &Message<'_>) -> Result<[u8; 2], Unencodable> {
    let cs = message.interval.get();
    let unencodable = Unencodable::Interval {
        version: message.version.number(),
        interval: message.interval,
    };
    match (message.version, message.password) {
        (Version::V3, Some(_)) => Err(Unencodable::Password),
        (Version::V3, None) if cs > MAX_V3_INTERVAL_CS => Err(unencodable),
        (Version::V3, None) => Ok(cs.to_be_bytes()),
        (Version::V2, password) => {
            let auth_type = if password.is_some() {
                AUTH_PASS
            } else {
                AUTH_NONE
            };
            if !cs.is_multiple_of(100) {
                return Err(unencodable);
            }
            let seconds = u8::try_from(cs / 100).map_err(|_| unencodable)?;
            Ok([auth_type, seconds])
        }
    }
}

/// Where a frame came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Interface.
    pub ifindex: u32,
    /// When.
    pub at: Instant,
}

/// Judges an Ethernet frame for `instance`, as the XDP program does where there is one.
///
/// `peers` are the unicast sources allowed; a multicast instance does not look at them. The bound
/// on the rate of changed advertisements is the caller's.
///
/// # Errors
/// The verdict to count. Of the verdicts that pass only [`Verdict::PassForeignVrid`] is news: an
/// advertisement of another virtual router.
pub fn decode(
    frame: &[u8],
    arrival: Arrival,
    instance: &Instance,
    peers: &[IpAddr],
) -> Result<LastAdvert, Verdict> {
    let link = net::link(frame).ok_or(Verdict::PassUnparsed)?;
    let ip = match link.ethertype {
        ETHERTYPE_IPV4 => net::ipv4(frame, link.payload),
        ETHERTYPE_IPV6 => net::ipv6(frame, link.payload).and_then(|ip| net::upper_layer(frame, ip)),
        _ => return Err(Verdict::PassOther),
    };
    let ip = ip.ok_or(Verdict::PassUnparsed)?;
    // A later fragment has no VRRP header: it is traffic like any other.
    if ip.protocol != IPPROTO_VRRP || ip.fragment == Fragment::Later {
        return Err(Verdict::PassNotOurs);
    }
    let header = Header::load(frame, ip.payload).ok_or(Verdict::PassUnparsed)?;
    let ours = instance.vrid != 0
        && header.vrid() == instance.vrid
        && ip.family == instance.family
        && arrival.ifindex == instance.ifindex
        && link.vlans == instance.vlans;
    if !ours {
        return Err(Verdict::PassForeignVrid);
    }
    let last = vrrp::judge(frame, &ip, header, instance)?;
    let allowed = instance.cast == Cast::Multicast
        || peers.contains(&from_wire(instance.family, &last.source));
    if !allowed {
        return Err(Verdict::VrrpSource);
    }
    Ok(LastAdvert {
        at_ns: arrival.at.0,
        ..last
    })
}

/// The recorded advertisement as the election takes it.
///
/// `None` when there is none: never heard, being written, or an interval of zero, which no valid
/// advertisement has (erratum 8301).
#[must_use]
pub fn advert(family: Family, last: &LastAdvert) -> Option<Advert> {
    if last.at_ns == 0 || last.at_ns == WRITING {
        return None;
    }
    Some(Advert {
        at: Instant(last.at_ns),
        source: from_wire(family, &last.source),
        priority: AdvertPriority::from_wire(last.priority),
        interval: Centiseconds::try_from(u64::from(last.interval_cs)).ok()?,
        addresses: last.addresses,
        checksum: last.checksum,
    })
}

/// What the record of the last discarded advertisement says of `frame`; `None` when it carries no
/// VRRP header.
#[must_use]
pub fn last_drop(frame: &[u8], at: Instant, verdict: Verdict) -> Option<LastDrop> {
    let link = net::link(frame)?;
    let ip = match link.ethertype {
        ETHERTYPE_IPV4 => net::ipv4(frame, link.payload)?,
        ETHERTYPE_IPV6 => net::upper_layer(frame, net::ipv6(frame, link.payload)?)?,
        _ => return None,
    };
    let header = Header::load(frame, ip.payload)?;
    Some(LastDrop {
        at_ns: at.0,
        source: ip.source,
        verdict,
        version: header.version(),
        priority: header.priority(),
        interval_cs: header.interval_cs(),
    })
}
