//! The BPF toolchain: a Rust compiler with the source of its own library, and a bpf-linker
//! built for the same LLVM.
//!
//! `bpfel-unknown-none` has no prebuilt `core`, so cargo builds it, and that takes the library
//! source (`rust-src`) of exactly the compiler in use. [`probe`] looks at the machine,
//! [`choose`] decides (a pure function), [`install`] does what was decided, until there is
//! a pair to build with or a reason why there cannot be one.

pub mod choose;
pub mod install;
pub mod probe;

use std::fmt;
use std::path::PathBuf;

use anyhow::{Result, anyhow};

use choose::{Environment, Plan};

/// The linker version installed when there is none; the features below are this version's.
pub const LINKER_VERSION: &str = "0.13.0";

/// LLVM major versions we build with: the ones [`LINKER_VERSION`] has a feature for,
/// less those that do not know `allows-misaligned-mem-access` (21 and older).
pub const LLVM_MAJORS: [u32; 2] = [22, 23];

/// A Rust compiler found on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiler {
    /// Its cargo, which must be of the same release for `-Z build-std`.
    pub cargo: PathBuf,
    /// The compiler itself, never a rustup proxy.
    pub rustc: PathBuf,
    /// As `rustc -vV` prints it, such as `1.96.0`.
    pub release: String,
    /// The LLVM it was built with.
    pub llvm: u32,
    /// Whether the library source lies where `-Z build-std` looks.
    pub has_source: bool,
    /// The rustup toolchain it belongs to (`nightly`, `stable`), if rustup named it.
    pub rustup: Option<String>,
}

/// A bpf-linker found on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linker {
    /// The executable.
    pub path: PathBuf,
    /// As `bpf-linker --version` prints it, such as `0.13.0`.
    pub version: String,
    /// The LLVM it links with, where that can be found out.
    pub llvm: Option<u32>,
}

/// A compiler and a linker that fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    /// Builds the object.
    pub compiler: Compiler,
    /// Links it.
    pub linker: Linker,
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            release,
            llvm,
            rustc,
            ..
        } = self;
        write!(f, "rustc {release} (LLVM {llvm}) {}", rustc.display())
    }
}

impl fmt::Display for Linker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bpf-linker {}", self.version)?;
        if let Some(llvm) = self.llvm {
            write!(f, " (LLVM {llvm})")?;
        }
        write!(f, " {}", self.path.display())
    }
}

/// Finds a toolchain, installing what is missing and permitted; the error is one line with the fix.
pub fn ready() -> Result<Toolchain> {
    let mut tried = Vec::new();
    let mut failed = None;
    // Each step is tried once, so this ends.
    loop {
        let seen = Environment {
            tried: tried.clone(),
            ..probe::environment()?
        };
        match choose::choose(&seen) {
            Plan::Build(toolchain) => return Ok(toolchain),
            // What went wrong on the way says more than that there is no way.
            Plan::Refuse(why) => return Err(failed.unwrap_or_else(|| anyhow!(why))),
            Plan::Install(step) => {
                failed = install::install(&step, &seen).err().or(failed);
                tried.push(step);
            }
        }
    }
}
