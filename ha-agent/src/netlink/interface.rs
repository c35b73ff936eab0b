//! An interface and its addresses.

use std::fs;
use std::net::IpAddr;

use crate::config::model::Scope;
use crate::vrrp::types::{Family, Prefix, family_of};

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its index: another one each time it is created.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its Ethernet address; `None` when it has none (a tunnel).
    pub mac: Option<[u8; 6]>,
    /// Administratively up, with carrier, and operational.
    pub up: bool,
    /// The kernel's word for what it is, as `ip -details link` shows it (`vlan`, `veth`, `bond`);
    /// `None` for a physical device.
    pub kind: Option<String>,
    /// Its addresses, in the kernel's order: of an IPv4 subnet the primary one first.
    pub addresses: Vec<Address>,
}

/// An address on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Address and prefix length.
    pub prefix: Prefix,
    /// Scope; `None` for one that has no name here.
    pub scope: Option<Scope>,
    /// Not the first address of its IPv4 subnet; for IPv6 a temporary address (RFC 8981).
    pub secondary: bool,
    /// Has no end of life.
    pub permanent: bool,
    /// IPv6: duplicate address detection is not over, or failed; nothing can be sent from it.
    pub tentative: bool,
    /// Put there by this program, this run or another (Linux 5.18; `false` on older kernels).
    pub ours: bool,
}

/// The address that advertisements of `family` leave from: the primary address of RFC 9568 §1.7.
///
/// IPv4: the first address that is not in `exclude` (the virtual ones), of the widest scope,
/// primary before secondary, never of scope host. IPv6: the first link-local one that is not in
/// `exclude` and not tentative (RFC 9568 §5.1.2.1).
#[must_use]
pub fn primary_address(
    interface: &Interface,
    family: Family,
    exclude: &[IpAddr],
) -> Option<IpAddr> {
    let candidates = interface
        .addresses
        .iter()
        .filter(|a| family_of(a.prefix.address) == family && !exclude.contains(&a.prefix.address));
    match family {
        Family::Ipv4 => candidates
            .filter(|a| a.scope != Some(Scope::Host))
            .min_by_key(|a| {
                let scope = match a.scope {
                    Some(Scope::Global) => 0,
                    Some(Scope::Site) => 1,
                    None => 2,
                    Some(Scope::Link | Scope::Host) => 3,
                };
                (scope, a.secondary)
            })
            .map(|a| a.prefix.address),
        Family::Ipv6 => candidates
            .map(|a| (a, a.prefix.address))
            .find(|(a, address)| {
                let link_local =
                    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
                link_local && !a.tentative
            })
            .map(|(_, address)| address),
    }
}

/// Whether this node routes IPv6 that arrives on the interface, in the network namespace of the
/// calling thread; `false` when it cannot be told.
#[must_use]
pub fn ipv6_forwarding(ifname: &str) -> bool {
    fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{ifname}/forwarding"))
        .is_ok_and(|value| value.trim() != "0")
}

#[cfg(test)]
mod tests {
    use super::super::testing::address;
    use super::*;

    fn interface(addresses: Vec<Address>) -> Interface {
        Interface {
            index: 2,
            name: "eth0".to_owned(),
            mac: Some([2, 0, 0, 0, 0, 1]),
            up: true,
            kind: None,
            addresses,
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_primary_ipv4_address_is_not_a_virtual_one() {
        let mut secondary = address("10.0.0.3/24", Scope::Global);
        secondary.secondary = true;
        let eth0 = interface(vec![
            address("127.0.0.1/8", Scope::Host),
            address("169.254.0.1/16", Scope::Link),
            secondary,
            address("10.0.0.1/32", Scope::Global),
            address("10.0.0.2/24", Scope::Global),
        ]);
        let primary = |exclude: &[&str]| {
            let exclude: Vec<_> = exclude.iter().map(|a| ip(a)).collect();
            primary_address(&eth0, Family::Ipv4, &exclude).map(|a| a.to_string())
        };
        assert_eq!(primary(&["10.0.0.1"]).as_deref(), Some("10.0.0.2"));
        assert_eq!(
            primary(&["10.0.0.1", "10.0.0.2"]).as_deref(),
            Some("10.0.0.3"),
            "secondary to a virtual address is better than none"
        );
        assert_eq!(
            primary(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]).as_deref(),
            Some("169.254.0.1")
        );
        assert_eq!(primary_address(&eth0, Family::Ipv6, &[]), None);
    }

    #[test]
    fn the_primary_ipv6_address_is_link_local_and_usable() {
        let mut tentative = address("fe80::1/64", Scope::Link);
        tentative.tentative = true;
        let eth0 = interface(vec![
            address("2001:db8::2/64", Scope::Global),
            tentative,
            address("fe80::5/128", Scope::Link),
            address("fe80::2/64", Scope::Link),
        ]);
        assert_eq!(
            primary_address(&eth0, Family::Ipv6, &[ip("fe80::5")]),
            Some(ip("fe80::2"))
        );
        assert_eq!(
            primary_address(&eth0, Family::Ipv6, &[ip("fe80::5"), ip("fe80::2")]),
            None
        );
    }
}
