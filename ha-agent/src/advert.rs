//! Sockets for advertisements: IP protocol 112, one [`Sender`] per virtual router, and a
//! [`Receiver`] for interfaces without the XDP program (`xdp = off`).
//!
//! Owns the sockets and their options. What a message says is `vrrp::packet`'s business, whether
//! a frame is a valid advertisement `ha_common::vrrp::judge`'s. Everything here is non-blocking
//! and allocates nothing once it is open: it runs on the election thread.
//!
//! Source: RFC 9568 §5.1 (IP field descriptions), `raw(7)`, `packet(7)`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, BorrowedFd};

use ha_common::net::{ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use ha_common::vrrp::{GROUP_IPV4, GROUP_IPV6, IPPROTO_VRRP, VRRP_TTL};
use rustix::net::RecvFlags;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use crate::sys;
use crate::vrrp::types::{Family, family_of};

/// DSCP CS6, network control (RFC 4594 §3.2), in the place of the TOS and traffic class byte.
const TRAFFIC_CLASS: u32 = 0xc0;
/// `TC_PRIO_INTERACTIVE`, the highest band of the default queueing discipline and the highest an
/// unprivileged process may ask for (`socket(7)`, SO_PRIORITY).
const PRIORITY: u32 = 6;
/// Bytes asked for as the receive buffer of a socket that receives nothing; the kernel rounds up
/// to its minimum.
const NO_BUFFER: usize = 1;
/// Frames thrown away by one [`Receiver::drain`]: more than the default receive buffer holds, so
/// that a flood cannot keep the election thread here.
const DRAIN_MAX: usize = 4096;

/// Where advertisements leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Name of the interface.
    pub ifname: String,
    /// Its index.
    pub ifindex: u32,
    /// Source address; it must be on the machine.
    pub source: IpAddr,
    /// To the group; otherwise to unicast peers.
    pub multicast: bool,
}

/// A socket that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket advertisements are sent from.
    #[error("advert: {step} from {source_address} on {ifname}")]
    Sender {
        /// What was tried.
        step: &'static str,
        /// The interface.
        ifname: String,
        /// The source address.
        source_address: IpAddr,
        /// Why it failed.
        source: io::Error,
    },
    /// The socket advertisements are received on.
    #[error("advert: {step} on {ifname}")]
    Receiver {
        /// What was tried.
        step: &'static str,
        /// The interface.
        ifname: String,
        /// Why it failed.
        source: io::Error,
    },
}

/// A raw socket that sends the advertisements of one virtual router.
///
/// It also stands for protocol 112 on this node: while it is open the kernel does not answer
/// unicast advertisements with "protocol unreachable", and when the path is multicast the
/// network card passes the group up. What the kernel would deliver to it is refused by a filter
/// before it costs memory; advertisements arrive through XDP or a [`Receiver`].
///
/// Dropping it leaves the group.
#[derive(Debug)]
pub struct Sender {
    socket: Socket,
    ifindex: u32,
}

impl Sender {
    /// Opens the socket, bound to the interface and the source address.
    ///
    /// # Errors
    /// No `CAP_NET_RAW`, the interface is gone, or the source address is not on this machine
    /// (IPv6: or still tentative).
    pub fn open(path: &Path) -> Result<Self, Error> {
        let fail = |step| {
            move |source| Error::Sender {
                step,
                ifname: path.ifname.clone(),
                source_address: path.source,
                source,
            }
        };
        let family = family_of(path.source);
        let domain = match family {
            Family::Ipv4 => Domain::IPV4,
            Family::Ipv6 => Domain::IPV6,
        };
        let vrrp = Protocol::from(i32::from(IPPROTO_VRRP));
        let socket = Socket::new(domain, Type::RAW.nonblocking(), Some(vrrp))
            .map_err(fail("open a raw socket"))?;
        socket
            .attach_filter(&[RETURN_NONE])
            .map_err(fail("attach the filter"))?;
        socket
            .set_recv_buffer_size(NO_BUFFER)
            .map_err(fail("shrink the receive buffer"))?;
        // A raw socket receives from its creation on: what came in before the filter is dropped.
        let mut byte = [0];
        while rustix::net::recv(&socket, &mut byte[..], RecvFlags::DONTWAIT).is_ok() {}
        socket
            .bind_device(Some(path.ifname.as_bytes()))
            .map_err(fail("bind to the device"))?;
        let sender = Self {
            socket,
            ifindex: path.ifindex,
        };
        sender
            .socket
            .bind(&sender.socket_address(path.source).into())
            .map_err(fail("bind to the source address"))?;
        match family {
            Family::Ipv4 => sender.configure_v4(path.multicast),
            Family::Ipv6 => sender.configure_v6(path.multicast),
        }
        .map_err(fail("set the socket options"))?;
        // After IP_TOS, which sets a priority of its own.
        sender
            .socket
            .set_priority(PRIORITY)
            .map_err(fail("set the priority"))?;
        Ok(sender)
    }

