//! Packet sockets: frames as they are on the wire. The only file here that speaks to libc
//! about addresses.

use std::ffi::CString;
use std::io;
use std::mem::{self, MaybeUninit};
use std::time::Duration;

use anyhow::{Context as _, Result};
use socket2::{Domain, Protocol, Socket, Type};

/// Longest frame that is read; longer ones are cut.
const FRAME: usize = 2048;

/// A packet socket on one interface of the namespace it was opened in.
#[derive(Debug)]
pub struct PacketSocket {
    socket: Socket,
}

impl PacketSocket {
    /// Opens the socket for all frames on an interface.
    ///
    /// [`PacketSocket::receive`] returns after at most `patience`.
    pub fn open(interface: &str, patience: Duration) -> Result<Self> {
        let all = (libc::ETH_P_ALL as u16).to_be();
        let index = ifindex(interface).with_context(|| format!("find interface {interface}"))?;
        let socket = Socket::new(
            Domain::PACKET,
            Type::RAW,
            Some(Protocol::from(i32::from(all))),
        )
        .context("open a packet socket")?;
        socket.set_read_timeout(Some(patience))?;
        socket.set_recv_buffer_size(8 << 20)?;
        bind(&socket, all, index)
            .with_context(|| format!("bind a packet socket to {interface}"))?;
        Ok(Self { socket })
    }

    /// The next frame that came in on the interface; `None` after `patience` without one.
    pub fn receive<'a>(&self, buffer: &'a mut Vec<u8>) -> Result<Option<&'a [u8]>> {
        buffer.clear();
        buffer.reserve(FRAME);
        match self.socket.recv_from(buffer.spare_capacity_mut()) {
            Ok((_, from)) if is_outgoing(&from) => Ok(None),
            Ok((len, _)) => {
                // SAFETY: the kernel wrote the first `len` bytes of the spare capacity.
                unsafe { buffer.set_len(len) };
                Ok(Some(buffer))
            }
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(None)
            }
            // The interface went down; it may come back.
            Err(e) if e.raw_os_error() == Some(libc::ENETDOWN) => Ok(None),
            Err(e) => Err(e).context("read a packet socket"),
        }
    }

    /// Sends a frame, Ethernet header included.
    pub fn send(&self, frame: &[u8]) -> io::Result<usize> {
        self.socket.send(frame)
    }
}

/// The index of an interface in the calling thread's namespace.
pub(super) fn ifindex(interface: &str) -> Result<u32> {
    let name = CString::new(interface)?;
    // SAFETY: `name` ends in a zero byte and outlives the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()).context("no such interface"),
        index => Ok(index),
    }
}

fn bind(socket: &Socket, protocol: u16, index: u32) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;
    // SAFETY: all zeroes is a value of this plain C struct.
    let mut address: libc::sockaddr_ll = unsafe { MaybeUninit::zeroed().assume_init() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol;
    address.sll_ifindex = index.cast_signed();
    let len = mem::size_of_val(&address) as libc::socklen_t;
    // SAFETY: pointer and length are those of a live `sockaddr_ll`.
    match unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether a frame was sent through the interface rather than received on it.
fn is_outgoing(from: &socket2::SockAddr) -> bool {
    // SAFETY: a packet socket's addresses are `sockaddr_ll`, which is smaller than the storage.
    let link = unsafe { &*from.as_ptr().cast::<libc::sockaddr_ll>() };
    link.sll_pkttype == libc::PACKET_OUTGOING
}
