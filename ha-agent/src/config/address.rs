//! Addresses as they are written, and which of them can be what.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::vrrp::types::{Family, Prefix, family_of};

/// Why a text is not the address that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// Not an address at all.
    #[error("{0:?} is no IP address")]
    Syntax(String),
    /// `fe80::1%eth0`.
    #[error("{0:?} names an interface")]
    Zone(String),
    /// Nothing behind the slash, or no number.
    #[error("{0:?} has no number after the slash")]
    NoLength(String),
    /// A prefix length out of range.
    #[error("the prefix length of an {family} address must be 1 to {max}, not {got}", family = name(*.family), max = bits(*.family))]
    Length {
        /// Family of the address.
        family: Family,
        /// As written.
        got: String,
    },
    /// An address that one host cannot have.
    #[error("{address} is {kind}")]
    Kind {
        /// The address.
        address: IpAddr,
        /// What it is.
        kind: &'static str,
    },
    /// An address whose host part is empty or all ones.
    #[error("{prefix} is the {kind} of {network}/{len}, not a host", len = .prefix.len)]
    NoHost {
        /// As written.
        prefix: Prefix,
        /// What it is.
        kind: &'static str,
        /// The network.
        network: IpAddr,
    },
}

impl BadAddress {
    /// What to do.
    #[must_use]
    pub fn fix(&self) -> String {
        match self {
            Self::Syntax(_) => "write four numbers or an IPv6 address, like 192.168.1.200".into(),
            Self::Zone(_) => "leave % and the name out: interface = … says it".into(),
            Self::NoLength(text) => {
                let address = text.split('/').next().unwrap_or(text);
                format!("write {address}/24, or {address} alone for a single host")
            }
            Self::Length { family, .. } => format!(
                "write the length of the subnet's prefix, or none for /{}",
                bits(*family)
            ),
            Self::Kind { .. } => "use an address that one host can have".into(),
            Self::NoHost { .. } => "use an address inside the network, or no prefix length".into(),
        }
    }
}

/// The family's name.
#[must_use]
pub const fn name(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "IPv4",
        Family::Ipv6 => "IPv6",
    }
}

/// Length of an address in bits.
#[must_use]
pub const fn bits(family: Family) -> u8 {
    match family {
        Family::Ipv4 => 32,
        Family::Ipv6 => 128,
    }
}

/// Whether the address is IPv6 and in fe80::/10.
#[must_use]
pub const fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(a) => a.is_unicast_link_local(),
    }
}

/// Whether `address` lies in the network of `prefix`.
#[must_use]
pub fn contains(prefix: Prefix, address: IpAddr) -> bool {
    family_of(prefix.address) == family_of(address)
        && network(prefix)
            == network(Prefix {
                address,
                len: prefix.len,
            })
}

/// An address that a host can have.
///
/// # Errors
/// Says why it cannot.
pub fn host(text: &str) -> Result<IpAddr, BadAddress> {
    let text = text.trim();
    if text.contains('%') {
        return Err(BadAddress::Zone(text.to_owned()));
    }
    let address: IpAddr = text
        .parse()
        .map_err(|_| BadAddress::Syntax(text.to_owned()))?;
    let kind = match address {
        IpAddr::V4(Ipv4Addr::BROADCAST) => "the broadcast address",
        IpAddr::V6(a) if a.to_ipv4_mapped().is_some() => "an IPv4 address in IPv6 dress",
        a if a.is_unspecified() => "the unspecified address",
        a if a.is_loopback() => "a loopback address",
        a if a.is_multicast() => "a multicast address",
        a => return Ok(a),
    };
    Err(BadAddress::Kind { address, kind })
}

/// An address that a host can have, with its prefix length; without one, that of a single host.
///
/// # Errors
/// Says why it cannot.
pub fn host_prefix(text: &str) -> Result<Prefix, BadAddress> {
    let text = text.trim();
    let Some((address, length)) = text.split_once('/') else {
        let address = host(text)?;
        return Ok(Prefix {
            address,
            len: bits(family_of(address)),
        });
    };
    let address = host(address)?;
    let family = family_of(address);
    if length.is_empty() || !length.bytes().all(|b| b.is_ascii_digit()) {
        return Err(BadAddress::NoLength(text.to_owned()));
    }
    let len = length
        .parse::<u8>()
        .ok()
        .filter(|len| (1..=bits(family)).contains(len))
        .ok_or_else(|| BadAddress::Length {
            family,
            got: length.to_owned(),
        })?;
    has_host(Prefix { address, len })
}

