//! Records of the `EVENTS` ring buffer.

use crate::maps::LastAdvert;

/// A valid advertisement that said something new. Written by the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct AdvertEvent {
    /// The advertisement, with its time of arrival.
    pub advert: LastAdvert,
    /// When the one before it arrived, which the agent may have slept through; 0: there was none.
    pub previous_ns: u64,
    /// Slot of the instance.
    pub slot: u32,
    /// Zero.
    pub _pad: u32,
}

const _: () = assert!(size_of::<AdvertEvent>() == 56);
