//! `ha-agent run`: two runtimes and the signals between them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use anyhow::Context;
use ha_agent::config::model::{Agent, LogLevel, XdpMode};
use ha_agent::control::Listener;
use ha_agent::dataplane::{self, Dataplane, Fast};
use ha_agent::effects::{Effects, Order, Parts};
use ha_agent::engine::{Command, Effect, Engine, Frames, Kernel, Leases};
use ha_agent::sys;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tracing_appender::non_blocking::WorkerGuard;

use super::{load, require};
use crate::Exit;

/// Name of the control socket in the run directory.
pub(crate) const SOCKET_FILE: &str = "control.sock";
/// Commands on their way to the engine: links, reports and reloads, a few at a time.
const COMMANDS_BOUND: usize = 1024;
/// Effects per instance on their way to netlink; what does not fit waits in the engine.
const EFFECTS_PER_INSTANCE: usize = 8;
/// Signals and control requests waiting.
const ORDERS_BOUND: usize = 16;

pub(crate) fn run(path: &Path) -> anyhow::Result<Exit> {
    let loaded = match load(path) {
        Ok(loaded) => loaded,
        Err(exit) => return Ok(exit),
    };
    let config = loaded.config.clone();
    use sys::Capability::{Bpf, NetAdmin, NetRaw, Perfmon};
    let wanted: &[sys::Capability] = if config.agent.xdp == XdpMode::Off {
        &[NetAdmin, NetRaw]
    } else {
        &[NetAdmin, NetRaw, Bpf, Perfmon]
    };
    if let Err(exit) = require(wanted) {
        return Ok(exit);
    }
    let _log = start_log(config.agent.log_level);
    for warning in ha_agent::config::against_host(&loaded, &super::check::host_interfaces()?) {
        tracing::warn!("{warning}");
    }

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime of everything but the election")?;
    runtime.block_on(async {
        // Whoever holds the socket is the agent of this run directory.
        let listener = Listener::bind(&config.agent.run_dir.join(SOCKET_FILE))?;
        let signals = Signals::new()?;
        let (dataplane, fast) = open_dataplane(&config.agent)?;

        let slots = config.instances.len();
        let leases = Arc::new(Leases::new(slots));
        let heartbeat = Arc::new(AtomicU64::new(sys::now().0));
        let (commands, command_inbox) = mpsc::channel(COMMANDS_BOUND);
        let (effects, effect_inbox) = mpsc::channel(EFFECTS_PER_INSTANCE * slots + 64);
        let (orders, order_inbox) = mpsc::channel(ORDERS_BOUND);
        let (requests, request_inbox) = mpsc::channel(ORDERS_BOUND);

        let election = Election {
            realtime_priority: config.agent.realtime_priority,
            fast,
            instances: config.instances.clone(),
            commands: command_inbox,
            effects,
            leases: Arc::clone(&leases),
            heartbeat: Arc::clone(&heartbeat),
        };
        let (scheduling, ended) = election.start().await?;
        let parts = Parts {
            config: config.clone(),
            dataplane,
            engine: commands,
            leases,
            heartbeat,
            scheduling,
        };
        let started = Effects::start(parts).await?;
        tokio::spawn(listener.serve(requests));
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        tracing::info!(
            "{}: ready with {slots} instance(s), pid {}",
            config.agent.router_id,
            std::process::id()
        );
        tokio::spawn(signals.relay(path.to_owned(), orders));
        started
            .run(effect_inbox, order_inbox, request_inbox, ended)
            .await
            .map_err(anyhow::Error::from)
    })?;
    tracing::info!("stopped");
    Ok(Exit::Ok)
}

/// Logs to standard error from a thread of its own: a stuck terminal or journal costs lines,
/// never an advertisement.
fn start_log(level: LogLevel) -> WorkerGuard {
    let (writer, guard) = tracing_appender::non_blocking(std::io::stderr());
    let level = match level {
        LogLevel::Error => tracing::Level::ERROR,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Debug => tracing::Level::DEBUG,
    };
    let log = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(false)
        .with_writer(writer);
    // The journal puts its own time in front.
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        log.without_time().init();
    } else {
        log.init();
    }
    // The program in the kernel speaks through the `log` crate. So does its loader, one line per
    // relocation: those are for who debugs the loader.
    if let Err(error) = tracing_log::LogTracer::builder()
        .ignore_all(["aya", "aya_obj"])
        .init()
    {
        tracing::warn!("the program in the kernel cannot be heard: {error}");
    }
    guard
}

