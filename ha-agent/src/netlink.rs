//! Interfaces and addresses: what the kernel has, and the virtual addresses this agent puts there.
//!
//! Owns two rtnetlink sockets. `events` is subscribed to link and address changes before the
//! first dump, so that nothing is missed; what the kernel could not queue (`ENOBUFS`) is made up
//! for by dumping again. `requests` carries additions and removals, one at a time.
//!
//! Deviates from the usual connection task with unbounded channels (`rtnetlink`) because the
//! kernel's socket buffer is a bound and its overrun a signal, because a request whose
//! connection died must fail rather than end in silence, and because a dump that the kernel
//! calls inconsistent must be repeated. Messages are those of `netlink-packet-route`, except
//! links: of their two hundred attributes three are needed, and an unknown form of another one
//! (virtual functions, switch ports) must not make an interface invisible.
//!
//! Source: `rtnetlink(7)`, `netlink(7)`, RFC 9568 §1.7 (primary address).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::Path;

use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR,
    NetlinkBuffer, NetlinkMessage, NlasIterator, Parseable,
};
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol,
    AddressScope, CacheInfo,
};
use rtnetlink::packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, SocketType};
use tokio::io::unix::AsyncFd;

use crate::config::model::{Scope, VirtualAddress};
use crate::sys;
use crate::vrrp::types::{Family, Prefix, family_of};

/// Multicast groups as the bind mask counts them: RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR,
/// RTNLGRP_IPV6_IFADDR.
const GROUPS: u32 = 1 << 0 | 1 << 4 | 1 << 8;
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
/// `NLM_F_DUMP_INTR`: the tables changed under the dump, entries may be missing.
const DUMP_INTERRUPTED: u16 = 0x10;
/// Administratively up (IFF_UP), operational state up or unknown (IFF_RUNNING), carrier
/// (IFF_LOWER_UP).
const WORKING: u32 = 1 << 0 | 1 << 6 | 1 << 16;
/// A dump arrives in pieces of at most 32 KiB (`netlink_dump` in the kernel); an event is smaller.
const BUFFER_LEN: usize = 64 << 10;
/// Receive buffer of `events`, in bytes: some 4000 events, all links of a large host at once.
const EVENTS_BUFFER: usize = 4 << 20;
/// Datagrams of events taken by one call of [`Netlink::changed`], so that a storm of them cannot
/// keep it from returning.
const BATCH: usize = 1024;
/// How often a dump is repeated because the tables changed under it.
const DUMP_ATTEMPTS: usize = 16;
/// Marks addresses as this agent's (`IFA_PROTO`, Linux 5.18; older kernels ignore it). The
/// registry in iproute2's `rt_addrprotos` ends at 3; 112 is VRRP's protocol number.
const ADDRESS_PROTOCOL: u8 = 112;
/// Lifetime of an address that does not end.
const FOREVER: u32 = u32::MAX;

/// A failure, naming its object.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A socket could not be opened.
    #[error("netlink: open")]
    Open(#[source] io::Error),
    /// A dump failed.
    #[error("netlink: list {what}")]
    List {
        /// `links` or `addresses`.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Events cannot be received.
    #[error("netlink: receive events")]
    Events(#[source] io::Error),
    /// An address could not be added.
    #[error("netlink: add {prefix} on {interface}")]
    Add {
        /// The address.
        prefix: Prefix,
        /// Name of the interface, or its index when it is not known.
        interface: String,
        /// Why.
        source: io::Error,
    },
    /// An address could not be removed.
    #[error("netlink: remove {prefix} on {interface}")]
    Remove {
        /// The address.
        prefix: Prefix,
        /// Name of the interface, or its index when it is not known.
        interface: String,
        /// Why.
        source: io::Error,
    },
}

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

/// What [`Netlink::changed`] reports. It is already visible in [`Netlink::interfaces`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// The interface of this name appeared, vanished, was renamed or created anew, went up or
    /// down, changed its MAC address, or had an address added or changed.
    Interface(String),
    /// An address is gone, whoever removed it, this agent included.
    AddressGone {
        /// The interface, which may be gone too.
        ifindex: u32,
        /// The address.
        address: IpAddr,
    },
}

/// How [`Netlink::add`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// The address was added.
    New,
    /// It was there already; it was left as it is.
    Existed,
}

