//! An rtnetlink socket and the datagrams it carries.

use std::io;
use std::os::fd::OwnedFd;

use rtnetlink::packet_core::NetlinkBuffer;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};

/// A dump arrives in pieces of at most 32 KiB (`netlink_dump` in the kernel); an event is smaller.
pub(super) const BUFFER_LEN: usize = 64 << 10;

/// Opens a socket that hears of `groups`, by their bind mask.
pub(super) fn socket(groups: u32) -> io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
        None,
    )?;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

/// Receives one datagram from the kernel. `NOBUFS`: datagrams were lost.
pub(super) fn receive_from_kernel<'b>(
    socket: &OwnedFd,
    buffer: &'b mut [u8],
) -> Result<&'b [u8], Errno> {
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
pub(super) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = NetlinkBuffer<&[u8]>> {
    std::iter::from_fn(move || {
        let message = NetlinkBuffer::new_checked(datagram).ok()?;
        let len = (message.length() as usize).next_multiple_of(4);
        datagram = datagram.get(len..).unwrap_or(&[]);
        Some(message)
    })
}