    fn configure_v4(&self, multicast: bool) -> io::Result<()> {
        let socket = &self.socket;
        socket.set_ttl_v4(u32::from(VRRP_TTL))?;
        socket.set_multicast_ttl_v4(u32::from(VRRP_TTL))?;
        socket.set_tos_v4(TRAFFIC_CLASS)?;
        socket.set_multicast_loop_v4(false)?;
        // Only the groups this socket joined, not those of the whole machine.
        socket.set_multicast_all_v4(false)?;
        rustix::net::sockopt::set_ip_multicast_if_with_ifindex(
            socket,
            &Ipv4Addr::UNSPECIFIED,
            &Ipv4Addr::UNSPECIFIED,
            self.ifindex,
        )?;
        if multicast {
            socket.join_multicast_v4_n(
                &Ipv4Addr::from(GROUP_IPV4),
                &socket2::InterfaceIndexOrAddress::Index(self.ifindex),
            )?;
        }
        Ok(())
    }

    /// IPV6_CHECKSUM stays off, the kernel's default for every raw protocol but ICMPv6: the
    /// message carries its checksum.
    fn configure_v6(&self, multicast: bool) -> io::Result<()> {
        let socket = &self.socket;
        socket.set_unicast_hops_v6(u32::from(VRRP_TTL))?;
        socket.set_multicast_hops_v6(u32::from(VRRP_TTL))?;
        socket.set_tclass_v6(TRAFFIC_CLASS)?;
        socket.set_multicast_loop_v6(false)?;
        socket.set_multicast_all_v6(false)?;
        socket.set_multicast_if_v6(self.ifindex)?;
        if multicast {
            socket.join_multicast_v6(&Ipv6Addr::from(GROUP_IPV6), self.ifindex)?;
        }
        Ok(())
    }