fn open_dataplane(agent: &Agent) -> anyhow::Result<(Option<Dataplane>, Option<Fast>)> {
    if agent.xdp == XdpMode::Off {
        tracing::warn!(
            "xdp = \"off\": advertisements come through a packet socket, and there is NO FENCE: \
             a frozen or killed agent leaves its virtual addresses answering"
        );
        return Ok((None, None));
    }
    let (dataplane, fast) = Dataplane::open(&dataplane::Options {
        pin_dir: agent.pin_dir.clone(),
        max_instances: agent.max_instances,
        max_vips: agent.max_addresses,
        log_level: (agent.log_level == LogLevel::Debug).then_some(dataplane::Level::Debug),
    })?;
    Ok((Some(dataplane), Some(fast)))
}

/// What the election thread is made of.
struct Election {
    realtime_priority: Option<u8>,
    fast: Option<Fast>,
    instances: Vec<ha_agent::config::model::Instance>,
    commands: mpsc::Receiver<Command>,
    effects: mpsc::Sender<Effect>,
    leases: Arc<Leases>,
    heartbeat: Arc<AtomicU64>,
}

impl Election {
    /// Starts the thread; returns how it is scheduled, and a channel that speaks when it ends.
    async fn start(self) -> anyhow::Result<(String, oneshot::Receiver<()>)> {
        let (ready, is_ready) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name("election".to_owned())
            .spawn(move || {
                let scheduling = be_realtime(self.realtime_priority);
                if let Err(error) = self.elect(ready, scheduling) {
                    tracing::error!("election: {error}");
                }
                let _ = end.send(());
            })
            .context("start the election thread")?;
        let scheduling = is_ready
            .await
            .context("the election thread did not start")??;
        Ok((scheduling, ended))
    }

    fn elect(
        self,
        ready: oneshot::Sender<std::io::Result<String>>,
        scheduling: String,
    ) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        runtime.block_on(async {
            let engine = self.engine();
            match engine {
                Ok(engine) => {
                    let _ = ready.send(Ok(scheduling));
                    engine.run().await
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                    Ok(())
                }
            }
        })
    }

    fn engine(self) -> std::io::Result<Engine> {
        let kernel = match self.fast {
            Some(fast) => Kernel::xdp(fast)?,
            None => Kernel::Off(Frames::new()),
        };
        Engine::new(
            self.instances,
            kernel,
            self.commands,
            self.effects,
            self.leases,
            self.heartbeat,
        )
    }
}

/// Real-time priority and locked memory, as far as permitted; says what came of it.
fn be_realtime(priority: Option<u8>) -> String {
    if let Err(error) = sys::lock_memory() {
        tracing::warn!(
            "memory is not locked, paging may delay advertisements: {error}; grant CAP_IPC_LOCK"
        );
    }
    let Some(priority) = priority else {
        return "ordinary (configured)".to_owned();
    };
    match sys::set_realtime(priority) {
        Ok(()) => format!("fifo {priority}"),
        Err(error) => {
            tracing::warn!(
                "no real-time priority, load may delay advertisements: {error}; grant CAP_SYS_NICE"
            );
            format!("ordinary ({error})")
        }
    }
}

struct Signals {
    hup: Signal,
    term: Signal,
    int: Signal,
    usr1: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hup: signal(SignalKind::hangup())?,
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            usr1: signal(SignalKind::user_defined1())?,
        })
    }

    /// Passes orders on. A task of its own: when they come faster than they are carried out it
    /// waits here, and who carries them out does not.
    async fn relay(mut self, path: PathBuf, orders: mpsc::Sender<Order>) {
        loop {
            if let Some(order) = self.next(&path).await
                && orders.send(order).await.is_err()
            {
                return;
            }
        }
    }

    /// The next order; `None` when a signal came that changes nothing.
    async fn next(&mut self, path: &Path) -> Option<Order> {
        tokio::select! {
            _ = self.hup.recv() => read_again(path),
            _ = self.term.recv() => Some(Order::Shutdown),
            _ = self.int.recv() => Some(Order::Shutdown),
            _ = self.usr1.recv() => Some(Order::Print),
        }
    }
}

fn read_again(path: &Path) -> Option<Order> {
    match ha_agent::config::load(path) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                tracing::warn!("{warning}");
            }
            Some(Order::Reload(Box::new(loaded.config)))
        }
        Err(diagnostics) => {
            tracing::error!(
                "configuration not taken over, everything stays as it is:\n{diagnostics}"
            );
            None
        }
    }
}
