//! Installs one step of what [`super::choose`] decided, and says so.

use std::process::Command;

use anyhow::{Context as _, Result};

use super::choose::{Environment, Step};
use super::{Compiler, LINKER_VERSION};
use crate::{apt, build_ebpf, cmd, workspace};

/// Does the step; the error is one line.
pub fn install(step: &Step, seen: &Environment) -> Result<()> {
    match step {
        Step::AptCompiler => apt::install(
            &["rustc-web", "cargo-web", "rust-web-src"],
            "a Rust compiler with its library source, for the XDP program",
        ),
        Step::AptLlvm(major) => apt::install(
            &[&format!("llvm-{major}-dev"), "libzstd-dev"],
            "LLVM of the BPF compiler, to build bpf-linker",
        ),
        Step::RustupSource(toolchain) => {
            rustup(&["component", "add", "rust-src", "--toolchain", toolchain])
        }
        Step::RustupNightly => rustup(&[
            "toolchain",
            "install",
            "nightly",
            "--profile",
            "minimal",
            "--component",
            "rust-src",
            "--no-self-update",
        ]),
        Step::Linker(major, compiler) => linker(*major, compiler, seen),
    }
}

fn rustup(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("rustup");
    command.args(arguments);
    println!(
        "installing with `{}` (library source for the XDP program)",
        cmd::shown(&command)
    );
    cmd::logged(&mut command, &workspace::log("xtask-install.log"))
        .context("is the network there? fix: run that command by hand")
}

/// Builds bpf-linker against the LLVM at hand, with the compiler it will serve.
fn linker(major: u32, compiler: &Compiler, seen: &Environment) -> Result<()> {
    let mut command = Command::new(&compiler.cargo);
    build_ebpf::bare(&mut command, compiler);
    command
        .args([
            "install",
            "bpf-linker",
            "--version",
            LINKER_VERSION,
            "--locked",
            "--force",
        ])
        .args([
            "--no-default-features",
            "--features",
            &format!("llvm-{major}"),
        ]);
    if let Some((_, prefix)) = seen.llvm.iter().find(|(llvm, _)| *llvm == major) {
        // bpf-linker's build script reads the first, llvm-sys the second; without the first
        // it links against an LLVM it does not find ("unable to find library -lLLVM").
        command
            .env("LLVM_PREFIX", prefix)
            .env(format!("LLVM_SYS_{major}1_PREFIX"), prefix);
    }
    println!("installing bpf-linker {LINKER_VERSION} for LLVM {major} (about a minute)");
    cmd::logged(&mut command, &workspace::log("xtask-install.log")).with_context(|| {
        format!(
            "bpf-linker for LLVM {major} did not build; is the network there? or set BPF_LINKER"
        )
    })
}
