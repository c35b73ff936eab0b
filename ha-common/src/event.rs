//! Records of the `EVENTS` ring buffer.

use crate::maps::LastAdvert;

/// A valid advertisement that said something new. Written by the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct AdvertEvent {
    /// The advertisement, with its time of arrival.
    pub advert: LastAdvert,
    /// Slot of the instance.
    pub slot: u32,
    /// Zero.
    pub _pad: u32,
}

const _: () = assert!(size_of::<AdvertEvent>() == 48);
