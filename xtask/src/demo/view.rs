//! What the demo prints: on a terminal a picture that is drawn over itself, else plain lines.

use std::io::{IsTerminal as _, Write as _, stdout};
use std::time::{Duration, Instant};

use crate::lab::{ACTIVE, BACKUP, Daemon, Experiment, Measured, Node, Profile, Router, VIP4};

/// Time between two pictures.
const FRAME: Duration = Duration::from_millis(100);

/// The printer.
#[derive(Debug)]
pub(super) struct View {
    tty: bool,
    /// Lines of the picture on the screen, to be drawn over.
    drawn: usize,
    next: Instant,
    begin_ns: u64,
    phase: String,
    limit: Duration,
}

impl View {
    /// Says what is about to be shown.
    pub(super) fn new(daemon: &Daemon, profile: Profile) -> Self {
        let name = match daemon {
            Daemon::Agent(_) => "ha-agent",
            Daemon::Keepalived => "keepalived",
        };
        println!(
            "\n{name}: routers a (priority {ACTIVE}) and b ({BACKUP}) share {VIP4}, VRRPv{} every {} ms; \
             a client asks it for an echo each millisecond\n",
            profile.version,
            profile.interval.as_millis(),
        );
        Self {
            tty: stdout().is_terminal(),
            drawn: 0,
            next: Instant::now(),
            begin_ns: crate::lab::now_ns(),
            phase: String::new(),
            limit: profile.limit(),
        }
    }

    /// Shows the present, at most ten times a second on a terminal, else when it changes.
    pub(super) fn tick(&mut self, now: &Experiment) {
        if self.tty {
            if Instant::now() >= self.next {
                self.next = Instant::now() + FRAME;
                self.draw(&self.picture(now));
            }
        } else if self.phase != now.phase {
            self.phase.clone_from(&now.phase);
            println!("  {}", now.phase);
        }
    }

    /// Says how the program is attached.
    pub(super) fn note(&mut self, now: &Experiment) {
        self.print(&format!("XDP: {}\n", mode(now)));
    }

    /// Prints what an event cost.
    pub(super) fn happened(&mut self, measured: &Measured) {
        self.print(&line(measured, self.limit));
    }

    /// Ends the picture and sums up.
    pub(super) fn end(&mut self, measured: &[Measured], now: &Experiment) {
        if self.tty {
            self.draw(&[]);
            return;
        }
        println!("\n{}", head());
        for measured in measured {
            println!("{}", line(measured, self.limit));
        }
        println!("XDP: {}", mode(now));
    }

    /// Prints a line that stays, above the picture.
    fn print(&mut self, line: &str) {
        if self.tty {
            self.draw(&[]);
            println!("{line}");
            if line.starts_with("XDP") {
                println!("{}", head());
            }
        } else {
            println!("  = {line}");
        }
    }

    fn picture(&self, now: &Experiment) -> Vec<String> {
        let report = now.probe.since(self.begin_ns);
        let owner = now.probe.owner();
        let router = |which: char, router: &Router, node: &Node, priority: u8| {
            let state = match router {
                Router::Agent(agent) => agent.state("VI_1"),
                Router::Keepalived(_) if now.is_active(which) => "has the address".to_owned(),
                Router::Keepalived(_) => "-".to_owned(),
            };
            format!(
                "  router {which}  {:<11} priority {priority:<3}  {:<16}{}",
                node.ipv4().to_string(),
                if state.is_empty() {
                    "no answer"
                } else {
                    &state
                },
                if owner == Some(node.id) {
                    "◄── client"
                } else {
                    ""
                }
            )
        };
        vec![
            String::new(),
            router('a', &now.a, now.lab.a(), ACTIVE),
            router('b', &now.b, now.lab.b(), BACKUP),
            format!(
                "  probes    {} sent, {} lost{}",
                report.sent,
                report.lost,
                if owner.is_none() {
                    "   nobody answers"
                } else {
                    ""
                }
            ),
            format!("  now       {}", now.phase),
        ]
    }

    fn draw(&mut self, lines: &[String]) {
        let mut text = String::new();
        if self.drawn > 0 {
            text += &format!("\x1b[{}A\x1b[J", self.drawn);
        }
        for line in lines {
            text += line;
            text.push('\n');
        }
        self.drawn = lines.len();
        let mut out = stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

fn head() -> String {
    format!(
        "{:<25} {:>11} {:>8} {:>9} {:>8} {:>7}   {}",
        "router a", "lost probes", "gap ms", "limit ms", "serves", "owners", "then"
    )
}

fn line(measured: &Measured, limit: Duration) -> String {
    let then = measured
        .lost_back
        .map(|lost| format!("{}: {lost} lost", measured.event.undoing()))
        .unwrap_or_default();
    format!(
        "{:<25} {:>11} {:>8.1} {:>9.0} {:>8} {:>7}   {then}",
        measured.event,
        measured.lost,
        measured.gap.as_secs_f64() * 1e3,
        limit.as_secs_f64() * 1e3,
        measured.server,
        measured.owners,
    )
}

/// How the XDP programs are attached, as the kernel says.
fn mode(now: &Experiment) -> String {
    let of = |node: &Node| match node.xdp() {
        Ok(Some((_, 1))) => "native",
        Ok(Some((_, 2))) => "generic",
        Ok(Some(_)) => "attached",
        Ok(None) => "none",
        Err(_) => "unknown",
    };
    match (of(now.lab.a()), of(now.lab.b())) {
        (a, b) if a == b => format!("{a} on both routers"),
        (a, b) => format!("{a} on router a, {b} on router b"),
    }
}
