//! `cargo xtask build-ebpf`: the object for the kernel, in `target/bpf/ha-ebpf.o`.

use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::toolchain::{self, Compiler, Toolchain};
use crate::{cmd, machine, workspace};

/// The little-endian BPF machine; aya and every kernel we support on x86 and arm run it.
const TARGET: &str = "bpfel-unknown-none";

/// Flags for the kernel's target only; build scripts and macros of the host never see them.
///
/// - `debuginfo=2` and `--btf`: map and type names for bpftool and the loader.
/// - `target-cpu=v3`: 32-bit operations and the second half of the jumps (kernel 5.1).
/// - `allows-misaligned-mem-access`: headers are read as words where the machine can (x86,
///   arm64), instead of byte by byte: a quarter fewer instructions. Said to the linker, which
///   optimizes and generates the code; `-Ctarget-feature` makes the same code, and a warning
///   at each build.
pub const RUSTFLAGS: [&str; 4] = [
    "-Cdebuginfo=2",
    "-Clink-arg=--btf",
    "-Ctarget-cpu=v3",
    "-Clink-arg=--cpu-features=+allows-misaligned-mem-access",
];

/// Variables of a user's or cargo's host build that must not reach the inner one. Cargo's
/// network and registry settings stay.
const HOST_ONLY: [&str; 14] = [
    "CARGO_BUILD_RUSTC",
    "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTC_WRAPPER",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "RUSTC",
    "RUSTC_BOOTSTRAP",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
    "__CARGO_DEFAULT_LIB_METADATA",
];

/// Finds or installs the toolchain, builds the object and says with what.
pub fn run() -> Result<()> {
    build(&toolchain::ready()?).map(drop)
}

/// Builds the object with a toolchain that is there and returns its path.
pub fn build(toolchain: &Toolchain) -> Result<PathBuf> {
    let Toolchain { compiler, linker } = toolchain;
    println!("compiler  {compiler}\nlinker    {linker}");
    compile(&mut command(toolchain))?;
    let built = workspace::bpf_target().join(TARGET).join("bpf/ha-ebpf");
    let object = workspace::bpf_object();
    let bytes = publish(&built, &object)?;
    println!("object    {} ({bytes} bytes)", workspace::short(&object));
    Ok(object)
}

/// Runs cargo and shows what the compiler says; in CI a warning is an error.
fn compile(command: &mut Command) -> Result<()> {
    let rendered = match io::stderr().is_terminal() {
        true => "json-diagnostic-rendered-ansi",
        false => "json",
    };
    command
        .args(["--message-format", rendered])
        .stderr(Stdio::inherit());
    let output = cmd::captured(command)?;
    let said = diagnostics(&String::from_utf8_lossy(&output.stdout));
    for diagnostic in &said {
        eprint!("{diagnostic}");
    }
    cmd::check(command, output.status, "")?;
    // No other step sees this code: clippy checks what is compiled for the host.
    if machine::is_ci() && !said.is_empty() {
        bail!("`{}`: warnings, and CI=true", cmd::shown(command));
    }
    Ok(())
}

/// The compiler's diagnostics in cargo's JSON messages, as it would have printed them.
fn diagnostics(messages: &str) -> Vec<String> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| Some(message["message"]["rendered"].as_str()?.to_owned()))
        .collect()
}

/// The cargo command that builds the object.
fn command(Toolchain { compiler, linker }: &Toolchain) -> Command {
    let mut flags = vec![format!("-Clinker={}", linker.path.display())];
    flags.extend(RUSTFLAGS.map(str::to_owned));
    let mut command = Command::new(&compiler.cargo);
    bare(&mut command, compiler)
        .current_dir(workspace::root())
        .args(["build", "--quiet", "--package", "ha-ebpf"])
        .args(["--profile", "bpf"])
        .args(["-Z", "build-std=core", "--target", TARGET, "--target-dir"])
        .arg(workspace::bpf_target())
        // `-Z` needs a nightly, or a compiler that is told to behave as one.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    command
}

