//! What the election thread holds: shared memory and the ring buffer. No system call per packet,
//! none per renewal.

use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use aya::maps::{MapData, RingBuf};
use ha_common::event::AdvertEvent;
use ha_common::maps::{Instance, LastAdvert, Role, WRITING, name};

use super::Error;

/// Reads of a record that the program keeps rewriting before the last copy is given up: a write
/// takes nanoseconds and comes at most once per advertisement.
const READS: usize = 1000;

/// Roles, leases, last advertisements, and the ring buffer that says when one is news.
pub struct Fast {
    instances: Shared<Instance>,
    adverts: Shared<LastAdvert>,
    events: RingBuf<MapData>,
}

const _: () = {
    const fn moves_to_another_thread<T: Send>() {}
    moves_to_another_thread::<Fast>();
    moves_to_another_thread::<super::Dataplane>();
};

impl Fast {
    pub(super) fn new(
        instances: MapData,
        adverts: MapData,
        events: RingBuf<MapData>,
        slots: u32,
    ) -> Result<Self, Error> {
        Ok(Self {
            instances: Shared::new(&instances, name::INSTANCES, slots)?,
            adverts: Shared::new(&adverts, name::ADVERTS, slots)?,
            events,
        })
    }

    /// How many slots there are.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.instances.len
    }

    /// What the program knows of `slot`; after a restart, what the predecessor left.
    ///
    /// # Panics
    /// When `slot` is not below [`slots`](Self::slots), as all methods that take one.
    #[must_use]
    pub fn instance(&self, slot: u32) -> Option<Instance> {
        let at = self.instances.at(slot);
        // SAFETY: inside the mapping, aligned (`Shared::at`). A slot with a VRID was written by an
        // agent, one at a time and a whole `Instance`, so that its enum bytes are valid; only
        // agents write here.
        unsafe {
            let vrid = ptr::read_volatile(&raw const (*at).vrid);
            (vrid != 0).then(|| ptr::read_volatile(at))
        }
    }

    /// Writes `instance` into `slot`.
    ///
    /// Role and lease never open together by accident: when the new role does not serve it is
    /// written first, otherwise last. The other fields may be seen half written by an
    /// advertisement that is judged in the same nanoseconds.
    pub fn set_instance(&mut self, slot: u32, instance: &Instance) {
        let serves = matches!(instance.role, Role::Active | Role::Handover);
        let at = self.instances.at(slot);
        if !serves {
            self.role(slot).store(instance.role as u8, Ordering::SeqCst);
        }
        let before = Instance {
            role: match self.role(slot).load(Ordering::Relaxed) {
                1 => Role::Backup,
                2 => Role::Active,
                3 => Role::Handover,
                _ => Role::Initialize,
            },
            lease_until_ns: self.lease(slot).load(Ordering::Relaxed),
            ..*instance
        };
        // SAFETY: inside the mapping, aligned; role and lease are written as they are, and this
        // is the only writer.
        unsafe { ptr::write_volatile(at, before) };
        self.set_role(slot, instance.role, instance.lease_until_ns);
    }

    /// Changes role and lease of `slot`.
    pub fn set_role(&mut self, slot: u32, role: Role, lease_until_ns: u64) {
        let serves = matches!(role, Role::Active | Role::Handover);
        if serves {
            self.lease(slot).store(lease_until_ns, Ordering::SeqCst);
            self.role(slot).store(role as u8, Ordering::SeqCst);
        } else {
            self.role(slot).store(role as u8, Ordering::SeqCst);
            self.lease(slot).store(lease_until_ns, Ordering::SeqCst);
        }
    }

    /// Extends the lease of `slot`: one store.
    pub fn renew(&self, slot: u32, lease_until_ns: u64) {
        self.lease(slot).store(lease_until_ns, Ordering::Release);
    }

    /// Shows `priority` to the reader of a dump; the program does not use it.
    pub fn set_priority(&mut self, slot: u32, priority: u8) {
        let at = self.instances.at(slot);
        // SAFETY: inside the mapping; one byte; this is the only writer.
        unsafe { ptr::write_volatile(&raw mut (*at).priority, priority) };
    }

    /// Empties `slot`: no role, no lease, nothing heard.
    pub fn clear(&mut self, slot: u32) {
        self.set_role(slot, Role::Initialize, 0);
        // SAFETY: inside the mapping, aligned. All-zero is a valid record of both kinds but for
        // `Instance::family`, whose byte is therefore left as it is.
        unsafe {
            let instance = self.instances.at(slot);
            ptr::write_volatile(&raw mut (*instance).vrid, 0);
            ptr::write_volatile(&raw mut (*self.adverts.at(slot)).at_ns, 0);
        }
    }

    /// The last valid advertisement that `slot` has heard.
    #[must_use]
    pub fn last_advert(&self, slot: u32) -> Option<LastAdvert> {
        let at = self.adverts.at(slot);
        // SAFETY: inside the mapping, aligned to 8 as every map value is.
        let time = unsafe { AtomicU64::from_ptr(&raw mut (*at).at_ns) };
        for _ in 0..READS {
            let before = time.load(Ordering::Acquire);
            if before == 0 {
                return None;
            }
            if before != WRITING {
                // SAFETY: inside the mapping, aligned. Every field but `checksum` is plain; that
                // one byte only ever holds a discriminant of `Checksum`, even in a torn copy,
                // because the program writes no other.
                let advert = unsafe { ptr::read_volatile(at) };
                std::sync::atomic::fence(Ordering::Acquire);
                if time.load(Ordering::Relaxed) == before {
                    return Some(LastAdvert {
                        at_ns: before,
                        ..advert
                    });
                }
            }
            std::hint::spin_loop();
        }
        None
    }

    /// The next advertisement that said something new, if one waits.
    pub fn next_event(&mut self) -> Option<AdvertEvent> {
        loop {
            let record = self.events.next()?;
            if record.len() == size_of::<AdvertEvent>() {
                // SAFETY: as long as it is, read unaligned; written whole by the program of this
                // layout version before the kernel showed it, so its enum byte is valid.
                return Some(unsafe { ptr::read_unaligned(record.as_ptr().cast()) });
            }
        }
    }

    fn role(&self, slot: u32) -> &AtomicU8 {
        // SAFETY: inside the mapping; `Role` is one byte; all writers store atomically.
        unsafe { AtomicU8::from_ptr((&raw mut (*self.instances.at(slot)).role).cast()) }
    }

    fn lease(&self, slot: u32) -> &AtomicU64 {
        const { assert!(offset_of!(Instance, lease_until_ns) == 0) };
        // SAFETY: inside the mapping, aligned to 8; all writers store atomically.
        unsafe { AtomicU64::from_ptr(&raw mut (*self.instances.at(slot)).lease_until_ns) }
    }
}