/// The kernel's interfaces and addresses, in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Netlink {
    events: AsyncFd<OwnedFd>,
    requests: Requests,
    view: View,
    pending: Changes,
    /// Events were lost: the view is to be read anew.
    stale: bool,
    buffer: Box<[u8]>,
}

impl Netlink {
    /// Subscribes to changes, then reads all interfaces and addresses. To be called on a tokio
    /// runtime with I/O enabled.
    ///
    /// # Errors
    /// Out of descriptors or memory, or a dump that never settled.
    pub async fn open() -> Result<Self, Error> {
        let events = socket(GROUPS).map_err(Error::Open)?;
        // Beyond net.core.rmem_max with CAP_NET_ADMIN; without, overruns are only more likely.
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(&events, EVENTS_BUFFER);
        let mut netlink = Self {
            events: sys::watch(events).map_err(Error::Open)?,
            requests: Requests::open().map_err(Error::Open)?,
            view: View::default(),
            pending: Changes::default(),
            stale: false,
            buffer: vec![0; BUFFER_LEN].into_boxed_slice(),
        };
        netlink.view = View::dump().await?;
        Ok(netlink)
    }

    /// All interfaces, by index.
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        &self.view.interfaces
    }

    /// The interface of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Interface> {
        self.view.interfaces.iter().find(|i| i.name == name)
    }

    /// The interface of this index.
    #[must_use]
    pub fn get_index(&self, ifindex: u32) -> Option<&Interface> {
        self.view.get(ifindex)
    }

    /// Waits until something changed, and reports everything that has: never an empty list, each
    /// change once. What was undone in the meantime (an address removed and added again) is not
    /// reported as gone.
    ///
    /// Cancel-safe: what was not returned is returned by the next call.
    ///
    /// # Errors
    /// Events can no longer be received, or could not be made up for after an overrun; the next
    /// call tries again.
    pub async fn changed(&mut self) -> Result<Vec<Change>, Error> {
        loop {
            if self.stale {
                // What is queued is older than the dump and has gaps: an addition whose removal
                // was lost would outlive the truth.
                discard(self.events.get_ref()).map_err(Error::Events)?;
                let view = View::dump().await?;
                self.view.compare(&view, &mut self.pending);
                self.view = view;
                self.stale = false;
            } else if self.pending.is_empty() {
                let mut ready = self.events.readable().await.map_err(Error::Events)?;
                let received = receive(
                    self.events.get_ref(),
                    &mut self.buffer,
                    &mut self.view,
                    &mut self.pending,
                );
                match received {
                    Received::All => ready.clear_ready(),
                    Received::More => {}
                    Received::Lost => {
                        self.stale = true;
                        continue;
                    }
                    Received::Failed(e) => return Err(Error::Events(e)),
                }
            }
            let changes = self.pending.take(&self.view);
            if !changes.is_empty() {
                return Ok(changes);
            }
        }
    }

    /// Puts a virtual address on an interface. One that is there already is a success.
    ///
    /// IPv6 is added without duplicate address detection: it is usable at once, and a virtual
    /// address is a duplicate by design while two routers change roles. As with keepalived, an
    /// IPv6 address with prefix length 128 is added as deprecated (RFC 6724 §5 rule 3), so that
    /// this node does not choose it as the source of its own connections.
    ///
    /// Not cancel-safe in that the address may or may not be there afterwards; another call is
    /// always right.
    ///
    /// # Errors
    /// No `CAP_NET_ADMIN`, the interface is gone, IPv6 is disabled on it.
    pub async fn add(&mut self, ifindex: u32, address: &VirtualAddress) -> Result<Added, Error> {
        let message = RouteNetlinkMessage::NewAddress(new_address(ifindex, address));
        match self.requests.ask(message, NLM_F_CREATE | NLM_F_EXCL).await {
            Ok(()) => Ok(Added::New),
            Err(e) if e.raw_os_error() == Some(libc::EEXIST) => Ok(Added::Existed),
            Err(source) => Err(Error::Add {
                prefix: address.prefix,
                interface: self.name_of(ifindex),
                source,
            }),
        }
    }

    /// Takes an address off an interface. One that is not there, or whose interface is gone, is
    /// a success.
    ///
    /// An IPv4 address that is the primary one of its subnet takes the secondary ones with it
    /// unless `promote_secondaries` is set; those are reported by [`Netlink::changed`].
    ///
    /// Not cancel-safe in that the address may or may not be there afterwards; another call is
    /// always right.
    ///
    /// # Errors
    /// No `CAP_NET_ADMIN`.
    pub async fn remove(&mut self, ifindex: u32, prefix: &Prefix) -> Result<(), Error> {
        let message = RouteNetlinkMessage::DelAddress(address_message(ifindex, prefix));
        match self.requests.ask(message, 0).await {
            Ok(()) => Ok(()),
            Err(e) if matches!(e.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::ENODEV)) => {
                Ok(())
            }
            Err(source) => Err(Error::Remove {
                prefix: *prefix,
                interface: self.name_of(ifindex),
                source,
            }),
        }
    }

    fn name_of(&self, ifindex: u32) -> String {
        self.get_index(ifindex)
            .map_or_else(|| format!("interface {ifindex}"), |i| i.name.clone())
    }
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

