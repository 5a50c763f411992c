//! What the kernel says of a process and of the whole machine: processor time, memory, who else was busy.

use std::fs;
use std::io;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Of the times in /proc: 100 a second on every Linux that we run on.
const TICK: Duration = Duration::from_millis(10);

/// User and system time of a process, all its threads together.
pub fn cpu_of(pid: u32) -> io::Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in brackets may hold anything; fields are counted behind it, utime and stime are 14 and 15.
    let fields = text.rsplit_once(')').map_or("", |it| it.1);
    let ticks = fields.split_ascii_whitespace().skip(11).take(2);
    let ticks: u32 = ticks.filter_map(|it| it.parse::<u32>().ok()).sum();
    Ok(TICK * ticks)
}

/// The most memory that a process has had resident, in bytes.
pub fn memory_peak_of(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|it| it.strip_prefix("VmHWM:")).unwrap_or_default();
    let kib = line.split_ascii_whitespace().next().and_then(|it| it.parse::<u64>().ok());
    kib.map(|it| it << 10).ok_or_else(|| io::Error::other(format!("process {pid} has no VmHWM")))
}

/// Since the machine started, the same for all processes, in ns.
pub fn now_ns() -> u64 {
    nanos(ClockId::Monotonic)
}

/// Processor time of the calling thread, in ns.
pub fn thread_cpu_ns() -> u64 {
    nanos(ClockId::ThreadCPUTime)
}

fn nanos(clock: ClockId) -> u64 {
    let it = clock_gettime(clock);
    it.tv_sec as u64 * 1_000_000_000 + it.tv_nsec as u64
}

/// A moment of the machine, to be compared with a later one.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub at_ns: u64,
    /// All processors, without interrupts, which are mostly our own packets.
    busy: Duration,
    /// Taken by the hypervisor.
    stolen: Duration,
    /// By the processes that belong to the measurement.
    ours: Duration,
}

/// What others took between two moments, as a share of the whole machine: 0.1 is a tenth of all processors.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Disturbance {
    pub others: f64,
    pub stolen: f64,
}

/// From here on a figure is called disturbed.
const OTHERS_MOST: f64 = 0.05;
const STOLEN_MOST: f64 = 0.02;

impl Disturbance {
    pub fn is_much(&self) -> bool {
        self.others > OTHERS_MOST || self.stolen > STOLEN_MOST
    }

    /// The worse of each.
    pub fn worse(self, other: Self) -> Self {
        Self { others: self.others.max(other.others), stolen: self.stolen.max(other.stolen) }
    }
}

impl Moment {
    /// Now; `ours` are the processes of the measurement.
    pub fn now(ours: &[u32]) -> io::Result<Self> {
        let text = fs::read_to_string("/proc/stat")?;
        let line = text.lines().next().unwrap_or_default();
        let fields: Vec<u32> =
            line.split_ascii_whitespace().skip(1).filter_map(|it| it.parse().ok()).collect();
        let field = |at: usize| fields.get(at).copied().unwrap_or(0);
        // user, nice, system; 7 is steal.
        let (busy, stolen) = (field(0) + field(1) + field(2), field(7));
        // One that has ended meanwhile is missing from both sides of no pair that counts.
        let ours = ours.iter().filter_map(|it| cpu_of(*it).ok()).sum();
        Ok(Self { at_ns: now_ns(), busy: TICK * busy, stolen: TICK * stolen, ours })
    }

    pub fn until(&self, later: &Self) -> Disturbance {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let whole = (later.at_ns - self.at_ns) as f64 / 1e9 * cpus;
        let between = |it: fn(&Self) -> Duration| it(later).as_secs_f64() - it(self).as_secs_f64();
        let share = |seconds: f64| if whole > 0.0 { (seconds / whole).max(0.0) } else { 0.0 };
        Disturbance {
            others: share(between(|it| it.busy) - between(|it| it.ours)),
            stolen: share(between(|it| it.stolen)),
        }
    }
}

/// What stands over a table: figures of two machines are not to be compared.
pub fn description() -> String {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|it| it.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |it| it.1);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cpus} × {model}, Linux {}", kernel.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_some_time_and_memory() {
        let me = std::process::id();
        assert!(memory_peak_of(me).unwrap() > 1 << 20);
        let before = Moment::now(&[me]).unwrap();
        let begun = thread_cpu_ns();
        while thread_cpu_ns() - begun < 50_000_000 {}
        assert!(cpu_of(me).unwrap() >= 4 * TICK);
        let between = before.until(&Moment::now(&[me]).unwrap());
        assert!(between.others <= 1.0, "{between:?}");
    }
}
