//! What must not outlive us: processes, namespaces, folders.
//!
//! Each guard of the lab removes its own thing when it is dropped, which covers return and
//! panic. This list covers the rest: on SIGINT, SIGTERM and SIGHUP everything on it goes,
//! newest first, and then the signal does what it would have done.

use std::fs;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use rustix::process::Signal;

use super::{netns, process};

/// A thing on the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Thing {
    /// A child of ours, not yet waited for.
    Process(i32),
    /// A namespace by its name below `/run/netns`.
    Namespace(String),
    /// A folder with everything in it.
    Folder(PathBuf),
}

static LEFT: Mutex<Vec<Thing>> = Mutex::new(Vec::new());

/// Puts a thing on the list.
pub(super) fn remember(thing: Thing) {
    static WATCH: Once = Once::new();
    WATCH.call_once(watch_signals);
    left().push(thing);
}

/// Takes a thing off the list: it is gone, or meant to stay.
pub(super) fn forget(thing: &Thing) {
    left().retain(|other| other != thing);
}

/// Whether a thing is on the list.
pub(super) fn is_left(thing: &Thing) -> bool {
    left().contains(thing)
}

/// Removes everything on the list, newest first.
pub(super) fn run() {
    let things: Vec<Thing> = left().drain(..).collect();
    for thing in things.into_iter().rev() {
        match thing {
            Thing::Process(pid) => process::kill_tree(pid),
            Thing::Namespace(name) => netns::remove(&name),
            Thing::Folder(path) => drop(fs::remove_dir_all(path)),
        }
    }
}

fn left() -> MutexGuard<'static, Vec<Thing>> {
    LEFT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Write end of the pipe that carries signals out of their handler.
static PIPE: AtomicI32 = AtomicI32::new(-1);

extern "C" fn note(signal: libc::c_int) {
    let byte = signal as u8;
    // SAFETY: write(2) may be called in a signal handler; the byte outlives the call and the
    // descriptor is never closed.
    unsafe { libc::write(PIPE.load(Ordering::Relaxed), (&raw const byte).cast(), 1) };
}

fn watch_signals() {
    let Ok((read, write)) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC) else {
        return;
    };
    PIPE.store(write.as_raw_fd(), Ordering::Relaxed);
    std::mem::forget(write);
    let handler: extern "C" fn(libc::c_int) = note;
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        // SAFETY: the handler has the signature the call expects and does only what a handler
        // may do.
        unsafe { libc::signal(signal.as_raw(), handler as libc::sighandler_t) };
    }
    std::thread::spawn(move || clean_up_at_signal(&read));
}

fn clean_up_at_signal(read: &OwnedFd) {
    let mut byte = [0];
    while rustix::io::read(read, &mut byte) == Err(rustix::io::Errno::INTR) {}
    run();
    let signal = libc::c_int::from(byte[0]);
    // SAFETY: restores the default action and ends this process the way the signal asked.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
    std::process::exit(128 + signal);
}
