//! Short intervals on a machine that has other things to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use xtask::lab::{Instance, Settings, now_ns};

use crate::pair::{Pair, alone};

/// Threads that do nothing, all the time.
struct Hogs {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Hogs {
    fn start(count: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..count)
            .map(|_| {
                let stop = Arc::clone(&stop);
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                })
            })
            .collect();
        Self { stop, threads }
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[test]
#[ignore = "needs root: network namespaces"]
fn four_busy_threads_cause_no_takeover_at_10_ms() {
    let _turn = alone();
    let pair = Pair::with(&Settings::default(), |priority| {
        Instance::new(3, priority, Duration::from_millis(10))
    });
    let before = pair.transitions();
    let from_ns = now_ns();
    let hogs = Hogs::start(4);
    std::thread::sleep(Duration::from_secs(5));
    drop(hogs);
    let report = pair.report(from_ns);
    println!(
        "{} adverts of a, {} of b, {} of {} probes lost, gap {:?}",
        pair.wire.adverts("a", from_ns).len(),
        pair.wire.adverts("b", from_ns).len(),
        report.lost,
        report.sent,
        report.gap
    );
    assert_eq!(pair.transitions(), before);
    assert_eq!(report.owners(), [pair.lab.a().id]);
}
