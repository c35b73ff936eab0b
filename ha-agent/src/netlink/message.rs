//! What the kernel and this agent tell each other of links and addresses, as bytes. Pure.

use std::net::IpAddr;

use rtnetlink::packet_core::{NlasIterator, Parseable};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol,
    AddressScope, CacheInfo,
};

use super::Address;
use crate::config::model::{Scope, VirtualAddress};
use crate::vrrp::types::Prefix;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
/// Length of `struct ifinfomsg`.
const LINK_HEADER_LEN: usize = 16;
/// Administratively up (IFF_UP), operational state up or unknown (IFF_RUNNING), carrier
/// (IFF_LOWER_UP).
const WORKING: u32 = 1 << 0 | 1 << 6 | 1 << 16;
/// Marks addresses as this agent's (`IFA_PROTO`, Linux 5.18; older kernels ignore it). The
/// registry in iproute2's `rt_addrprotos` ends at 3; 112 is VRRP's protocol number.
const ADDRESS_PROTOCOL: u8 = 112;
/// Lifetime of an address that does not end.
const FOREVER: u32 = u32::MAX;

/// One message about a link or an address.
#[derive(Debug)]
pub(super) enum Event {
    Link(Link),
    LinkGone { index: u32 },
    Address { index: u32, address: Address },
    AddressGone { index: u32, prefix: Prefix },
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) mac: Option<[u8; 6]>,
    pub(super) up: bool,
    pub(super) kind: Option<String>,
}

impl Event {
    /// `None`: about something else, or malformed.
    pub(super) fn parse(kind: u16, payload: &[u8]) -> Option<Self> {
        match kind {
            RTM_NEWLINK => parse_link(payload).map(Self::Link),
            RTM_DELLINK => parse_link(payload).map(|link| Self::LinkGone { index: link.index }),
            RTM_NEWADDR => {
                let (index, address) = parse_address(payload)?;
                Some(Self::Address { index, address })
            }
            RTM_DELADDR => {
                let (index, address) = parse_address(payload)?;
                Some(Self::AddressGone {
                    index,
                    prefix: address.prefix,
                })
            }
            _ => None,
        }
    }
}

fn parse_link(payload: &[u8]) -> Option<Link> {
    let (header, attributes) = payload.split_at_checked(LINK_HEADER_LEN)?;
    let word = |at: usize| Some(u32::from_ne_bytes(header.get(at..at + 4)?.try_into().ok()?));
    // A bridge speaks of its ports in link messages of its own family: one that leaves the bridge
    // is "deleted", but not from the machine.
    if header[0] != u8::from(AddressFamily::Unspec) {
        return None;
    }
    let mut link = Link {
        index: word(4)?,
        name: String::new(),
        mac: None,
        up: word(8)? & WORKING == WORKING,
        kind: None,
    };
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute.ok()?;
        match attribute.kind() {
            IFLA_IFNAME => link.name = text(attribute.value())?,
            IFLA_ADDRESS => link.mac = attribute.value().try_into().ok(),
            IFLA_LINKINFO => {
                link.kind = NlasIterator::new(attribute.value())
                    .filter_map(Result::ok)
                    .find(|info| info.kind() == IFLA_INFO_KIND)
                    .and_then(|info| text(info.value()));
            }
            _ => {}
        }
    }
    (!link.name.is_empty()).then_some(link)
}

fn text(value: &[u8]) -> Option<String> {
    let value = value.split(|byte| *byte == 0).next()?;
    Some(String::from_utf8_lossy(value).into_owned())
}

fn parse_address(payload: &[u8]) -> Option<(u32, Address)> {
    let message = AddressMessage::parse(payload).ok()?;
    let mut local = None;
    let mut other = None;
    let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
    let mut ours = false;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(*address),
            // On a point-to-point link the peer's, otherwise the same, or the only one (IPv6).
            AddressAttribute::Address(address) => other = Some(*address),
            AddressAttribute::Flags(all) => flags = *all,
            AddressAttribute::Protocol(protocol) => {
                ours = u8::from(*protocol) == ADDRESS_PROTOCOL;
            }
            _ => {}
        }
    }
    let address = Address {
        prefix: Prefix {
            address: local.or(other)?,
            len: message.header.prefix_len,
        },
        scope: match message.header.scope {
            AddressScope::Universe => Some(Scope::Global),
            AddressScope::Site => Some(Scope::Site),
            AddressScope::Link => Some(Scope::Link),
            AddressScope::Host => Some(Scope::Host),
            _ => None,
        },
        secondary: flags.contains(AddressFlags::Secondary),
        permanent: flags.contains(AddressFlags::Permanent),
        tentative: flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed)
            && !flags.contains(AddressFlags::Optimistic),
        ours,
    };
    Some((message.header.index, address))
}

pub(super) fn new_address(ifindex: u32, address: &VirtualAddress) -> AddressMessage {
    let mut message = address_message(ifindex, &address.prefix);
    message.header.scope = match address.scope {
        Scope::Global => AddressScope::Universe,
        Scope::Site => AddressScope::Site,
        Scope::Link => AddressScope::Link,
        Scope::Host => AddressScope::Host,
    };
    if address.prefix.address.is_ipv6() {
        message.header.flags = AddressHeaderFlags::Nodad;
        message
            .attributes
            .push(AddressAttribute::Flags(AddressFlags::Nodad));
        if address.prefix.len == 128 {
            let mut lifetime = CacheInfo::default();
            lifetime.ifa_preferred = 0;
            lifetime.ifa_valid = FOREVER;
            message
                .attributes
                .push(AddressAttribute::CacheInfo(lifetime));
        }
    }
    message
        .attributes
        .push(AddressAttribute::Protocol(AddressProtocol::from(
            ADDRESS_PROTOCOL,
        )));
    message
}

pub(super) fn address_message(ifindex: u32, prefix: &Prefix) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = match prefix.address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.prefix_len = prefix.len;
    message.header.index = ifindex;
    message.attributes = vec![
        AddressAttribute::Local(prefix.address),
        AddressAttribute::Address(prefix.address),
    ];
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_message_of_a_bridge_is_not_about_the_interface() {
        let message = |family: u8| {
            let mut bytes = vec![family, 0, 1, 0];
            bytes.extend(7u32.to_ne_bytes());
            bytes.extend(WORKING.to_ne_bytes());
            bytes.extend(0u32.to_ne_bytes());
            bytes.extend(9u16.to_ne_bytes());
            bytes.extend(IFLA_IFNAME.to_ne_bytes());
            bytes.extend(b"eth0\0\0\0\0");
            bytes
        };
        let link = parse_link(&message(0)).unwrap();
        assert_eq!((link.index, link.name.as_str(), link.up), (7, "eth0", true));
        assert!(parse_link(&message(libc::AF_BRIDGE as u8)).is_none());
        for len in 0..message(0).len() - 4 {
            let _ = parse_link(&message(0)[..len]);
        }
    }
}
