//! A host of the lab: a namespace with one interface, `eth0`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::netns::Netns;
use super::process::Process;

/// The interface of every host.
pub const INTERFACE: &str = "eth0";

/// A hardware address.
pub type Mac = [u8; 6];

/// A host.
#[derive(Debug)]
pub struct Node {
    /// Its name in the lab, also that of its port on the switch.
    pub name: &'static str,
    /// Its number: the last part of its addresses, and how it signs echoes.
    pub id: u8,
    /// Its namespace.
    pub netns: Netns,
    pub(super) folder: PathBuf,
    pub(super) pins: PathBuf,
}

impl Node {
    /// Its IPv4 address.
    pub fn ipv4(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, self.id)
    }

    /// Its global IPv6 address.
    pub fn ipv6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, u16::from(self.id))
    }

    /// Its link-local IPv6 address.
    pub fn link_local(&self) -> Ipv6Addr {
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0x77, u16::from(self.id))
    }

    /// Its hardware address.
    pub fn mac(&self) -> Mac {
        [0x02, 0x77, 0, 0, 0, self.id]
    }

    /// A folder of its own for configuration, sockets and logs, removed with the lab.
    pub fn folder(&self) -> &PathBuf {
        &self.folder
    }

    /// A folder of its own on the BPF file system, removed with the lab; whoever pins makes it.
    pub fn pins(&self) -> &PathBuf {
        &self.pins
    }

    /// Starts a command here, its output in `NAME.log` of the node's folder.
    pub fn spawn(&self, name: &str, command: Command) -> Result<Process> {
        Process::spawn(
            &self.netns,
            command,
            &self.folder.join(format!("{name}.log")),
        )
    }

    /// Whether the kernel has this address on one of its interfaces.
    pub fn holds(&self, address: IpAddr) -> bool {
        let scope = match address {
            IpAddr::V6(a) if a.is_unicast_link_local() => self.ifindex().unwrap_or(0),
            _ => 0,
        };
        let target = match address {
            IpAddr::V4(_) => SocketAddr::new(address, 0),
            IpAddr::V6(a) => std::net::SocketAddrV6::new(a, 0, 0, scope).into(),
        };
        self.netns
            .within(|| UdpSocket::bind(target).is_ok())
            .unwrap_or(false)
    }

    /// The index of its interface.
    pub fn ifindex(&self) -> Result<u32> {
        self.netns
            .within(|| super::packet::ifindex(INTERFACE))?
            .with_context(|| format!("{INTERFACE} in {}", self.netns.name()))
    }

    /// The id and mode of the XDP program on its interface, as `ip` tells them: mode 1 is
    /// native, 2 generic.
    pub fn xdp(&self) -> Result<Option<(u64, u64)>> {
        let text = self.netns.ip(&["-j", "link", "show", "dev", INTERFACE])?;
        let links: serde_json::Value = serde_json::from_str(&text)?;
        let xdp = &links[0]["xdp"];
        Ok(xdp["prog"]["id"]
            .as_u64()
            .map(|id| (id, xdp["mode"].as_u64().unwrap_or(0))))
    }

    /// Removes an address by hand, as an operator or a dead daemon's successor would.
    pub fn remove_address(&self, prefix: &str) -> Result<()> {
        self.netns
            .ip(&["address", "delete", prefix, "dev", INTERFACE])
            .map(drop)
    }

    /// Adds an address by hand.
    pub fn add_address(&self, prefix: &str) -> Result<()> {
        self.netns
            .ip(&["address", "replace", prefix, "dev", INTERFACE])
            .map(drop)
    }
}
