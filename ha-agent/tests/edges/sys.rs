//! Scheduling and memory.

use std::fs;
use std::thread;
use std::time::Duration;

use ha_agent::sys::{self, Capability, Timer, lock_memory, missing_capabilities, set_realtime};

/// Field 41 of `/proc/thread-self/stat`, the scheduling policy, and 40, the priority.
fn scheduling() -> (u32, u32) {
    let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
    let (_, after_name) = stat.rsplit_once(')').unwrap();
    let field = |number: usize| {
        let text = after_name.split_whitespace().nth(number - 3).unwrap();
        text.parse().unwrap()
    };
    (field(41), field(40))
}

#[test]
#[ignore = "needs root: real-time scheduling and locked memory"]
fn real_time_is_for_one_thread_only() {
    thread::spawn(|| {
        set_realtime(20).unwrap();
        assert_eq!(scheduling(), (1, 20), "SCHED_FIFO");
        thread::spawn(|| assert_eq!(scheduling(), (0, 0), "not inherited"))
            .join()
            .unwrap();
        assert!(set_realtime(100).is_err());
    })
    .join()
    .unwrap();
    assert_eq!(scheduling(), (0, 0));
}

#[test]
#[ignore = "needs root: real-time scheduling and locked memory"]
fn memory_is_locked() {
    lock_memory().unwrap();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let locked = status
        .lines()
        .find(|line| line.starts_with("VmLck"))
        .unwrap();
    let kib: u64 = locked.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kib > 0);
    rustix::mm::munlockall().unwrap();
}

#[test]
#[ignore = "needs root: capabilities"]
fn root_misses_no_capability() {
    let needed = [
        Capability::NetAdmin,
        Capability::NetRaw,
        Capability::Bpf,
        Capability::Perfmon,
        Capability::IpcLock,
        Capability::SysNice,
    ];
    assert_eq!(missing_capabilities(&needed), [""; 0]);
}

/// Prints how late a real-time timer is.
#[test]
#[ignore = "needs root: real-time scheduling and locked memory"]
fn a_timer_is_on_time() {
    let late = thread::spawn(|| {
        set_realtime(20).unwrap();
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(async {
                let mut timer = Timer::new().unwrap();
                let mut late = Vec::new();
                for _ in 0..200 {
                    let deadline = sys::now() + Duration::from_millis(2);
                    timer.set(Some(deadline)).unwrap();
                    timer.expired().await.unwrap();
                    late.push(sys::now().since(deadline));
                }
                late.sort_unstable();
                late
            })
    })
    .join()
    .unwrap();
    println!("late: median {:?}, worst {:?}", late[100], late[199]);
    assert!(late[100] < Duration::from_millis(1), "{:?}", late[100]);
}