/// The virtual addresses this agent holds, on file, so that a successor knows what a process that
/// died left behind.
///
/// An address is recorded before it is added and struck off after it was removed: the record
/// never holds too little.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record(BTreeSet<Held>);

/// An address of a [`Record`]; on file `{"interface": "eth0", "address": "192.0.2.1/32"}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// Name of the interface: an index would mean another interface after a reboot.
    pub interface: String,
    /// Address and prefix length.
    #[serde(rename = "address", with = "prefix_text")]
    pub prefix: Prefix,
}

impl Record {
    /// Name of the file in the run directory.
    pub const FILE: &'static str = "addresses.json";

    /// Reads the record in `run_dir`; without a file it is empty.
    ///
    /// # Errors
    /// The file cannot be read, or is not a record (`InvalidData`).
    pub fn load(run_dir: &Path) -> io::Result<Self> {
        match fs::read(run_dir.join(Self::FILE)) {
            Ok(text) => Ok(Self(serde_json::from_slice(&text)?)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(e),
        }
    }

    /// Writes the record to `run_dir` as a whole: a reader, or a crash, finds the old one or the
    /// new one. Not synced to disk: what loses the page cache loses the addresses too.
    ///
    /// # Errors
    /// The directory is missing, full or not writable; the old record stays.
    pub fn store(&self, run_dir: &Path) -> io::Result<()> {
        let new = run_dir.join(concat!("addresses.json", ".new"));
        let mut text = serde_json::to_vec_pretty(&self.0)?;
        text.push(b'\n');
        fs::write(&new, text)?;
        fs::rename(new, run_dir.join(Self::FILE))
    }

    /// Notes an address; `true` when it was not there.
    pub fn insert(&mut self, interface: &str, prefix: Prefix) -> bool {
        self.0.insert(Held {
            interface: interface.to_owned(),
            prefix,
        })
    }

    /// Strikes an address off; `true` when it was there.
    pub fn remove(&mut self, interface: &str, prefix: Prefix) -> bool {
        self.0.remove(&Held {
            interface: interface.to_owned(),
            prefix,
        })
    }

    /// What is held, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Held> {
        self.0.iter()
    }

    /// Nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

mod prefix_text {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    use super::{IpAddr, Prefix};

    pub(super) fn serialize<S: Serializer>(prefix: &Prefix, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(prefix)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Prefix, D::Error> {
        let text = String::deserialize(from)?;
        parse(&text).ok_or_else(|| D::Error::custom(format_args!("not an address/length: {text}")))
    }

    fn parse(text: &str) -> Option<Prefix> {
        let (address, len) = text.split_once('/')?;
        let prefix = Prefix {
            address: address.parse().ok()?,
            len: len.parse().ok()?,
        };
        let max = match prefix.address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        (prefix.len <= max).then_some(prefix)
    }
}

fn address_message(ifindex: u32, prefix: &Prefix) -> AddressMessage {
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

fn new_address(ifindex: u32, address: &VirtualAddress) -> AddressMessage {
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

fn socket(groups: u32) -> io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
        None,
    )?;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

/// Receives one datagram from the kernel. `NOBUFS`: datagrams were lost.
fn receive_from_kernel<'b>(socket: &OwnedFd, buffer: &'b mut [u8]) -> Result<&'b [u8], Errno> {
    loop {
        let received =
            rustix::net::recvfrom(socket, &mut *buffer, RecvFlags::DONTWAIT | RecvFlags::TRUNC);
        let (_, len, from) = match received {
            Err(Errno::INTR) => continue,
            received => received?,
        };
        // Another process may send to this socket too (CAP_NET_ADMIN); only port 0 is the kernel.
        let port = from.and_then(|from| SocketAddrNetlink::try_from(from).ok());
        if port.is_none_or(|from| from.pid() != 0) {
            continue;
        }
        return buffer.get(..len).ok_or(Errno::NOBUFS);
    }
}

/// The messages of one datagram. What follows a malformed one is not looked at.
fn messages(mut datagram: &[u8]) -> impl Iterator<Item = NetlinkBuffer<&[u8]>> {
    std::iter::from_fn(move || {
        let message = NetlinkBuffer::new_checked(datagram).ok()?;
        let len = (message.length() as usize).next_multiple_of(4);
        datagram = datagram.get(len..).unwrap_or(&[]);
        Some(message)
    })
}

/// A socket for requests, answered one after the other.
#[derive(Debug)]
struct Requests {
    socket: AsyncFd<OwnedFd>,
    sequence: u32,
}

impl Requests {
    fn open() -> io::Result<Self> {
        Ok(Self {
            socket: sys::watch(socket(0)?)?,
            sequence: 0,
        })
    }

