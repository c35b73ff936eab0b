//! Counters, and the atomics that this target's `core` lacks.

use core::arch::asm;

use ha_common::verdict::{Verdict, Verdicts};

use crate::maps::{VERDICTS, VRID_VERDICTS};

/// Counts `verdict` for the node. Per CPU: an XDP program is not interrupted by itself.
#[inline(always)]
pub(crate) fn count(verdict: Verdict) {
    add_one(VERDICTS.get_ptr_mut(0), verdict);
}

/// Counts `verdict` for the virtual router in `slot`.
#[inline(always)]
pub(crate) fn count_vrid(slot: u32, verdict: Verdict) {
    add_one(VRID_VERDICTS.get_ptr_mut(slot), verdict);
}

#[inline(always)]
fn add_one(counters: Option<*mut Verdicts>, verdict: Verdict) {
    if let Some(counters) = counters {
        // SAFETY: `Verdicts` is `repr(C)` and holds one u64 per verdict, in order (asserted beside
        // it); the pointer comes from a lookup in a per-CPU array.
        unsafe { *counters.cast::<u64>().add(verdict as usize) += 1 };
    }
}

/// Adds `more` to `*word` and returns what it was.
///
/// # Safety
/// `word` points to an aligned word of a map value.
#[inline(always)]
pub(crate) unsafe fn fetch_add(word: *mut u64, more: u64) -> u64 {
    let mut was = more;
    // SAFETY: the caller's promise; the instruction is BPF_ATOMIC | BPF_FETCH (Linux 5.12).
    unsafe {
        asm!(
            "{was} = atomic_fetch_add((u64 *)({word} + 0), {was})",
            word = in(reg) word,
            was = inout(reg) was,
        );
    }
    was
}

/// Stores `value` with the order of a full barrier before and after it.
///
/// # Safety
/// `word` points to an aligned word of a map value.
#[inline(always)]
pub(crate) unsafe fn publish(word: *mut u64, value: u64) {
    // SAFETY: the caller's promise; BPF_XCHG is fully ordered (Linux 5.12).
    unsafe {
        asm!(
            "{value} = xchg_64({word} + 0, {value})",
            word = in(reg) word,
            value = inout(reg) value => _,
        );
    }
}

/// Adds one to `*word`.
///
/// # Safety
/// `word` points to an aligned word of a map value.
#[inline(always)]
pub(crate) unsafe fn increment(word: *mut u32) {
    // SAFETY: the caller's promise.
    unsafe { asm!("lock *(u32 *)({word} + 0) += {one}", word = in(reg) word, one = in(wreg) 1u32) };
}