impl std::fmt::Debug for Fast {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fast")
            .field("slots", &self.slots())
            .finish_non_exhaustive()
    }
}

impl AsFd for Fast {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }
}

impl AsRawFd for Fast {
    fn as_raw_fd(&self) -> RawFd {
        self.events.as_raw_fd()
    }
}

/// The memory of an array map, shared with the kernel.
struct Shared<T> {
    start: NonNull<T>,
    len: u32,
}

// SAFETY: the mapping belongs to this value alone and is not tied to the thread that made it.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T> Shared<T> {
    fn new(map: &MapData, name: &'static str, len: u32) -> Result<Self, Error> {
        // The kernel rounds a value up to 8 bytes: these are multiples of 8, so it is an array.
        const { assert!(size_of::<T>().is_multiple_of(8) && align_of::<T>() <= 8) };
        // SAFETY: a new mapping at an address of the kernel's choice; the length is what the map
        // was made with (its shape was compared or created with `len` entries).
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                Self::bytes(len),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.fd().as_fd().as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(Error::Mmap {
                map: name,
                source: io::Error::last_os_error(),
            });
        }
        let start = NonNull::new(start.cast()).ok_or(Error::Incomplete { what: name })?;
        Ok(Self { start, len })
    }

    const fn bytes(len: u32) -> usize {
        len as usize * size_of::<T>()
    }

    fn at(&self, slot: u32) -> *mut T {
        assert!(slot < self.len, "slot {slot} of {}", self.len);
        // SAFETY: `slot` is inside the mapping, which lives as long as `self`.
        unsafe { self.start.as_ptr().add(slot as usize) }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this length; nothing that borrows from it outlives `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), Self::bytes(self.len)) };
    }
}
