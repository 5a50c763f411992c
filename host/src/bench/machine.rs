//! What the kernel says of a process and of the whole machine: processor time, memory, who else was busy.

use std::fs;
use std::io;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Of the times in /proc: 100 a second on every Linux that we run on.
const TICK: Duration = Duration::from_millis(10);

/// What `/proc/<pid>/stat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// User and system time, all threads together, with those of its children that it has seen end.
    cpu: Duration,
}

impl Stat {
    fn of(pid: u32) -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat"))?))
    }

    fn parse(text: &str) -> Self {
        // The name in brackets may hold anything; fields are counted behind it: ppid is 4, utime, stime, cutime
        // and cstime are 14 to 17.
        let fields = text.rsplit_once(')').map_or("", |it| it.1);
        let fields: Vec<u32> =
            fields.split_ascii_whitespace().map(|it| it.parse().unwrap_or(0)).take(15).collect();
        let parent = fields.get(1).copied().unwrap_or(0);
        Self { parent, cpu: TICK * fields.iter().skip(11).sum() }
    }
}

/// A process and all that descend from it, itself first.
pub fn tree_of(root: u32) -> io::Result<Vec<u32>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let pid = name.to_str().and_then(|it| it.parse::<u32>().ok());
        // One that has ended since the folder was read belongs to nobody.
        all.extend(pid.and_then(|pid| Some((pid, Stat::of(pid).ok()?.parent))));
    }
    Ok(descendants(root, &all))
}

/// From pairs of a process and its parent.
fn descendants(root: u32, all: &[(u32, u32)]) -> Vec<u32> {
    let mut tree = vec![root];
    let mut at = 0;
    while let Some(&parent) = tree.get(at) {
        tree.extend(all.iter().filter(|it| it.1 == parent && it.0 != parent).map(|it| it.0));
        at += 1;
    }
    tree
}

/// Processor time of a process and all below it.
pub fn cpu_of(pid: u32) -> io::Result<Duration> {
    let below = tree_of(pid)?.into_iter().skip(1).filter_map(|it| Stat::of(it).ok());
    Ok(Stat::of(pid)?.cpu + below.map(|it| it.cpu).sum::<Duration>())
}

/// The most memory that a process has had resident, and each of those below it, in bytes.
pub fn memory_peak_of(pid: u32) -> io::Result<u64> {
    let below = tree_of(pid)?.into_iter().skip(1).filter_map(|it| memory_peak_of_one(it).ok());
    Ok(memory_peak_of_one(pid)? + below.sum::<u64>())
}

fn memory_peak_of_one(pid: u32) -> io::Result<u64> {
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
        let ours = ours.iter().filter_map(|it| Stat::of(*it).ok()).map(|it| it.cpu).sum();
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
    fn the_kernels_line_is_read_behind_the_name() {
        let line = "7 (a) b (c) S 3 7 7 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 5 6";
        assert_eq!(Stat::parse(line), Stat { parent: 3, cpu: 100 * TICK });
        assert_eq!(Stat::parse(""), Stat { parent: 0, cpu: Duration::ZERO });
    }

    #[test]
    fn descendants_are_found_at_any_depth() {
        let all = [(1, 0), (5, 1), (9, 8), (8, 5), (6, 5), (7, 1)];
        assert_eq!(descendants(5, &all), [5, 8, 6, 9]);
        assert_eq!(descendants(9, &all), [9]);
    }

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