    /// Sends a request and waits for its acknowledgement. Answers to earlier requests, whose
    /// callers went away, are skipped.
    async fn ask(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.send(message, NLM_F_ACK | flags)?;
        let mut buffer = vec![0; 4096];
        loop {
            let datagram = self.receive(&mut buffer).await?;
            for answer in messages(datagram) {
                if answer.sequence_number() == self.sequence && answer.message_type() == NLMSG_ERROR
                {
                    return error_of(answer.payload());
                }
            }
        }
    }

    /// Sends a dump request and feeds its answers to `each`; `true` when they are consistent.
    async fn dump(
        &mut self,
        message: RouteNetlinkMessage,
        mut each: impl FnMut(Event),
    ) -> io::Result<bool> {
        self.send(message, NLM_F_DUMP)?;
        let mut buffer = vec![0; BUFFER_LEN];
        let mut consistent = true;
        loop {
            let datagram = self.receive(&mut buffer).await?;
            for answer in messages(datagram) {
                if answer.sequence_number() != self.sequence {
                    continue;
                }
                consistent &= answer.flags() & DUMP_INTERRUPTED == 0;
                match answer.message_type() {
                    // Its payload has the form of an error's: a code, zero for success.
                    NLMSG_DONE | NLMSG_ERROR => {
                        return error_of(answer.payload()).map(|()| consistent);
                    }
                    kind => {
                        if let Some(event) = Event::parse(kind, answer.payload()) {
                            each(event);
                        }
                    }
                }
            }
        }
    }

    /// The kernel works on a request within this call (or, for a dump, within the calls that
    /// receive); it queues nothing, so there is nothing to wait for.
    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(message);
        message.header.flags = NLM_F_REQUEST | flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let mut buffer = vec![0; message.buffer_len()];
        message.serialize(&mut buffer);
        let kernel = SocketAddrNetlink::new(0, 0);
        rustix::io::retry_on_intr(|| {
            rustix::net::sendto(self.socket.get_ref(), &buffer, SendFlags::DONTWAIT, &kernel)
        })?;
        Ok(())
    }

    async fn receive<'b>(&self, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
        let len = self
            .socket
            .async_io(tokio::io::Interest::READABLE, |socket| {
                Ok(receive_from_kernel(socket, buffer)?.len())
            })
            .await?;
        Ok(&buffer[..len])
    }
}

/// The outcome in an error message: a negative errno, or zero for success.
fn error_of(payload: &[u8]) -> io::Result<()> {
    match payload.first_chunk().map(|code| i32::from_ne_bytes(*code)) {
        Some(code) if code < 0 => Err(io::Error::from_raw_os_error(-code)),
        _ => Ok(()),
    }
}

/// One message about a link or an address.
#[derive(Debug)]
enum Event {
    Link(Link),
    LinkGone { index: u32 },
    Address { index: u32, address: Address },
    AddressGone { index: u32, prefix: Prefix },
}

#[derive(Debug)]
struct Link {
    index: u32,
    name: String,
    mac: Option<[u8; 6]>,
    up: bool,
    kind: Option<String>,
}

