//! `cargo xtask`: arguments only; each verb is a module of the library.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::{bench, build, build_ebpf, demo, test, tidy};

/// Builds, tests and checks ha-agent; each verb installs what it needs and says so.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Build the XDP program into target/bpf/ha-ebpf.o
    BuildEbpf,
    /// Build the release binary with the XDP program inside
    Build,
    /// Show two routers and a client while things go wrong
    Demo(demo::Options),
    /// Run every test; the last line is `N passed, N failed[, N skipped]`
    Test(test::Options),
    /// Measure ha-agent beside keepalived
    Bench(bench::Options),
    /// Check the rules of this codebase that the compiler does not know
    Tidy,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().verb {
        Verb::BuildEbpf => build_ebpf::run(),
        Verb::Build => build::run(),
        Verb::Demo(options) => demo::run(&options),
        Verb::Test(options) => return code(test::run(&options)),
        Verb::Bench(options) => bench::run(&options),
        Verb::Tidy => tidy::run(),
    };
    code(done.map(|()| ExitCode::SUCCESS))
}

/// An error is one line: the object, the command that failed, the fix.
fn code(done: anyhow::Result<ExitCode>) -> ExitCode {
    done.unwrap_or_else(|e| {
        eprintln!("error: {e:#}");
        ExitCode::FAILURE
    })
}
