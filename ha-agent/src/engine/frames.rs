//! What is heard without a program: frames of packet sockets.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::unix::AsyncFd;

use crate::advert::Receiver;
use crate::sys;

/// The packet sockets, one per interface. Read by the election thread itself, so that no deadline
/// overtakes an advertisement that waits in one of them.
#[derive(Debug, Default)]
pub struct Frames {
    readers: Vec<Reader>,
    /// The reader that is asked first, another one each pass: a flood on one interface must not
    /// silence the others.
    first: usize,
}

#[derive(Debug)]
struct Reader {
    interface: String,
    ifindex: u32,
    receiver: Arc<Receiver>,
    ready: AsyncFd<OwnedFd>,
}

impl Frames {
    /// Without readers.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            readers: Vec::new(),
            first: 0,
        }
    }

    pub(super) fn listen(
        &mut self,
        interface: &str,
        ifindex: u32,
        receiver: Arc<Receiver>,
    ) -> std::io::Result<()> {
        let same = |reader: &Reader| Arc::ptr_eq(&reader.receiver, &receiver);
        if self.readers.iter().any(same) {
            return Ok(());
        }
        let ready = sys::watch(receiver.as_fd().try_clone_to_owned()?)?;
        self.ignore(interface);
        self.readers.push(Reader {
            interface: interface.to_owned(),
            ifindex,
            receiver,
            ready,
        });
        Ok(())
    }

    /// A socket hears nothing any more once its interface was gone, even if that comes back.
    pub(super) fn ignore(&mut self, interface: &str) {
        self.readers.retain(|reader| reader.interface != interface);
    }

    pub(super) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        for reader in &self.readers {
            if let Poll::Ready(ready) = reader.ready.poll_read_ready(cx) {
                return Poll::Ready(ready.map(|mut ready| ready.clear_ready()));
            }
        }
        Poll::Pending
    }

    /// Has another reader be the first.
    pub(super) fn rotate(&mut self) {
        self.first = (self.first + 1) % self.readers.len().max(1);
    }

    /// The next frame that waits, its interface and length. A socket that fails is silent: the
    /// effects task hears of its interface and brings another.
    pub(super) fn next(&self, frame: &mut [u8]) -> Option<(u32, usize)> {
        let (before, from) = self.readers.split_at(self.first.min(self.readers.len()));
        from.iter().chain(before).find_map(|reader| {
            let len = reader.receiver.recv(frame).ok().flatten()?;
            Some((reader.ifindex, len.min(frame.len())))
        })
    }
}
