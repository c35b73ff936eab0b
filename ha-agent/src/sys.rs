//! What the kernel offers to a process and the standard library does not: the monotonic clock, a
//! precise timer, real-time scheduling, locked memory, capabilities, packet socket addresses.
//!
//! With `dataplane` the only file that contains `unsafe`. It lies below the edges: they may use
//! it, it knows none of them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::mm::MlockAllFlags;
use rustix::thread::CapabilitySet;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec,
};
use socket2::{SockAddr, SockAddrStorage};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::vrrp::types::Instant;

const NANOS_PER_SEC: u64 = 1_000_000_000;

/// The current `CLOCK_MONOTONIC` time, the clock of `bpf_ktime_get_ns`.
///
/// It does not advance while the machine is suspended.
#[must_use]
pub fn now() -> Instant {
    let time = rustix::time::clock_gettime(ClockId::Monotonic);
    // The monotonic clock starts near zero at boot and is never negative.
    Instant(time.tv_sec as u64 * NANOS_PER_SEC + time.tv_nsec as u64)
}

/// Has the runtime tell when `fd` becomes readable. To be called on a tokio runtime with I/O
/// enabled. For a type that owns its descriptor a duplicate (`try_clone_to_owned`) does.
///
/// # Errors
/// Out of memory or of epoll watches, or a descriptor that cannot be polled.
pub fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd names the same open descriptor until it is dropped, and the AsyncFd
    // owns it from here on.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

/// One absolute deadline on `CLOCK_MONOTONIC`, to the precision of the kernel's high-resolution
/// timers.
///
/// tokio's own timers count milliseconds: a tenth of the shortest advertisement interval.
#[derive(Debug)]
pub struct Timer {
    fd: AsyncFd<OwnedFd>,
    set: Option<Instant>,
}

impl Timer {
    /// A disarmed timer. To be called on a tokio runtime with I/O enabled.
    ///
    /// # Errors
    /// Out of file descriptors or memory.
    pub fn new() -> io::Result<Self> {
        let fd = rustix::time::timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        Ok(Self {
            fd: watch(fd)?,
            set: None,
        })
    }

    /// Sets the deadline, or disarms the timer with `None`. A deadline in the past expires at
    /// once; an expiry that was not waited for yet is forgotten. The same deadline again costs
    /// nothing as long as it has not expired.
    ///
    /// # Errors
    /// None that a caller can cause: the kernel refuses only a malformed time.
    pub fn set(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        if self.set == deadline {
            return Ok(());
        }
        // All zero would disarm the timer: 1 ns after boot is as past as 0.
        let nanos = deadline.map_or(0, |at| at.0.max(1));
        let value = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec {
                tv_sec: (nanos / NANOS_PER_SEC) as i64,
                tv_nsec: (nanos % NANOS_PER_SEC) as _,
            },
        };
        // Forgotten first: after a failure the timer's state is unknown.
        self.set = None;
        rustix::time::timerfd_settime(self.fd.get_ref(), TimerfdTimerFlags::ABSTIME, &value)?;
        self.set = deadline;
        Ok(())
    }

    /// Waits for the deadline; forever while the timer is disarmed. Once it has returned the
    /// timer is disarmed.
    ///
    /// Cancel-safe: an expiry that was not returned is returned by the next call.
    ///
    /// # Errors
    /// The runtime is shutting down, or the descriptor is broken.
    pub async fn expired(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.fd.readable().await?;
            let read = ready.try_io(|fd| {
                let mut expirations = [0; 8];
                Ok(rustix::io::read(fd.get_ref(), &mut expirations)?)
            });
            match read {
                Ok(Ok(_)) => {
                    self.set = None;
                    return Ok(());
                }
                Ok(Err(e)) if e.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(e)) => return Err(e),
                // Readiness left over from before the deadline was moved.
                Err(_would_block) => {}
            }
        }
    }
}

