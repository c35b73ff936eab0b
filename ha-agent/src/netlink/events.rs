//! The subscription to changes of links and addresses.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::RecvFlags;
use tokio::io::unix::AsyncFd;

use super::changes::Changes;
use super::message::Event;
use super::socket::{BUFFER_LEN, messages, receive_from_kernel, socket};
use super::view::View;
use crate::sys;

/// Multicast groups as the bind mask counts them: RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR,
/// RTNLGRP_IPV6_IFADDR.
const GROUPS: u32 = 1 << 0 | 1 << 4 | 1 << 8;
/// Receive buffer in bytes: some 4000 events, all links of a large host at once.
const EVENTS_BUFFER: usize = 4 << 20;
/// Datagrams of events taken at once, so that a storm of them cannot keep
/// [`Netlink::changed`](super::Netlink::changed) from returning.
const BATCH: usize = 1024;

/// A socket that hears of every change, from when it is opened.
#[derive(Debug)]
pub(super) struct Events {
    socket: AsyncFd<OwnedFd>,
    buffer: Box<[u8]>,
}

/// What came of taking events from the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// All there were.
    All,
    /// As many as one batch takes.
    More,
    /// The kernel dropped some.
    Lost,
}

impl Events {
    pub(super) fn open() -> io::Result<Self> {
        let socket = socket(GROUPS)?;
        // Beyond net.core.rmem_max with CAP_NET_ADMIN; without, overruns are only more likely.
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, EVENTS_BUFFER);
        Ok(Self {
            socket: sys::watch(socket)?,
            buffer: vec![0; BUFFER_LEN].into_boxed_slice(),
        })
    }

    /// Waits for events and lets `view` follow them.
    pub(super) async fn receive(
        &mut self,
        view: &mut View,
        changes: &mut Changes,
    ) -> io::Result<Received> {
        let mut ready = self.socket.readable().await?;
        let received = take(self.socket.get_ref(), &mut self.buffer, view, changes)?;
        if received == Received::All {
            ready.clear_ready();
        }
        Ok(received)
    }

    /// Throws away what is queued.
    pub(super) fn discard(&self) -> io::Result<()> {
        let mut byte = [0];
        loop {
            match rustix::net::recv(&self.socket, &mut byte[..], RecvFlags::DONTWAIT) {
                Ok(_) | Err(Errno::NOBUFS | Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => return Ok(()),
                Err(e) => return Err(e.into()),
            }
        }
    }
}

fn take(
    socket: &OwnedFd,
    buffer: &mut [u8],
    view: &mut View,
    changes: &mut Changes,
) -> io::Result<Received> {
    for _ in 0..BATCH {
        match receive_from_kernel(socket, buffer) {
            Ok(datagram) => {
                for message in messages(datagram) {
                    if let Some(event) = Event::parse(message.message_type(), message.payload()) {
                        view.apply(event, changes);
                    }
                }
            }
            Err(Errno::WOULDBLOCK) => return Ok(Received::All),
            Err(Errno::NOBUFS) => return Ok(Received::Lost),
            Err(e) => return Err(e.into()),
        }
    }
    Ok(Received::More)
}
