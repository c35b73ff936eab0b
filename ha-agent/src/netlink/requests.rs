//! Requests to the kernel, each with its answer.

use std::io;
use std::os::fd::OwnedFd;

use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkMessage,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rustix::net::SendFlags;
use rustix::net::netlink::SocketAddrNetlink;
use tokio::io::unix::AsyncFd;

use super::message::Event;
use super::socket::{BUFFER_LEN, messages, receive_from_kernel, socket};
use crate::sys;

/// `NLM_F_DUMP_INTR`: the tables changed under the dump, entries may be missing.
const DUMP_INTERRUPTED: u16 = 0x10;

/// A socket for requests, answered one after the other.
#[derive(Debug)]
pub(super) struct Requests {
    socket: AsyncFd<OwnedFd>,
    sequence: u32,
}

impl Requests {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self {
            socket: sys::watch(socket(0)?)?,
            sequence: 0,
        })
    }

    /// Sends a request and waits for its acknowledgement. Answers to earlier requests, whose
    /// callers went away, are skipped.
    pub(super) async fn ask(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
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
    pub(super) async fn dump(
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