/// Locks the memory of the process, present and future, so that the election never waits for a
/// page to come back from disk.
///
/// Pages are locked as they are touched (`MCL_ONFAULT`): the address space a runtime reserves for
/// its stacks does not become resident.
///
/// # Errors
/// No `CAP_IPC_LOCK` and `RLIMIT_MEMLOCK` too low.
pub fn lock_memory() -> io::Result<()> {
    Ok(rustix::mm::mlockall(
        MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT,
    )?)
}

/// Gives the calling thread `SCHED_FIFO` with `priority`, 1–99. Threads and processes it starts
/// afterwards fall back to ordinary scheduling (`SCHED_RESET_ON_FORK`).
///
/// # Errors
/// No `CAP_SYS_NICE` and `RLIMIT_RTPRIO` too low, or a priority out of range.
pub fn set_realtime(priority: u8) -> io::Result<()> {
    let param = libc::sched_param {
        sched_priority: i32::from(priority),
    };
    const CALLING_THREAD: libc::pid_t = 0;
    // The system call itself, because musl's sched_setscheduler only returns ENOSYS.
    // SAFETY: the kernel reads `param`, which lives until the call returns, and writes nothing.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_sched_setscheduler,
            CALLING_THREAD,
            libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK,
            &raw const param,
        )
    };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// A capability the agent needs for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Capability {
    /// Addresses, XDP links, multicast memberships beyond the limit.
    NetAdmin,
    /// Raw and packet sockets.
    NetRaw,
    /// Programs and maps.
    Bpf,
    /// What the verifier grants to trusted programs.
    Perfmon,
    /// Locked memory beyond the limit.
    IpcLock,
    /// Real-time scheduling beyond the limit.
    SysNice,
}

impl Capability {
    /// The kernel's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::NetRaw => "CAP_NET_RAW",
            Self::Bpf => "CAP_BPF",
            Self::Perfmon => "CAP_PERFMON",
            Self::IpcLock => "CAP_IPC_LOCK",
            Self::SysNice => "CAP_SYS_NICE",
        }
    }

    /// The sets of which one is enough. CAP_BPF and CAP_PERFMON were split off CAP_SYS_ADMIN
    /// (Linux 5.8), which still implies them.
    const fn granted_by(self) -> CapabilitySet {
        match self {
            Self::NetAdmin => CapabilitySet::NET_ADMIN,
            Self::NetRaw => CapabilitySet::NET_RAW,
            Self::Bpf => CapabilitySet::BPF.union(CapabilitySet::SYS_ADMIN),
            Self::Perfmon => CapabilitySet::PERFMON.union(CapabilitySet::SYS_ADMIN),
            Self::IpcLock => CapabilitySet::IPC_LOCK,
            Self::SysNice => CapabilitySet::SYS_NICE,
        }
    }
}

/// The kernel's names of those capabilities in `needed` that the calling thread does not have in
/// its effective set, in the order given. A set that cannot be read counts as empty.
#[must_use]
pub fn missing_capabilities(needed: &[Capability]) -> Vec<&'static str> {
    let effective =
        rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    missing_from(effective, needed)
}

fn missing_from(effective: CapabilitySet, needed: &[Capability]) -> Vec<&'static str> {
    needed
        .iter()
        .filter(|capability| !effective.intersects(capability.granted_by()))
        .map(|capability| capability.name())
        .collect()
}