/// RFC 919 and RFC 4291 §2.6.1; not on point-to-point prefixes (RFC 3021, RFC 6164).
fn has_host(prefix: Prefix) -> Result<Prefix, BadAddress> {
    let bits = bits(family_of(prefix.address));
    let network = network(prefix);
    let kind = if prefix.len + 2 > bits {
        return Ok(prefix);
    } else if prefix.address == network {
        match prefix.address {
            IpAddr::V4(_) => "network address",
            IpAddr::V6(_) => "subnet-router anycast address",
        }
    } else if let IpAddr::V4(a) = prefix.address
        && a.to_bits() | u32::MAX >> prefix.len == a.to_bits()
    {
        "broadcast address"
    } else {
        return Ok(prefix);
    };
    Err(BadAddress::NoHost {
        prefix,
        kind,
        network,
    })
}

/// The address with its host part cleared.
fn network(prefix: Prefix) -> IpAddr {
    match prefix.address {
        IpAddr::V4(a) => {
            let mask = u32::MAX
                .checked_shl(32 - u32::from(prefix.len))
                .unwrap_or(0);
            Ipv4Addr::from_bits(a.to_bits() & mask).into()
        }
        IpAddr::V6(a) => {
            let mask = u128::MAX
                .checked_shl(128 - u32::from(prefix.len))
                .unwrap_or(0);
            Ipv6Addr::from_bits(a.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_lengths() {
        for (text, read) in [
            ("192.168.1.200/24", "192.168.1.200/24"),
            ("192.168.1.200", "192.168.1.200/32"),
            ("10.0.0.0/31", "10.0.0.0/31"),
            ("10.0.0.255/32", "10.0.0.255/32"),
            ("fe80::1", "fe80::1/128"),
            ("2001:db8::/127", "2001:db8::/127"),
            (" 2001:DB8::1/64 ", "2001:db8::1/64"),
        ] {
            assert_eq!(host_prefix(text).unwrap().to_string(), read);
        }
    }

    #[test]
    fn what_no_host_can_have() {
        for (text, error) in [
            ("", "\"\" is no IP address"),
            ("gateway", "\"gateway\" is no IP address"),
            ("192.168.1", "\"192.168.1\" is no IP address"),
            ("192.168.1.1:80", "\"192.168.1.1:80\" is no IP address"),
            ("fe80::1%eth0", "\"fe80::1%eth0\" names an interface"),
            ("10.0.0.1/", "\"10.0.0.1/\" has no number after the slash"),
            (
                "10.0.0.1/255.0.0.0",
                "\"10.0.0.1/255.0.0.0\" has no number after the slash",
            ),
            (
                "10.0.0.1/33",
                "the prefix length of an IPv4 address must be 1 to 32, not 33",
            ),
            (
                "10.0.0.1/0",
                "the prefix length of an IPv4 address must be 1 to 32, not 0",
            ),
            (
                "2001:db8::1/129",
                "the prefix length of an IPv6 address must be 1 to 128, not 129",
            ),
            (
                "2001:db8::1/999",
                "the prefix length of an IPv6 address must be 1 to 128, not 999",
            ),
            ("0.0.0.0", "0.0.0.0 is the unspecified address"),
            ("::", ":: is the unspecified address"),
            ("127.0.0.1/8", "127.0.0.1 is a loopback address"),
            ("::1", "::1 is a loopback address"),
            ("224.0.0.18", "224.0.0.18 is a multicast address"),
            ("ff02::12", "ff02::12 is a multicast address"),
            (
                "255.255.255.255",
                "255.255.255.255 is the broadcast address",
            ),
            (
                "::ffff:10.0.0.1",
                "::ffff:10.0.0.1 is an IPv4 address in IPv6 dress",
            ),
            (
                "10.0.0.0/24",
                "10.0.0.0/24 is the network address of 10.0.0.0/24, not a host",
            ),
            (
                "10.0.0.255/24",
                "10.0.0.255/24 is the broadcast address of 10.0.0.0/24, not a host",
            ),
            (
                "2001:db8::/64",
                "2001:db8::/64 is the subnet-router anycast address of 2001:db8::/64, not a host",
            ),
        ] {
            assert_eq!(host_prefix(text).unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn networks() {
        let prefix = |text| host_prefix(text).unwrap();
        let has = |net, host: &str| contains(prefix(net), host.parse().unwrap());
        assert!(has("192.168.1.2/24", "192.168.1.200"));
        assert!(!has("192.168.1.2/24", "192.168.2.200"));
        assert!(!has("192.168.1.2/24", "2001:db8::1"));
        assert!(has("2001:db8::2/64", "2001:db8::1"));
        assert!(has("10.0.0.1/32", "10.0.0.1"));
        let everything = Prefix {
            len: 0,
            ..prefix("10.0.0.1")
        };
        assert!(contains(everything, "192.0.2.1".parse().unwrap()));
    }
}