impl Event {
    /// `None`: about something else, or malformed.
    fn parse(kind: u16, payload: &[u8]) -> Option<Self> {
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

/// What came of taking events from the socket.
enum Received {
    /// All there were.
    All,
    /// As many as one batch takes.
    More,
    /// The kernel dropped some.
    Lost,
    Failed(io::Error),
}

fn receive(
    socket: &OwnedFd,
    buffer: &mut [u8],
    view: &mut View,
    changes: &mut Changes,
) -> Received {
    for _ in 0..BATCH {
        match receive_from_kernel(socket, buffer) {
            Ok(datagram) => {
                for message in messages(datagram) {
                    if let Some(event) = Event::parse(message.message_type(), message.payload()) {
                        view.apply(event, changes);
                    }
                }
            }
            Err(Errno::WOULDBLOCK) => return Received::All,
            Err(Errno::NOBUFS) => return Received::Lost,
            Err(e) => return Received::Failed(e.into()),
        }
    }
    Received::More
}

/// Throws away what is queued.
fn discard(socket: &OwnedFd) -> io::Result<()> {
    let mut byte = [0];
    loop {
        match rustix::net::recv(socket, &mut byte[..], RecvFlags::DONTWAIT) {
            Ok(_) | Err(Errno::NOBUFS | Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) => return Ok(()),
            Err(e) => return Err(e.into()),
        }
    }
}

/// The interfaces as events and dumps tell of them, by index. Pure but for [`View::dump`].
#[derive(Debug, Default)]
struct View {
    interfaces: Vec<Interface>,
}

impl View {
    /// Reads everything, on a socket of its own: a dump that was given up half-way leaves the
    /// rest of its answers, and the kernel's refusal to begin another, behind.
    async fn dump() -> Result<Self, Error> {
        for _ in 0..DUMP_ATTEMPTS {
            let mut requests = Requests::open().map_err(Error::Open)?;
            let mut view = Self::default();
            let mut ignored = Changes::default();
            let mut links = LinkMessage::default();
            links
                .attributes
                .push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
            let links = requests
                .dump(RouteNetlinkMessage::GetLink(links), |event| {
                    view.apply(event, &mut ignored);
                })
                .await
                .map_err(|source| Error::List {
                    what: "links",
                    source,
                })?;
            let addresses = requests
                .dump(
                    RouteNetlinkMessage::GetAddress(AddressMessage::default()),
                    |event| view.apply(event, &mut ignored),
                )
                .await
                .map_err(|source| Error::List {
                    what: "addresses",
                    source,
                })?;
            if links && addresses {
                return Ok(view);
            }
        }
        Err(Error::List {
            what: "links and addresses",
            source: Errno::AGAIN.into(),
        })
    }

    fn position(&self, index: u32) -> Result<usize, usize> {
        self.interfaces.binary_search_by_key(&index, |i| i.index)
    }

    fn get(&self, index: u32) -> Option<&Interface> {
        self.position(index).ok().map(|at| &self.interfaces[at])
    }

    fn get_mut(&mut self, index: u32) -> Option<&mut Interface> {
        self.position(index).ok().map(|at| &mut self.interfaces[at])
    }

    fn apply(&mut self, event: Event, changes: &mut Changes) {
        match event {
            Event::Link(link) => self.link(link, changes),
            Event::LinkGone { index } => {
                if let Ok(at) = self.position(index) {
                    let gone = self.interfaces.remove(at);
                    changes.vanished(&gone);
                }
            }
            Event::Address { index, address } => {
                // An address of an interface that is not known: its link message was before the
                // dump, and it is gone since.
                let Some(interface) = self.get_mut(index) else {
                    return;
                };
                let known = interface
                    .addresses
                    .iter_mut()
                    .find(|a| a.prefix == address.prefix);
                match known {
                    Some(known) if *known == address => return,
                    Some(known) => *known = address,
                    None => interface.addresses.push(address),
                }
                changes.interfaces.insert(interface.name.clone());
            }
            Event::AddressGone { index, prefix } => {
                let Some(interface) = self.get_mut(index) else {
                    return;
                };
                let before = interface.addresses.len();
                interface.addresses.retain(|a| a.prefix != prefix);
                if interface.addresses.len() < before {
                    changes.gone.insert((index, prefix.address));
                }
            }
        }
    }

    fn link(&mut self, link: Link, changes: &mut Changes) {
        let Link {
            index,
            name,
            mac,
            up,
            kind,
        } = link;
        match self.position(index) {
            Err(at) => {
                changes.interfaces.insert(name.clone());
                let interface = Interface {
                    index,
                    name,
                    mac,
                    up,
                    kind,
                    addresses: Vec::new(),
                };
                self.interfaces.insert(at, interface);
            }
            Ok(at) => {
                let known = &mut self.interfaces[at];
                let same =
                    known.name == name && known.mac == mac && known.up == up && known.kind == kind;
                if same {
                    return;
                }
                changes.interfaces.insert(name.clone());
                changes
                    .interfaces
                    .insert(std::mem::replace(&mut known.name, name));
                known.mac = mac;
                known.up = up;
                known.kind = kind;
            }
        }
    }

    /// Notes what is different in `new`.
    fn compare(&self, new: &Self, changes: &mut Changes) {
        for old in &self.interfaces {
            match new.get(old.index) {
                None => changes.vanished(old),
                Some(now) if now == old => {}
                Some(now) => {
                    changes.interfaces.insert(old.name.clone());
                    changes.interfaces.insert(now.name.clone());
                    for address in &old.addresses {
                        changes.gone.insert((old.index, address.prefix.address));
                    }
                }
            }
        }
        for now in &new.interfaces {
            if self.get(now.index).is_none() {
                changes.interfaces.insert(now.name.clone());
            }
        }
    }
}

/// Changes not yet reported.
#[derive(Debug, Default)]
struct Changes {
    interfaces: BTreeSet<String>,
    /// Addresses removed; those that are there again are left out when they are taken.
    gone: BTreeSet<(u32, IpAddr)>,
}

impl Changes {
    fn vanished(&mut self, interface: &Interface) {
        self.interfaces.insert(interface.name.clone());
        for address in &interface.addresses {
            self.gone.insert((interface.index, address.prefix.address));
        }
    }

    fn is_empty(&self) -> bool {
        self.interfaces.is_empty() && self.gone.is_empty()
    }

    fn take(&mut self, view: &View) -> Vec<Change> {
        let interfaces = std::mem::take(&mut self.interfaces)
            .into_iter()
            .map(Change::Interface);
        let gone = std::mem::take(&mut self.gone)
            .into_iter()
            .filter(|(ifindex, address)| {
                view.get(*ifindex)
                    .is_none_or(|i| i.addresses.iter().all(|a| a.prefix.address != *address))
            })
            .map(|(ifindex, address)| Change::AddressGone { ifindex, address });
        interfaces.chain(gone).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str, scope: Scope) -> Address {
        let (address, len) = text.split_once('/').unwrap();
        Address {
            prefix: Prefix {
                address: address.parse().unwrap(),
                len: len.parse().unwrap(),
            },
            scope: Some(scope),
            secondary: false,
            permanent: true,
            tentative: false,
            ours: false,
        }
    }

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

    #[test]
    fn the_record_comes_back_as_it_was_stored() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Record::load(dir.path()).unwrap(), Record::default());
        let mut record = Record::default();
        assert!(record.insert("eth0", address("10.0.0.1/32", Scope::Global).prefix));
        assert!(record.insert("eth0", address("2001:db8::1/128", Scope::Global).prefix));
        assert!(!record.insert("eth0", address("10.0.0.1/32", Scope::Global).prefix));
        record.store(dir.path()).unwrap();
        assert_eq!(Record::load(dir.path()).unwrap(), record);
        let text = fs::read_to_string(dir.path().join(Record::FILE)).unwrap();
        assert!(text.contains(r#""address": "10.0.0.1/32""#), "{text}");
        assert!(record.remove("eth0", address("10.0.0.1/32", Scope::Global).prefix));
        assert!(!record.remove("eth1", address("2001:db8::1/128", Scope::Global).prefix));
        record.store(dir.path()).unwrap();
        assert_eq!(Record::load(dir.path()).unwrap().iter().count(), 1);
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "nothing left over"
        );
    }

    #[test]
    fn a_broken_record_is_an_error_and_not_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        for broken in [
            "",
            "{}",
            r#"[{"interface":"eth0","address":"10.0.0.1"}]"#,
            r#"[{"interface":"eth0","address":"10.0.0.1/33"}]"#,
            r#"[{"interface":"eth0"}]"#,
        ] {
            fs::write(dir.path().join(Record::FILE), broken).unwrap();
            assert!(Record::load(dir.path()).is_err(), "{broken}");
        }
    }

