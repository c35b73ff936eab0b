//! The pin directory: `link_<ifindex>` beside one directory of maps per layout version.
//!
//! Links are outside the versioned directory, so that an upgrade that changes a layout still finds
//! the link of its predecessor and swaps the program on it.

use std::ffi::{CString, OsStr};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;

use aya::maps::{MapData, MapType};
use ha_common::event::AdvertEvent;
use ha_common::maps::{
    EVENTS_BYTES, Foreign, Instance, LAYOUT_VERSION, LastAdvert, LastDrop, MAX_FOREIGN, MAX_PEERS,
    MAX_RATES, PeerKey, RateWindow, Vip, Vip6Key, VridKey, name,
};
use ha_common::verdict::Verdicts;

use super::{Error, Options, remove_file};

/// `BPF_FS_MAGIC` of linux/magic.h.
const BPF_FS_MAGIC: u32 = 0xcafe_4a11;
const LINK_PREFIX: &str = "link_";

/// What a map must look like to be adopted.
pub(super) struct Shape {
    pub(super) name: &'static str,
    kind: MapType,
    key: u32,
    value: u32,
    pub(super) max_entries: u32,
}

/// Every map of the program, in no particular order.
pub(super) fn shapes(options: &Options) -> [Shape; 12] {
    const fn shape<K, V>(name: &'static str, kind: MapType, max_entries: u32) -> Shape {
        Shape {
            name,
            kind,
            key: size_of::<K>() as u32,
            value: size_of::<V>() as u32,
            max_entries,
        }
    }
    use MapType::{Array, Hash, LruHash, PerCpuArray, RingBuf};
    let (instances, vips) = (options.max_instances, options.max_vips);
    const { assert!(size_of::<AdvertEvent>() < EVENTS_BYTES as usize) };
    [
        shape::<u32, Instance>(name::INSTANCES, Array, instances),
        shape::<VridKey, u32>(name::VRIDS, Hash, instances),
        shape::<u32, LastAdvert>(name::ADVERTS, Array, instances),
        shape::<[u8; 4], Vip>(name::VIPS4, Hash, vips),
        shape::<Vip6Key, Vip>(name::VIPS6, Hash, vips),
        shape::<PeerKey, u32>(name::PEERS, Hash, MAX_PEERS),
        shape::<PeerKey, RateWindow>(name::RATES, LruHash, MAX_RATES),
        shape::<u32, Verdicts>(name::VERDICTS, PerCpuArray, 1),
        shape::<u32, Verdicts>(name::VRID_VERDICTS, PerCpuArray, instances),
        shape::<u32, LastDrop>(name::DROPS, Array, instances),
        shape::<VridKey, Foreign>(name::FOREIGN, LruHash, MAX_FOREIGN),
        // A ring buffer has neither key nor value.
        shape::<(), ()>(name::EVENTS, RingBuf, EVENTS_BYTES),
    ]
}

/// Unlinks the map at `path` unless it looks like `shape`; aya adopts what is left unseen.
pub(super) fn discard_unlike(path: &Path, shape: &Shape) -> Result<(), Error> {
    if !path.exists() {
        return Ok(());
    }
    let alike = MapData::from_pin(path)
        .and_then(|map| map.info())
        .is_ok_and(|info| {
            info.map_type().is_ok_and(|kind| kind == shape.kind)
                && info.key_size() == shape.key
                && info.value_size() == shape.value
                && info.max_entries() == shape.max_entries
        });
    if !alike {
        tracing::info!(map = shape.name, "pinned map has another shape: made anew");
        remove_file(path)?;
    }
    Ok(())
}

/// Makes the directories, and returns the one of the maps.
pub(super) fn prepare(pin_dir: &Path) -> Result<PathBuf, Error> {
    let map_dir = pin_dir.join(format!("v{LAYOUT_VERSION}"));
    fs::create_dir_all(&map_dir).map_err(|source| Error::Pin {
        path: map_dir.clone(),
        verb: "create",
        source,
    })?;
    Ok(map_dir)
}

/// Refuses a directory that would not be on a BPF filesystem.
pub(super) fn check_filesystem(pin_dir: &Path) -> Result<(), Error> {
    let is_bpf = pin_dir
        .ancestors()
        .find(|path| path.exists())
        .and_then(|path| rustix::fs::statfs(path).ok())
        .is_some_and(|found| found.f_type as u32 == BPF_FS_MAGIC);
    if is_bpf {
        return Ok(());
    }
    Err(Error::NoBpffs {
        path: pin_dir.to_owned(),
    })
}

