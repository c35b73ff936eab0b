//! An XDP program of somebody else: passes everything and is in the way.

use std::ffi::CString;
use std::fs;
use std::io;
use std::mem;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::node::{INTERFACE, Node};
use crate::cmd;

/// `r0 = XDP_PASS; exit` in the kernel's instruction encoding.
const PASS: [u64; 2] = [0x0000_0002_0000_00b7, 0x95];
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_OBJ_PIN: libc::c_long = 6;
const BPF_PROG_TYPE_XDP: u32 = 6;

/// The beginning of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log: [u32; 4],
    kern_version: u32,
    prog_flags: u32,
}

/// The beginning of `union bpf_attr` for `BPF_OBJ_PIN`.
#[repr(C)]
struct Pin {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// Attaches a program to a node's interface and returns its id.
pub fn attach_foreign(node: &Node) -> Result<u64> {
    // bpffs allows no dots in names.
    let pin = PathBuf::from(format!("{}-foreign", node.pins().display()));
    load(&pin).context("load a foreign XDP program")?;
    // Not `ip -n`, which hides the BPF file system.
    let mut attach = node.netns.tool("ip");
    attach
        .args(["link", "set", "dev", INTERFACE, "xdp", "pinned"])
        .arg(&pin);
    let attached = cmd::stdout(&mut attach);
    // The link keeps the program; the pin has done its part.
    fs::remove_file(&pin)?;
    attached?;
    let (id, _) = node.xdp()?.context("the foreign program is not attached")?;
    Ok(id)
}

/// Detaches it.
pub fn detach_foreign(node: &Node) -> Result<()> {
    node.netns
        .ip(&["link", "set", "dev", INTERFACE, "xdp", "off"])?;
    ensure!(
        node.xdp()?.is_none(),
        "the foreign program is still attached"
    );
    Ok(())
}

fn load(pin: &Path) -> Result<()> {
    let load = Load {
        prog_type: BPF_PROG_TYPE_XDP,
        insn_cnt: PASS.len() as u32,
        insns: PASS.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log: [0; 4],
        kern_version: 0,
        prog_flags: 0,
    };
    let program = bpf(BPF_PROG_LOAD, &load)?;
    let path = CString::new(pin.to_string_lossy().as_bytes())?;
    let attributes = Pin {
        pathname: path.as_ptr() as u64,
        bpf_fd: program as u32,
        file_flags: 0,
    };
    let pinned = bpf(BPF_OBJ_PIN, &attributes);
    // SAFETY: the descriptor is ours and nobody else knows it.
    unsafe { libc::close(program as libc::c_int) };
    pinned.map(drop)
}

fn bpf<T>(command: libc::c_long, attributes: &T) -> Result<libc::c_long> {
    // SAFETY: address and size are those of a live attribute block, whose own pointers are to
    // values that outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            attributes as *const T,
            mem::size_of::<T>(),
        )
    };
    ensure!(
        result >= 0,
        "bpf({command}): {}",
        io::Error::last_os_error()
    );
    Ok(result)
}