    fn link(index: u32, name: &str, up: bool) -> Event {
        Event::Link(Link {
            index,
            name: name.to_owned(),
            mac: None,
            up,
            kind: None,
        })
    }

    fn apply(view: &mut View, events: Vec<Event>) -> Vec<Change> {
        let mut changes = Changes::default();
        for event in events {
            view.apply(event, &mut changes);
        }
        changes.take(view)
    }

    #[test]
    fn only_what_is_different_is_a_change() {
        let mut view = View::default();
        let eth0 = || Change::Interface("eth0".to_owned());
        assert_eq!(apply(&mut view, vec![link(2, "eth0", true)]), [eth0()]);
        assert_eq!(apply(&mut view, vec![link(2, "eth0", true)]), []);
        // Down and up again within one batch: it may have lost addresses.
        let flap = vec![link(2, "eth0", false), link(2, "eth0", true)];
        assert_eq!(apply(&mut view, flap), [eth0()]);
        let renamed = apply(&mut view, vec![link(2, "wan", true)]);
        assert_eq!(renamed, [eth0(), Change::Interface("wan".to_owned())]);
    }

    #[test]
    fn an_address_removed_and_added_again_is_not_gone() {
        let vip = address("10.0.0.1/32", Scope::Global);
        let add = || Event::Address {
            index: 2,
            address: vip,
        };
        let remove = || Event::AddressGone {
            index: 2,
            prefix: vip.prefix,
        };
        let gone = Change::AddressGone {
            ifindex: 2,
            address: vip.prefix.address,
        };
        let mut view = View::default();
        apply(&mut view, vec![link(2, "eth0", true), add()]);
        assert_eq!(apply(&mut view, vec![add()]), []);
        assert_eq!(
            apply(&mut view, vec![remove(), add()]),
            [Change::Interface("eth0".to_owned())]
        );
        assert_eq!(
            apply(&mut view, vec![remove()]),
            std::slice::from_ref(&gone)
        );
        assert_eq!(apply(&mut view, vec![remove()]), []);
        apply(&mut view, vec![add()]);
        assert_eq!(
            apply(&mut view, vec![Event::LinkGone { index: 2 }]),
            [Change::Interface("eth0".to_owned()), gone]
        );
    }