/// The address of a packet socket (`packet(7)`): the interface `ifindex`, frames of `ethertype`
/// (host order; 0 receives nothing when bound), and `destination` for sending. For a socket of
/// type `RAW` the destination in the frame itself counts.
#[must_use]
pub fn link_address(ifindex: u32, ethertype: u16, destination: [u8; 6]) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_ll` is one of the platform's address types.
    let link: &mut libc::sockaddr_ll = unsafe { storage.view_as() };
    link.sll_family = libc::AF_PACKET as u16;
    link.sll_protocol = ethertype.to_be();
    link.sll_ifindex = ifindex as i32;
    link.sll_halen = destination.len() as u8;
    link.sll_addr[..destination.len()].copy_from_slice(&destination);
    let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: `storage` holds a `sockaddr_ll` with its family set, `len` is its length.
    unsafe { SockAddr::new(storage, len) }
}

/// Keeps frames that this machine sends away from a packet socket (`PACKET_IGNORE_OUTGOING`,
/// Linux 4.20).
///
/// # Errors
/// Not a packet socket, or an older kernel.
pub fn ignore_outgoing(socket: impl AsFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the kernel reads the `int` that the pointer and the length describe.
    let rc = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_IGNORE_OUTGOING,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn on_runtime(test: impl AsyncFnOnce()) {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(test());
    }

    #[test]
    fn the_clock_is_monotonic() {
        let before = now();
        assert!(before.0 > 0);
        assert!(now() >= before);
    }

    #[test]
    fn a_timer_expires_at_its_deadline_and_not_before() {
        on_runtime(async || {
            let mut timer = Timer::new().unwrap();
            let deadline = now() + Duration::from_micros(1500);
            timer.set(Some(deadline)).unwrap();
            timer.expired().await.unwrap();
            assert!(now() >= deadline);
        });
    }

    #[test]
    fn a_deadline_in_the_past_expires_at_once_and_only_once() {
        on_runtime(async || {
            let mut timer = Timer::new().unwrap();
            timer.set(Some(Instant(0))).unwrap();
            timer.expired().await.unwrap();
            let again = tokio::time::timeout(Duration::from_millis(5), timer.expired()).await;
            assert!(again.is_err(), "expired twice");
            timer.set(Some(Instant(0))).unwrap();
            timer.expired().await.unwrap();
        });
    }

    #[test]
    fn a_moved_deadline_forgets_the_old_one() {
        on_runtime(async || {
            let mut timer = Timer::new().unwrap();
            timer.set(Some(Instant(1))).unwrap();
            // Readiness is noticed, the expiry not taken.
            drop(timer.fd.readable().await.unwrap());
            let deadline = now() + Duration::from_millis(3);
            timer.set(Some(deadline)).unwrap();
            timer.expired().await.unwrap();
            assert!(now() >= deadline);

            timer.set(Some(now() + Duration::from_millis(1))).unwrap();
            timer.set(None).unwrap();
            let disarmed = tokio::time::timeout(Duration::from_millis(5), timer.expired()).await;
            assert!(disarmed.is_err(), "a disarmed timer expired");
        });
    }

    #[test]
    fn waiting_is_cancel_safe() {
        on_runtime(async || {
            let mut timer = Timer::new().unwrap();
            timer.set(Some(now() + Duration::from_millis(100))).unwrap();
            for _ in 0..3 {
                let waited = tokio::time::timeout(Duration::ZERO, timer.expired()).await;
                if waited.is_ok() {
                    return; // the machine is too busy for this test
                }
            }
            tokio::time::timeout(Duration::from_secs(5), timer.expired())
                .await
                .expect("the expiry was lost")
                .unwrap();
        });
    }

    #[test]
    fn missing_capabilities_are_named_as_the_kernel_names_them() {
        use Capability::{Bpf, NetAdmin, NetRaw, Perfmon};
        let needed = [NetAdmin, NetRaw, Bpf, Perfmon];
        assert_eq!(
            missing_from(CapabilitySet::empty(), &needed),
            ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_BPF", "CAP_PERFMON"]
        );
        assert_eq!(
            missing_from(CapabilitySet::SYS_ADMIN, &needed),
            ["CAP_NET_ADMIN", "CAP_NET_RAW"]
        );
        assert_eq!(
            missing_from(CapabilitySet::NET_RAW | CapabilitySet::BPF, &needed),
            ["CAP_NET_ADMIN", "CAP_PERFMON"]
        );
    }

    #[test]
    fn a_link_address_has_the_layout_of_packet_7() {
        let address = link_address(7, 0x0806, [1, 2, 3, 4, 5, 6]);
        assert_eq!(address.len() as usize, size_of::<libc::sockaddr_ll>());
        assert_eq!(i32::from(address.family()), libc::AF_PACKET);
    }
}
