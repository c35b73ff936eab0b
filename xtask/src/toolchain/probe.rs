//! Looks at the machine: compilers, linkers, LLVM, and what could install them.
//!
//! Runs at each build, so it asks only what answers in milliseconds.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, Result, bail};

use super::choose::Environment;
use super::{Compiler, Linker};
use crate::cmd;
use crate::machine::{self, Privilege};

/// Where below a sysroot `-Z build-std` looks for the library.
const LIBRARY_SOURCE: &str = "lib/rustlib/src/rust/library/core/Cargo.toml";

/// The machine as it is now.
pub fn environment() -> Result<Environment> {
    let explicit = explicit_compiler()?;
    let explicit_linker = explicit_linker()?;
    let compilers = match explicit {
        Some(_) => Vec::new(),
        None => compilers(),
    };
    let linkers = match explicit_linker {
        Some(_) => Vec::new(),
        None => linkers(),
    };
    Ok(Environment {
        explicit,
        compilers,
        explicit_linker,
        linkers,
        llvm: llvm_prefixes(),
        rustup: machine::find_program("rustup").is_some(),
        apt: machine::is_debian() && Privilege::probe().is_root(),
        tried: Vec::new(),
    })
}

fn explicit_compiler() -> Result<Option<Compiler>> {
    let named = |name| {
        env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    match (named("HA_BPF_CARGO"), named("HA_BPF_RUSTC")) {
        (None, None) => Ok(None),
        (Some(cargo), Some(rustc)) => {
            let found =
                compiler(&rustc).with_context(|| format!("HA_BPF_RUSTC={}", rustc.display()))?;
            Ok(Some(Compiler { cargo, ..found }))
        }
        _ => bail!("HA_BPF_CARGO and HA_BPF_RUSTC go together: set both or neither"),
    }
}

fn compilers() -> Vec<Compiler> {
    let rustup = ["nightly", "stable"]
        .into_iter()
        .filter_map(|name| Some((rustup_compiler(name)?, Some(name.to_owned()))));
    let others = machine::programs("rustc")
        .into_iter()
        .map(|path| (path, None));
    let mut seen = HashSet::new();
    rustup
        .chain(others)
        .filter_map(|(path, rustup)| {
            Some(Compiler {
                rustup,
                ..compiler(&path).ok()?
            })
        })
        .filter(|found| found.cargo.is_file() && seen.insert(found.rustc.canonicalize().ok()))
        .collect()
}

/// The compiler of a rustup toolchain that is installed.
fn rustup_compiler(toolchain: &str) -> Option<PathBuf> {
    let mut command = Command::new(machine::find_program("rustup")?);
    command
        .args(["run", toolchain, "rustc", "--print", "sysroot"])
        .env("RUSTUP_AUTO_INSTALL", "0");
    let sysroot = cmd::stdout(&mut command).ok()?;
    Some(Path::new(sysroot.trim()).join("bin/rustc"))
}

/// Asks a compiler, or the one behind a rustup proxy, what it is.
fn compiler(rustc: &Path) -> Result<Compiler> {
    let ask = |arguments: &[&str]| {
        let mut command = Command::new(rustc);
        command
            .args(arguments)
            .env_remove("RUSTUP_TOOLCHAIN")
            .env("RUSTUP_AUTO_INSTALL", "0");
        cmd::stdout(&mut command)
    };
    let sysroot = PathBuf::from(ask(&["--print", "sysroot"])?.trim());
    let (release, llvm) = versions(&ask(&["-vV"])?)
        .with_context(|| format!("`{} -vV` names no release and LLVM", rustc.display()))?;
    let real = sysroot.join("bin/rustc");
    let rustc = if real.is_file() {
        real
    } else {
        rustc.to_owned()
    };
    Ok(Compiler {
        has_source: sysroot.join(LIBRARY_SOURCE).is_file(),
        cargo: rustc.with_file_name("cargo"),
        rustc,
        release,
        llvm,
        rustup: None,
    })
}

/// Release and LLVM major version, from `rustc -vV`.
fn versions(verbose: &str) -> Option<(String, u32)> {
    let field = |name: &str| verbose.lines().find_map(|line| line.strip_prefix(name));
    let release = field("release: ")?.to_owned();
    let llvm = field("LLVM version: ")?.split('.').next()?.parse().ok()?;
    Some((release, llvm))
}

fn explicit_linker() -> Result<Option<Linker>> {
    let Some(path) = env::var_os("BPF_LINKER").filter(|v| !v.is_empty()) else {
        return Ok(None);
    };
    let path = PathBuf::from(path);
    // A bare name is one on PATH.
    let path = path
        .to_str()
        .and_then(machine::find_program)
        .unwrap_or(path);
    let found = linker(&path).with_context(|| format!("BPF_LINKER={}", path.display()))?;
    Ok(Some(found))
}

fn linkers() -> Vec<Linker> {
    let folders = [
        env::var_os("CARGO_INSTALL_ROOT").map(|root| PathBuf::from(root).join("bin")),
        env::var_os("CARGO_HOME").map(|home| PathBuf::from(home).join("bin")),
        env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo/bin")),
    ];
    let installed = folders
        .into_iter()
        .flatten()
        .map(|folder| folder.join("bpf-linker"));
    let mut seen = HashSet::new();
    machine::programs("bpf-linker")
        .into_iter()
        .chain(installed)
        .filter(|path| path.canonicalize().is_ok_and(|real| seen.insert(real)))
        .filter_map(|path| linker(&path).ok())
        .collect()
}

/// Asks a linker what it is; one that does not start (its LLVM was removed) is none.
fn linker(path: &Path) -> Result<Linker> {
    let said = cmd::stdout(Command::new(path).arg("--version"))?;
    let Some(version) = said.strip_prefix("bpf-linker ") else {
        bail!("`{} --version` names another program", path.display());
    };
    let libraries = cmd::stdout(Command::new("ldd").arg(path)).unwrap_or_default();
    let recorded = || {
        let record = path.parent()?.parent()?.join(".crates2.json");
        recorded_llvm(&fs::read_to_string(record).ok()?)
    };
    Ok(Linker {
        path: path.to_owned(),
        version: version.trim().to_owned(),
        llvm: linked_llvm(&libraries).or_else(recorded),
    })
}

/// The LLVM a dynamically linked program uses, from what `ldd` prints
/// (`libLLVM.so.22.1 => ..`, `libLLVM-22.so => ..`).
fn linked_llvm(libraries: &str) -> Option<u32> {
    libraries
        .lines()
        .find_map(|line| line.trim().strip_prefix("libLLVM"))
        .and_then(first_number)
}

/// The LLVM feature bpf-linker was installed with, from cargo's record of installed programs.
fn recorded_llvm(crates2: &str) -> Option<u32> {
    let record: serde_json::Value = serde_json::from_str(crates2).ok()?;
    let (_, package) = record["installs"]
        .as_object()?
        .iter()
        .find(|(name, _)| name.starts_with("bpf-linker "))?;
    package["features"]
        .as_array()?
        .iter()
        .find_map(|feature| feature.as_str()?.strip_prefix("llvm-")?.parse().ok())
}

fn first_number(text: &str) -> Option<u32> {
    text.split(|c: char| !c.is_ascii_digit())
        .find(|digits| !digits.is_empty())?
        .parse()
        .ok()
}

/// LLVM installations with headers and library, by major version. On Debian zstd's headers
/// count as part of it: llvm-sys links zstd, and only a separate package has them.
fn llvm_prefixes() -> Vec<(u32, PathBuf)> {
    if machine::is_debian() && !Path::new("/usr/include/zstd.h").is_file() {
        return Vec::new();
    }
    super::LLVM_MAJORS
        .into_iter()
        .filter_map(|major| Some((major, llvm_prefix(major)?)))
        .collect()
}

fn llvm_prefix(major: u32) -> Option<PathBuf> {
    let ask = |program: PathBuf, what: &str| cmd::stdout(Command::new(program).arg(what)).ok();
    let asked = [format!("llvm-config-{major}"), "llvm-config".to_owned()]
        .iter()
        .filter_map(|name| machine::find_program(name))
        .find(|program| {
            ask(program.clone(), "--version").and_then(|version| first_number(&version))
                == Some(major)
        })
        .and_then(|program| Some(PathBuf::from(ask(program, "--prefix")?.trim())));
    let debian = PathBuf::from(format!("/usr/lib/llvm-{major}"));
    asked
        .into_iter()
        .chain([debian])
        .find(|prefix| prefix.join("include/llvm-c/Core.h").is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_the_compiler() {
        let said =
            "rustc 1.96.0 (ac68faa20)\nbinary: rustc\nrelease: 1.96.0\nLLVM version: 22.1.8\n";
        assert_eq!(versions(said), Some(("1.96.0".to_owned(), 22)));
        assert_eq!(versions("release: 1.96.0\n"), None);
    }

    #[test]
    fn the_linked_llvm_is_read_from_both_spellings() {
        assert_eq!(linked_llvm("\tlibLLVM.so.22.1 => /usr/lib/x\n"), Some(22));
        assert_eq!(
            linked_llvm("\tlibz.so.1 => x\n\tlibLLVM-21.so => x\n"),
            Some(21)
        );
        assert_eq!(linked_llvm("\tlibz.so.1 => /libLLVM.so.22\n"), None);
    }

    #[test]
    fn the_recorded_llvm_is_the_feature_it_was_installed_with() {
        let record = r#"{"installs": {
            "other 1.0.0 (x)": {"features": ["llvm-9"]},
            "bpf-linker 0.13.0 (x)": {"features": ["llvm-22"]}}}"#;
        assert_eq!(recorded_llvm(record), Some(22));
        assert_eq!(recorded_llvm(r#"{"installs": {}}"#), None);
        assert_eq!(recorded_llvm("not json"), None);
    }
}
