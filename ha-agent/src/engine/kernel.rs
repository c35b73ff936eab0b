//! Where advertisements come from, and where the kernel is told of an instance and its role.

use std::os::fd::{AsFd, OwnedFd};

use ha_common::maps::{Instance as Wire, Role};
use tokio::io::unix::AsyncFd;

use super::Frames;
use crate::dataplane::Fast;
use crate::sys;
use crate::vrrp::types::Instant;

/// Where advertisements come from.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one in a process")]
pub enum Kernel {
    /// The XDP program judges them; the lease fences.
    Xdp {
        /// The maps.
        fast: Fast,
        /// Readable when the ring buffer has news.
        news: AsyncFd<OwnedFd>,
    },
    /// Packet sockets, judged here; no fence.
    Off(Frames),
}

impl Kernel {
    /// The events of a loaded program.
    ///
    /// # Errors
    /// When the ring buffer cannot be watched.
    pub fn xdp(fast: Fast) -> std::io::Result<Self> {
        let news = sys::watch(fast.as_fd().try_clone_to_owned()?)?;
        Ok(Self::Xdp { fast, news })
    }

    /// Waits until something was heard.
    pub(super) async fn heard(&mut self) -> std::io::Result<()> {
        match self {
            Self::Xdp { news, .. } => {
                news.readable().await?.clear_ready();
                Ok(())
            }
            Self::Off(frames) => std::future::poll_fn(|cx| frames.poll_ready(cx)).await,
        }
    }

    /// Empties a slot in which a predecessor with another configuration kept another virtual
    /// router: what that one heard last says nothing about ours.
    pub(super) fn forget_other(&mut self, slot: usize, wire: &Wire) {
        let Self::Xdp { fast, .. } = self else {
            return;
        };
        let ours = |old: Wire| {
            (old.vrid, old.version) == (wire.vrid, wire.version) && old.family == wire.family
        };
        if !fast.instance(slot as u32).is_some_and(ours) {
            fast.clear(slot as u32);
        }
    }

    pub(super) fn set_instance(&mut self, slot: usize, wire: &Wire) {
        if let Self::Xdp { fast, .. } = self {
            fast.set_instance(slot as u32, wire);
        }
    }

    pub(super) fn set_role(&mut self, slot: usize, role: Role, until: Instant) {
        if let Self::Xdp { fast, .. } = self {
            fast.set_role(slot as u32, role, until.0);
        }
    }

    pub(super) fn renew(&mut self, slot: usize, until: Instant) {
        if let Self::Xdp { fast, .. } = self {
            fast.renew(slot as u32, until.0);
        }
    }
}
