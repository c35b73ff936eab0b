//! The configuration file: read, checked as a whole, and typed.
//!
//! ```text
//! text ─► file (keys as written) ─► check, across (what they say together) ─► model::Config
//!                                                                              │
//!                              against_host (needs the kernel's facts) ◄───────┤
//!                              changes (what a reload can follow)      ◄───────┘
//! ```
//!
//! Every mistake is found in one run, each with its place and its fix. [`model`] is part of the
//! core; everything else here is not.

pub mod address;
pub mod duration;
pub mod model;

mod across;
mod changes;
mod check;
mod diagnostic;
mod file;
mod host;
mod keys;
mod report;
mod section;
mod suggest;
mod syntax;
mod values;

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::Path;

use toml::Spanned;
use toml::de::DeTable;

pub use changes::{Change, changes, reloadable};
pub use diagnostic::{Diagnostic, Diagnostics, Place, Position, Severity};
pub use host::{HostInterface, Places, against_host};
use model::Config;
use report::Report;

/// Largest file read, in bytes: some hundred times that of 250 instances.
pub const MAX_BYTES: u64 = 10 * 1024 * 1024;

/// `run_dir` when it is left out.
pub const RUN_DIR: &str = "/run/ha-agent";
/// `pin_dir` when it is left out.
pub const PIN_DIR: &str = "/sys/fs/bpf/ha-agent";

/// A configuration that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What the operator should know, in the order of the file.
    pub warnings: Vec<Diagnostic>,
    /// For [`against_host`].
    pub places: Places,
}

/// Reads and checks a file.
///
/// # Errors
/// Every error found, and the warnings beside them.
pub fn load(path: &Path) -> Result<Loaded, Diagnostics> {
    let name = path.display().to_string();
    let whole = |message: String, fix: &str| {
        let place = Place {
            file: name.clone(),
            position: None,
        };
        Diagnostics::from(Diagnostic::error(place, message, fix))
    };
    let mut bytes = Vec::new();
    let read =
        fs::File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        let fix = match error.kind() {
            ErrorKind::NotFound => "write it, or name another with --config",
            ErrorKind::PermissionDenied => "run as root, or make the file readable",
            ErrorKind::IsADirectory => "name a file in it",
            _ => "make the file readable",
        };
        return Err(whole(format!("cannot read: {error}"), fix));
    }
    if bytes.len() as u64 > MAX_BYTES {
        let message = format!("more than {} MB", MAX_BYTES / 1024 / 1024);
        return Err(whole(message, "is this the right file?"));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => parse(&name, text),
        Err(error) => {
            let at = error.valid_up_to();
            let text = String::from_utf8_lossy(&bytes);
            let mut report = Report::new(&name, &text);
            let message = format!("byte 0x{:02x} is not UTF-8", bytes[at]);
            report.error(at..at, message, "save the file as UTF-8");
            Err(Diagnostics(report.found()))
        }
    }
}

/// Checks a text; `name` stands for it in the findings.
///
/// # Errors
/// Every error found, and the warnings beside them; of a text that is not TOML the first error.
pub fn parse(name: &str, text: &str) -> Result<Loaded, Diagnostics> {
    let mut report = Report::new(name, text);
    let root = match DeTable::parse(text) {
        Ok(root) => root,
        Err(error) => {
            syntax::report(&mut report, text, &error);
            return Err(Diagnostics(report.found()));
        }
    };
    let file = file::read(&mut report, &root, host_name);
    let tables = file.instances.iter();
    let instances: Vec<_> = tables.map(|t| check::instance(&mut report, t)).collect();
    across::file(&mut report, &file);
    let errors = report.errors();
    let found = report.found();
    match instances.into_iter().collect() {
        Some(instances) if errors == 0 => Ok(Loaded {
            places: places(name, text, &file),
            config: Config {
                agent: file.agent.agent,
                instances,
            },
            warnings: found,
        }),
        _ => Err(Diagnostics(found)),
    }
}

/// The default of `router_id`.
fn host_name() -> String {
    let read = fs::read_to_string("/proc/sys/kernel/hostname");
    let name = read.unwrap_or_default();
    match name.trim() {
        "" => "ha-agent".to_owned(),
        name => name.to_owned(),
    }
}

fn places(name: &str, text: &str, file: &file::File) -> Places {
    let instances = file.instances.iter().map(|table| {
        let or_header = |at: Option<report::Span>| at.unwrap_or_else(|| table.header.clone());
        host::InstancePlaces {
            interface: or_header(table.interface.as_ref().map(Spanned::span)),
            priority: or_header(table.priority.as_ref().map(Spanned::span)),
            source: or_header(table.source.as_ref().map(Spanned::span)),
            addresses: table.vips().iter().map(Spanned::span).collect(),
            peers: table.peer_list().iter().map(Spanned::span).collect(),
        }
    });
    Places {
        file: name.to_owned(),
        text: text.to_owned(),
        instances: instances.collect(),
        fences: file.agent.fences.iter().map(Spanned::span).collect(),
    }
}