/// Where the link of an interface is pinned. bpffs reserves dots, which interface names may hold.
pub(super) fn link_path(pin_dir: &Path, ifindex: u32) -> PathBuf {
    pin_dir.join(format!("{LINK_PREFIX}{ifindex}"))
}

/// The interfaces that have a pinned link.
pub(super) fn pinned_links(pin_dir: &Path) -> Result<Vec<u32>, Error> {
    let names = list(pin_dir)?;
    Ok(names
        .iter()
        .filter_map(|path| numbered(path.file_name(), LINK_PREFIX))
        .collect())
}

/// Detaches every program pinned under `pin_dir` and removes every pin, of any layout version.
///
/// Needs no program and no agent. Touches nothing that an agent has not made. Returns how many
/// pins were there.
///
/// # Errors
/// [`Error::Pin`] for the first pin that cannot be removed.
pub fn remove_pins(pin_dir: &Path) -> Result<usize, Error> {
    let mut removed = 0;
    let names = list(pin_dir)?;
    // Links first: a program without its maps would still run, and fence.
    for link in names
        .iter()
        .filter(|path| numbered(path.file_name(), LINK_PREFIX).is_some())
    {
        removed += usize::from(remove_link(link)?);
    }
    for map_dir in names
        .iter()
        .filter(|path| numbered(path.file_name(), "v").is_some())
    {
        for map in list(map_dir)? {
            removed += usize::from(remove_file(&map)?);
        }
        remove_dir(map_dir)?;
    }
    if list(pin_dir)?.is_empty() {
        remove_dir(pin_dir)?;
    }
    Ok(removed)
}

/// Detaches the link pinned at `path` and unlinks it; whether there was one.
pub(super) fn remove_link(path: &Path) -> Result<bool, Error> {
    // The kernel frees an unlinked pin when it gets to it; until then the program would run on.
    // What cannot be detached goes with its pin.
    if let Ok(link) = get_object(path) {
        let _ = detach_link(&link);
    }
    remove_file(path)
}

/// `BPF_OBJ_GET`: aya shows the descriptor of a link to nobody.
fn get_object(path: &Path) -> io::Result<OwnedFd> {
    const BPF_OBJ_GET: libc::c_int = 7;
    #[repr(C)]
    struct Attributes {
        pathname: u64,
        bpf_fd: u32,
        file_flags: u32,
    }
    let path = CString::new(path.as_os_str().as_bytes())?;
    let fd = bpf(
        BPF_OBJ_GET,
        &Attributes {
            pathname: path.as_ptr() as u64,
            bpf_fd: 0,
            file_flags: 0,
        },
    )?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `BPF_LINK_DETACH` (Linux 5.9): takes effect before it returns.
fn detach_link(link: &OwnedFd) -> io::Result<()> {
    const BPF_LINK_DETACH: libc::c_int = 34;
    #[repr(C)]
    struct Attributes {
        link_fd: u32,
    }
    let link_fd = link.as_raw_fd() as u32;
    bpf(BPF_LINK_DETACH, &Attributes { link_fd }).map(|_| ())
}

/// bpf(2) with a prefix of its attributes; the kernel takes the rest for zero.
fn bpf<A>(command: libc::c_int, attributes: &A) -> io::Result<RawFd> {
    // SAFETY: the attributes are the leading fields of `union bpf_attr` for this command, live
    // during the call, and as long as the size says; neither command writes to them.
    let done = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            ptr::from_ref(attributes),
            size_of::<A>(),
        )
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(done as RawFd)
}

fn numbered(name: Option<&OsStr>, prefix: &str) -> Option<u32> {
    name?.to_str()?.strip_prefix(prefix)?.parse().ok()
}

fn list(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = |source| Error::Pin {
        path: dir.to_owned(),
        verb: "read",
        source,
    };
    match fs::read_dir(dir) {
        Ok(found) => found
            .map(|entry| entry.map(|entry| entry.path()).map_err(read))
            .collect(),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(read(source)),
    }
}

fn remove_dir(dir: &Path) -> Result<(), Error> {
    match fs::remove_dir(dir) {
        Ok(()) => Ok(()),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::Pin {
            path: dir.to_owned(),
            verb: "remove",
            source,
        }),
    }
}
