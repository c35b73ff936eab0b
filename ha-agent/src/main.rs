//! Arguments, exit codes and nothing else; the work is in `commands` and in the library.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

mod commands;

/// Failover for edge routers: VRRP election with an eBPF data plane.
#[derive(Debug, Parser)]
#[command(name = "ha-agent", disable_version_flag = true, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const CONFIG: &str = "/etc/ha-agent/ha-agent.toml";
const SOCKET: &str = "/run/ha-agent/control.sock";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run in the foreground until SIGTERM; SIGHUP reads the configuration again, SIGUSR1 prints
    /// the state to the log.
    Run {
        /// Configuration file.
        #[arg(short, long, default_value = CONFIG)]
        config: PathBuf,
    },
    /// Check a configuration file: 0 fine, 2 errors, 5 warnings only.
    Check {
        /// Configuration file.
        #[arg(default_value = CONFIG)]
        config: PathBuf,
        /// Also compare with the interfaces and addresses of this host.
        #[arg(long)]
        host: bool,
        /// Exit with 2 for warnings too.
        #[arg(long)]
        strict: bool,
        /// Form of the report.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Show what the running agent does.
    Status {
        /// Its control socket.
        #[arg(long, default_value = SOCKET)]
        socket: PathBuf,
        /// Form of the answer.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Remove what a dead agent left behind: virtual addresses, program, pins. For ExecStopPost.
    Cleanup {
        /// Configuration file of the dead agent.
        #[arg(short, long, default_value = CONFIG)]
        config: PathBuf,
    },
    /// Print the version and whether an eBPF program is embedded.
    Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// The documented exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Exit {
    Ok = 0,
    Failure = 1,
    Unusable = 2,
    NotRunning = 3,
    Permission = 4,
    Warnings = 5,
}

fn main() -> ExitCode {
    let exit = match Arguments::parse().command {
        Command::Run { config } => commands::run::run(&config),
        Command::Check {
            config,
            host,
            strict,
            output,
        } => commands::check::check(&config, host, strict, output),
        Command::Status { socket, output } => commands::status::status(&socket, output),
        Command::Cleanup { config } => commands::cleanup::cleanup(&config),
        Command::Version => Ok(commands::version()),
    };
    let exit = exit.unwrap_or_else(|error| {
        eprintln!("ha-agent: {error:#}");
        let refused = |cause: &(dyn std::error::Error + 'static)| {
            cause
                .downcast_ref::<std::io::Error>()
                .is_some_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
        };
        if error.chain().any(refused) {
            Exit::Permission
        } else {
            Exit::Failure
        }
    });
    ExitCode::from(exit as u8)
}
