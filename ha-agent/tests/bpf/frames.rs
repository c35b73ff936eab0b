//! A small packet builder.

use ha_common::net::{Address, Family, mapped};
use ha_common::vrrp::{self, Checksum, GROUP_IPV4, GROUP_IPV6, IPPROTO_VRRP};

pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMPV6: u8 = 58;

/// The sender of every advertisement that does not say otherwise.
pub(crate) const PEER4: [u8; 4] = [192, 0, 2, 2];
pub(crate) const PEER6: Address = link_local(2);

pub(crate) const fn link_local(last: u8) -> Address {
    [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
}

pub(crate) const fn global(last: u8) -> Address {
    [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
}

/// An Ethernet frame with tags of (tag protocol, VLAN identifier).
pub(crate) fn ethernet(tags: &[(u16, u16)], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2];
    for (protocol, vid) in tags {
        frame.extend(protocol.to_be_bytes());
        frame.extend(vid.to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// An IPv4 packet, before it becomes bytes.
#[derive(Clone)]
pub(crate) struct Ipv4 {
    pub(crate) source: [u8; 4],
    pub(crate) destination: [u8; 4],
    pub(crate) protocol: u8,
    pub(crate) ttl: u8,
    /// Flags and fragment offset.
    pub(crate) fragment: u16,
    /// Multiple of four bytes.
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Ipv4 {
    pub(crate) fn to(destination: [u8; 4], protocol: u8, payload: &[u8]) -> Self {
        Self {
            source: [198, 51, 100, 200],
            destination,
            protocol,
            ttl: 64,
            fragment: 0,
            options: Vec::new(),
            payload: payload.to_vec(),
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let header_len = 20 + self.options.len();
        let total = (header_len + self.payload.len()) as u16;
        let mut bytes = vec![0x40 | (header_len / 4) as u8, 0xc0];
        bytes.extend(total.to_be_bytes());
        bytes.extend([0, 7]);
        bytes.extend(self.fragment.to_be_bytes());
        bytes.extend([self.ttl, self.protocol, 0, 0]);
        bytes.extend(self.source);
        bytes.extend(self.destination);
        bytes.extend(&self.options);
        bytes.extend(&self.payload);
        bytes
    }

    pub(crate) fn frame(&self) -> Vec<u8> {
        self.tagged(&[])
    }

    pub(crate) fn tagged(&self, tags: &[(u16, u16)]) -> Vec<u8> {
        ethernet(tags, 0x0800, &self.bytes())
    }
}

/// An IPv6 packet, before it becomes bytes.
#[derive(Clone)]
pub(crate) struct Ipv6 {
    pub(crate) source: Address,
    pub(crate) destination: Address,
    pub(crate) next_header: u8,
    pub(crate) hop_limit: u8,
    /// Type and contents of each, without the two bytes that every extension header starts with.
    pub(crate) extensions: Vec<(u8, Vec<u8>)>,
    pub(crate) payload: Vec<u8>,
}

impl Ipv6 {
    pub(crate) fn to(destination: Address, next_header: u8, payload: &[u8]) -> Self {
        Self {
            source: global(200),
            destination,
            next_header,
            hop_limit: 64,
            extensions: Vec::new(),
            payload: payload.to_vec(),
        }
    }

    pub(crate) fn solicitation(target: Address) -> Self {
        let mut payload = vec![135, 0, 0, 0, 0, 0, 0, 0];
        payload.extend(target);
        let mut group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0];
        group[13..].copy_from_slice(&target[13..]);
        Self {
            hop_limit: 255,
            ..Self::to(group, ICMPV6, &payload)
        }
    }

    /// Puts a header of `kind` in front of what is there, padded to a multiple of eight bytes.
    pub(crate) fn behind(mut self, kind: u8, contents: &[u8]) -> Self {
        self.extensions.push((kind, contents.to_vec()));
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut chain = Vec::new();
        for (index, (kind, contents)) in self.extensions.iter().enumerate() {
            let next = self
                .extensions
                .get(index + 1)
                .map_or(self.next_header, |(kind, _)| *kind);
            let mut header = vec![next, 0];
            header.extend(contents);
            header.resize(header.len().next_multiple_of(8), 0);
            if *kind != 44 {
                header[1] = (header.len() / 8 - 1) as u8;
            }
            chain.extend(header);
        }
        let first = self
            .extensions
            .first()
            .map_or(self.next_header, |(kind, _)| *kind);
        let mut bytes = vec![0x60, 0, 0, 0];
        bytes.extend(((chain.len() + self.payload.len()) as u16).to_be_bytes());
        bytes.extend([first, self.hop_limit]);
        bytes.extend(self.source);
        bytes.extend(self.destination);
        bytes.extend(chain);
        bytes.extend(&self.payload);
        bytes
    }

    pub(crate) fn frame(&self) -> Vec<u8> {
        ethernet(&[], 0x86dd, &self.bytes())
    }
}

/// An ARP packet for IPv4 over Ethernet.
pub(crate) fn arp(operation: u16, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![0, 1, 8, 0, 6, 4];
    bytes.extend(operation.to_be_bytes());
    bytes.extend([0x02, 0, 0, 0, 0, 2]);
    bytes.extend(sender);
    bytes.extend([0; 6]);
    bytes.extend(target);
    bytes
}

/// An advertisement, before it becomes bytes.
#[derive(Clone)]
pub(crate) struct Advert {
    pub(crate) version: u8,
    pub(crate) kind: u8,
    pub(crate) vrid: u8,
    pub(crate) priority: u8,
    /// Number of addresses written in the header, when not the true one.
    pub(crate) count: Option<u8>,
    pub(crate) interval_cs: u16,
    pub(crate) auth_type: u8,
    pub(crate) auth_data: [u8; 8],
    pub(crate) addresses: Vec<Address>,
    pub(crate) checksum: Checksum,
    /// Added to the right checksum.
    pub(crate) checksum_error: u16,
    pub(crate) source: Address,
    pub(crate) destination: Address,
    pub(crate) ttl: u8,
    /// Bytes behind the message, inside the IP packet.
    pub(crate) trailer: usize,
}

impl Advert {
    pub(crate) fn v3(vrid: u8) -> Self {
        Self {
            version: 3,
            kind: 1,
            vrid,
            priority: 100,
            count: None,
            interval_cs: 100,
            auth_type: 0,
            auth_data: [0; 8],
            addresses: vec![mapped([192, 0, 2, vrid])],
            checksum: Checksum::PseudoHeader,
            checksum_error: 0,
            source: mapped(PEER4),
            destination: mapped(GROUP_IPV4),
            ttl: 255,
            trailer: 0,
        }
    }

    pub(crate) fn v2(vrid: u8) -> Self {
        Self {
            version: 2,
            checksum: Checksum::MessageOnly,
            ..Self::v3(vrid)
        }
    }

    pub(crate) fn v6(vrid: u8) -> Self {
        Self {
            addresses: vec![link_local(vrid), global(vrid)],
            source: PEER6,
            destination: GROUP_IPV6,
            ..Self::v3(vrid)
        }
    }

    pub(crate) fn family(&self) -> Family {
        if self.source[..12] == mapped([0; 4])[..12] {
            Family::Ipv4
        } else {
            Family::Ipv6
        }
    }

    pub(crate) fn message(&self) -> Vec<u8> {
        let family = self.family();
        let count = self.count.unwrap_or(self.addresses.len() as u8);
        let mut bytes = vec![
            self.version << 4 | self.kind,
            self.vrid,
            self.priority,
            count,
        ];
        if self.version == 2 {
            bytes.extend([self.auth_type, (self.interval_cs / 100) as u8, 0, 0]);
        } else {
            bytes.extend(self.interval_cs.to_be_bytes());
            bytes.extend([0, 0]);
        }
        for address in &self.addresses {
            bytes.extend(&address[16 - family.address_len()..]);
        }
        if self.version == 2 {
            bytes.extend(self.auth_data);
        }
        let sum = vrrp::checksum(
            &bytes,
            self.checksum,
            family,
            &self.source,
            &self.destination,
        );
        bytes[6..8].copy_from_slice(&sum.wrapping_add(self.checksum_error).to_be_bytes());
        bytes.resize(bytes.len() + self.trailer, 0);
        bytes
    }

    pub(crate) fn ipv4(&self) -> Ipv4 {
        let v4 = |a: &Address| [a[12], a[13], a[14], a[15]];
        Ipv4 {
            source: v4(&self.source),
            ttl: self.ttl,
            ..Ipv4::to(v4(&self.destination), IPPROTO_VRRP, &self.message())
        }
    }

    pub(crate) fn ipv6(&self) -> Ipv6 {
        Ipv6 {
            source: self.source,
            hop_limit: self.ttl,
            ..Ipv6::to(self.destination, IPPROTO_VRRP, &self.message())
        }
    }

    pub(crate) fn frame(&self) -> Vec<u8> {
        match self.family() {
            Family::Ipv4 => self.ipv4().frame(),
            Family::Ipv6 => self.ipv6().frame(),
        }
    }
}