    #[test]
    fn a_dump_after_an_overrun_tells_what_was_missed() {
        let vip = address("10.0.0.1/32", Scope::Global);
        let mut old = View::default();
        let events = vec![
            link(2, "eth0", true),
            Event::Address {
                index: 2,
                address: vip,
            },
            link(3, "eth1", true),
            link(4, "eth2", true),
        ];
        apply(&mut old, events);
        let mut new = View::default();
        let events = vec![
            link(2, "eth0", true),
            link(3, "eth1", true),
            link(9, "eth2", true),
        ];
        apply(&mut new, events);
        let mut changes = Changes::default();
        old.compare(&new, &mut changes);
        assert_eq!(
            changes.take(&new),
            [
                Change::Interface("eth0".to_owned()),
                Change::Interface("eth2".to_owned()),
                Change::AddressGone {
                    ifindex: 2,
                    address: vip.prefix.address
                },
            ]
        );
    }

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

    #[test]
    fn datagrams_are_taken_apart_and_malformed_ones_end() {
        let mut datagram = Vec::new();
        for sequence in 1..=2u32 {
            datagram.extend(20u32.to_ne_bytes());
            datagram.extend(NLMSG_ERROR.to_ne_bytes());
            datagram.extend(0u16.to_ne_bytes());
            datagram.extend(sequence.to_ne_bytes());
            datagram.extend(0u32.to_ne_bytes());
            datagram.extend((-libc::EPERM).to_ne_bytes());
        }
        let sequences: Vec<u32> = messages(&datagram).map(|m| m.sequence_number()).collect();
        assert_eq!(sequences, [1, 2]);
        let refused = error_of(messages(&datagram).next().unwrap().payload()).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
        for len in 0..datagram.len() {
            let _ = messages(&datagram[..len]).count();
        }
    }

    #[test]
    fn errors_name_their_object() {
        let error = Error::Add {
            prefix: address("10.0.0.1/32", Scope::Global).prefix,
            interface: "eth0".to_owned(),
            source: io::Error::from_raw_os_error(libc::EPERM),
        };
        assert_eq!(error.to_string(), "netlink: add 10.0.0.1/32 on eth0");
        let source = std::error::Error::source(&error).unwrap();
        assert!(source.to_string().starts_with("Operation not permitted"));
    }
}
