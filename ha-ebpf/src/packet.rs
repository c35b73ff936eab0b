//! The frame under judgement: the only file that computes a pointer into it.

use core::arch::asm;
use core::ptr;

use aya_ebpf::{EbpfContext, programs::XdpContext};
use ha_common::net::Frame;

use crate::maps::OFFSET;

/// Largest offset read. The verifier wants a bound below 64 KiB; the headers end far before it
/// (IPv6 with seven longest extension headers and the longest VRRP message: 15,900 bytes).
const MAX_OFFSET: usize = 0x7fff;

/// A received frame.
pub(crate) struct Packet {
    ctx: XdpContext,
}

impl Packet {
    #[inline(always)]
    pub(crate) fn new(ctx: XdpContext) -> Self {
        Self { ctx }
    }

    /// Index of the interface that it arrived on.
    #[inline(always)]
    pub(crate) fn ifindex(&self) -> u32 {
        self.ctx.ingress_ifindex() as u32
    }
}

/// `offset`, of which the verifier knows nothing.
///
/// It walks a loop once for every offset that it can tell apart, and tags, options and extension
/// headers make many: 800,000 instructions verified instead of 54,000 (6.18).
#[inline(always)]
pub(crate) fn forget(offset: usize) -> Option<usize> {
    let word = OFFSET.get_ptr_mut(0)?;
    // SAFETY: from a lookup in a per-CPU array.
    unsafe {
        ptr::write_volatile(word, offset as u64);
        Some(ptr::read_volatile(word) as usize)
    }
}

impl EbpfContext for Packet {
    #[inline(always)]
    fn as_ptr(&self) -> *mut core::ffi::c_void {
        self.ctx.as_ptr()
    }
}

impl Frame for Packet {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        if offset > MAX_OFFSET {
            return None;
        }
        let start = self.ctx.data() + offset;
        if opaque(start + N) > self.ctx.data_end() {
            return None;
        }
        Some(copy(start))
    }
}

/// `address`, of which the compiler knows nothing: it would turn `start + 1 > end` into
/// `start >= end`, from which the verifier learns nothing ("R5 offset is outside of the packet"),
/// and a loop's into a comparison with `end + 1` ("pointer arithmetic on pkt_end prohibited").
#[inline(always)]
fn opaque(address: usize) -> usize {
    let copy;
    // SAFETY: a move between two registers. (Not an empty instruction: its line information would
    // be refused, "Invalid line_info".)
    unsafe {
        asm!(
            "{copy} = {address}",
            copy = lateout(reg) copy,
            address = in(reg) address,
            options(pure, nomem, nostack),
        );
    }
    copy
}

/// The `N` bytes at `start`, moved in words.
///
/// One copy of `N` bytes would stay a copy through memory, and on the BPF stack the verifier
/// refuses a word at an address that is not a multiple of it ("misaligned stack access", 6.18).
/// Words become registers.
#[inline(always)]
fn copy<const N: usize>(start: usize) -> [u8; N] {
    const { assert!(N <= 24) };
    let mut bytes = [0; N];
    let whole = N / 8 * 8;
    if whole >= 8 {
        word::<8>(&mut bytes, start, 0);
    }
    if whole >= 16 {
        word::<8>(&mut bytes, start, 8);
    }
    if whole >= 24 {
        word::<8>(&mut bytes, start, 16);
    }
    match N - whole {
        0 => {}
        1 => word::<1>(&mut bytes, start, whole),
        2 => word::<2>(&mut bytes, start, whole),
        4 => word::<4>(&mut bytes, start, whole),
        _ => const { assert!(matches!(N % 8, 0 | 1 | 2 | 4)) },
    }
    bytes
}

#[inline(always)]
fn word<const W: usize>(bytes: &mut [u8], start: usize, at: usize) {
    // SAFETY: `load` has checked that the frame has all of `bytes`, of which `at..at + W` is a
    // part; a byte array has alignment 1.
    unsafe {
        let word = ptr::read((start + at) as *const [u8; W]);
        ptr::write(bytes.as_mut_ptr().add(at).cast(), word);
    }
}