/// Lets a cargo command use this compiler and nothing of the host's build settings.
pub fn bare<'a>(command: &'a mut Command, compiler: &Compiler) -> &'a mut Command {
    cmd::forget_package(command);
    for name in HOST_ONLY {
        command.env_remove(name);
    }
    // Empty overrides a wrapper from a configuration file too.
    command
        .env("RUSTC", &compiler.rustc)
        .env("RUSTC_WRAPPER", "")
        .env("RUSTC_WORKSPACE_WRAPPER", "")
}

/// Puts the object where the agent's build script watches it, whole or not at all, and not
/// when nothing changed: the agent is built anew whenever the file is written.
fn publish(built: &Path, object: &Path) -> Result<usize> {
    let bytes = fs::read(built).with_context(|| format!("read {}", built.display()))?;
    if fs::read(object).is_ok_and(|old| old == bytes) {
        return Ok(bytes.len());
    }
    let new = object.with_extension("o.new");
    fs::write(&new, &bytes)
        .and_then(|()| fs::rename(&new, object))
        .with_context(|| format!("write {}", object.display()))?;
    Ok(bytes.len())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;
    use crate::toolchain::Linker;

    fn toolchain() -> Toolchain {
        Toolchain {
            compiler: Compiler {
                cargo: "/c/cargo".into(),
                rustc: "/c/rustc".into(),
                release: "1.96.0".to_owned(),
                llvm: 22,
                has_source: true,
                rustup: None,
            },
            linker: Linker {
                path: "/l/bpf-linker".into(),
                version: "0.13.0".to_owned(),
                llvm: Some(22),
            },
        }
    }

    #[test]
    fn the_inner_build_is_told_its_compiler_and_nothing_of_the_hosts() {
        let command = command(&toolchain());
        let variable = |name: &str| {
            command
                .get_envs()
                .find(|(n, _)| *n == OsStr::new(name))
                .map(|(_, v)| v)
        };
        assert_eq!(command.get_program(), "/c/cargo");
        assert_eq!(variable("RUSTC"), Some(Some(OsStr::new("/c/rustc"))));
        assert_eq!(variable("RUSTC_BOOTSTRAP"), Some(Some(OsStr::new("1"))));
        for removed in [
            "RUSTFLAGS",
            "RUSTUP_TOOLCHAIN",
            "CARGO_TARGET_DIR",
            "CARGO_MANIFEST_DIR",
        ] {
            assert_eq!(variable(removed), Some(None), "{removed}");
        }
        assert_eq!(
            variable("CARGO_ENCODED_RUSTFLAGS").flatten(),
            Some(OsStr::new(
                "-Clinker=/l/bpf-linker\u{1f}-Cdebuginfo=2\u{1f}-Clink-arg=--btf\u{1f}-Ctarget-cpu=v3\
                 \u{1f}-Clink-arg=--cpu-features=+allows-misaligned-mem-access"
            ))
        );
    }

    #[test]
    fn the_compiler_is_heard() {
        let said = [
            r#"{"reason":"compiler-artifact","target":{"name":"x"}}"#,
            r#"{"reason":"compiler-message","message":{"message":"m","rendered":"warning: m\n"}}"#,
            r#"{"reason":"build-finished","success":true}"#,
        ];
        assert_eq!(diagnostics(&said.join("\n")), ["warning: m\n"]);
    }

    #[test]
    fn an_unchanged_object_is_not_written_again() -> Result<()> {
        let folder = std::env::temp_dir().join(format!("xtask-publish-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let (built, object) = (folder.join("built"), folder.join("object.o"));
        fs::write(&built, "one")?;
        assert_eq!(publish(&built, &object)?, 3);
        let first = fs::metadata(&object)?.modified()?;
        publish(&built, &object)?;
        assert_eq!(fs::metadata(&object)?.modified()?, first);
        fs::write(&built, "other")?;
        assert_eq!(publish(&built, &object)?, 5);
        assert_eq!(fs::read(&object)?, b"other");
        fs::remove_dir_all(&folder)?;
        Ok(())
    }
}