    /// Sends `message`, a VRRP message with its checksum, to the group or a peer. Never blocks.
    ///
    /// A link-local destination is one on the sender's interface.
    ///
    /// # Errors
    /// `WouldBlock`: the send buffer is full. `NetworkDown`, `NetworkUnreachable`,
    /// `ENODEV`/`ENXIO`: the interface is down, has no route to the destination, or is gone. A
    /// destination of the other family is refused with `EINVAL` or `EAFNOSUPPORT`.
    pub fn send(&self, destination: IpAddr, message: &[u8]) -> io::Result<()> {
        let address = self.socket_address(destination).into();
        loop {
            match self
                .socket
                .send_to_with_flags(message, &address, libc::MSG_DONTWAIT)
            {
                // A datagram leaves whole or not at all.
                Ok(_) => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn socket_address(&self, address: IpAddr) -> SocketAddr {
        match address {
            IpAddr::V4(a) => SocketAddrV4::new(a, 0).into(),
            IpAddr::V6(a) => {
                let scope = if a.is_unicast_link_local() || a.is_multicast() {
                    self.ifindex
                } else {
                    0
                };
                SocketAddrV6::new(a, 0, 0, scope).into()
            }
        }
    }
}

impl AsFd for Sender {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A packet socket that receives what may be an advertisement on one interface, both families.
///
/// It sees whole Ethernet frames, as XDP does, so that both are judged by the same function.
/// The kernel admits IPv4 protocol 112 and IPv6 with next header 112 or an extension header, a
/// fragment header excepted (no advertisement is a fragment, and other people's fragments would
/// crowd it out); frames with a VLAN tag belong to the VLAN's own device and are refused (a priority tag,
/// VLAN 0, belongs here), and so is what this machine sends. Groups are joined by the
/// [`Sender`].
#[derive(Debug)]
pub struct Receiver {
    socket: Socket,
}

impl Receiver {
    /// Opens the socket. It stays usable while the interface goes down and up, and is to be
    /// opened anew when the interface was created anew.
    ///
    /// # Errors
    /// No `CAP_NET_RAW`, or the interface is gone.
    pub fn open(ifname: &str, ifindex: u32) -> Result<Self, Error> {
        let fail = |step| {
            move |source| Error::Receiver {
                step,
                ifname: ifname.to_owned(),
                source,
            }
        };
        // Protocol 0 receives nothing until the filter is there and the socket is bound.
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), None)
            .map_err(fail("open a packet socket"))?;
        sys::ignore_outgoing(&socket).map_err(fail("ignore outgoing frames"))?;
        socket
            .attach_filter(&ADMIT_VRRP)
            .map_err(fail("attach the filter"))?;
        let every_frame = libc::ETH_P_ALL as u16;
        socket
            .bind(&sys::link_address(ifindex, every_frame, [0; 6]))
            .map_err(fail("bind a packet socket"))?;
        Ok(Self { socket })
    }

    /// Takes the next frame, its Ethernet header included; `None` when there is none. A frame
    /// longer than `frame` is cut: [`ha_common::net::ETH_LEN`] plus 1500 bytes are enough for
    /// any advertisement. Never blocks.
    ///
    /// # Errors
    /// The socket is broken. An interface that is down is not an error: nothing comes in.
    pub fn recv(&self, frame: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match rustix::net::recv(&self.socket, &mut *frame, RecvFlags::DONTWAIT) {
                Ok((len, _)) => return Ok(Some(len)),
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                // NETDOWN is reported once per change of the interface; frames may wait behind it.
                Err(rustix::io::Errno::INTR | rustix::io::Errno::NETDOWN) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Throws away what is waiting and returns the number of frames, at most 4096 at a time.
    /// Never blocks.
    pub fn drain(&self) -> usize {
        let mut byte = [0];
        (0..DRAIN_MAX)
            .take_while(|_| matches!(self.recv(&mut byte), Ok(Some(_))))
            .count()
    }
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

const fn op(code: u32, jump_true: u8, jump_false: u8, k: u32) -> SockFilter {
    SockFilter::new(code as u16, jump_true, jump_false, k)
}

const fn load_half(offset: u32) -> SockFilter {
    op(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 0, 0, offset)
}

const fn load_byte(offset: u32) -> SockFilter {
    op(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, offset)
}

/// Skips `jump_true` or `jump_false` instructions.
const fn if_equal(k: u32, jump_true: u8, jump_false: u8) -> SockFilter {
    op(
        libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
        jump_true,
        jump_false,
        k,
    )
}

/// Keeps `k` bytes of the packet; none refuses it.
const fn keep(k: u32) -> SockFilter {
    op(libc::BPF_RET | libc::BPF_K, 0, 0, k)
}

const RETURN_NONE: SockFilter = keep(0);

/// Offset of the IPv4 protocol in an untagged frame.
const IPV4_PROTOCOL: u32 = 14 + 9;
/// Offset of the first IPv6 next header in an untagged frame.
const IPV6_NEXT_HEADER: u32 = 14 + 6;

/// The classic BPF program of [`Receiver`]. The kernel has moved the outermost VLAN tag out of
/// the frame by now (`__netif_receive_skb_core`), and shows it at `SKF_AD_VLAN_TAG`.
static ADMIT_VRRP: [SockFilter; 15] = [
    op(
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        0,
        0,
        (libc::SKF_AD_OFF + libc::SKF_AD_VLAN_TAG) as u32,
    ),
    op(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, 0x0fff),
    if_equal(0, 0, 10), // tagged: refuse
    load_half(12),
    if_equal(ETHERTYPE_IPV4 as u32, 0, 2),
    load_byte(IPV4_PROTOCOL),
    if_equal(IPPROTO_VRRP as u32, 7, 6),
    if_equal(ETHERTYPE_IPV6 as u32, 0, 5),
    load_byte(IPV6_NEXT_HEADER),
    if_equal(IPPROTO_VRRP as u32, 4, 0),
    if_equal(libc::IPPROTO_HOPOPTS as u32, 3, 0),
    if_equal(libc::IPPROTO_DSTOPTS as u32, 2, 0),
    if_equal(libc::IPPROTO_ROUTING as u32, 1, 0),
    RETURN_NONE,
    keep(u32::MAX),
];
