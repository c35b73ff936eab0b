//! `cargo xtask test`: every test this machine permits, and a count of those it does not.
//!
//! Order: packages, the XDP object, test binaries one after the other (labs last), doc tests,
//! then, with `--all` or `CI=true`, formatting, lints, tidy and docs, each counted as one.
//! Tests that need root are marked `#[ignore = "needs root: .."]` and run only where they can.
//! Output is one line per binary and whatever failed; `target/xtask-test.log` has all of it.

pub mod binaries;
pub mod libtest;
pub mod packages;
pub mod report;
pub mod steps;

use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::machine::{self, Privilege};
use crate::{build_ebpf, cmd, toolchain, workspace};
use libtest::Outcome;
use report::Report;

/// What to run.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Options {
    /// Only tests whose name contains this
    pub filter: Option<String>,
    /// Also formatting, clippy, tidy and rustdoc (always with CI=true)
    #[arg(long)]
    pub all: bool,
}

/// Runs the tests; the last line printed is the count.
pub fn run(options: &Options) -> Result<ExitCode> {
    let log = workspace::log("xtask-test.log");
    cmd::append(&log, b"")?;
    fs::write(&log, b"").with_context(|| format!("write {}", log.display()))?;
    let mut report = Report::new(machine::is_ci());

    let privileged = prepare(&mut report);
    match binaries::build() {
        Ok(found) => {
            for binary in found {
                let outcome = binary.run(options.filter.as_deref(), privileged, &log)?;
                report.add(&binary.name, &outcome);
            }
            let doc = binaries::doc_tests(options.filter.as_deref(), &log)?;
            report.add("doc tests", &doc);
        }
        Err(e) => report.add(
            "build of the tests",
            &Outcome::failure("build", format!("{e:#}")),
        ),
    }
    if options.all || machine::is_ci() {
        for step in steps::ALL {
            report.add(step.name, &step.run(&log));
        }
    }

    report.print_end(&log);
    Ok(if report.is_green() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Installs what the tests need and builds the XDP object. True if the tests that need root
/// can run; what stands in their way is reported as skipped or failed.
fn prepare(report: &mut Report) -> bool {
    let obstacle = Privilege::probe().lab_obstacle();
    if obstacle.is_none()
        && let Err(e) = packages::ensure().and_then(|()| machine::mount_bpffs())
    {
        report.add("packages", &Outcome::failure("packages", format!("{e:#}")));
    }
    let built = match toolchain::ready() {
        Ok(toolchain) => build_ebpf::build(&toolchain).map(drop),
        // A developer without the toolchain still runs the tests of the host's code.
        Err(e) if obstacle.is_some() => {
            report.add(
                "build-ebpf",
                &Outcome::skipped("build-ebpf", format!("{e:#}")),
            );
            return false;
        }
        Err(e) => Err(e),
    };
    match built {
        Ok(()) => obstacle.is_none(),
        Err(e) => {
            report.add(
                "build-ebpf",
                &Outcome::failure("build-ebpf", format!("{e:#}")),
            );
            false
        }
    }
}
