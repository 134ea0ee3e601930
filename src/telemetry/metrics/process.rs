//! What the system says of this process (proc(5)).

use std::fs;

/// The parts of a second in which the system counts processor time. It is the same on all common machines, whatever the
/// kernel's own ticks are.
const TICKS: f64 = 100.0;

const KIB: f64 = 1024.0;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Process {
    pub(super) cpu_seconds: f64,
    /// In Unix seconds.
    pub(super) start_time: f64,
    /// In bytes.
    pub(super) resident: f64,
    /// In bytes.
    pub(super) virtual_memory: f64,
    pub(super) open_files: f64,
    pub(super) max_files: f64,
}

impl Process {
    /// `None` where the system does not say it.
    pub(super) fn read() -> Option<Self> {
        let file = |path: &str| fs::read_to_string(path).ok();
        let open_files = fs::read_dir("/proc/self/fd").ok()?.count();
        let texts = [
            file("/proc/self/stat")?,
            file("/proc/self/status")?,
            file("/proc/self/limits")?,
            file("/proc/stat")?,
        ];
        Self::parse(&texts, open_files)
    }

    /// Of `stat`, `status` and `limits` of the process, and of `stat` of the system.
    fn parse([stat, status, limits, system]: &[String; 4], open_files: usize) -> Option<Self> {
        // The name of the program is in parentheses, and may have spaces and parentheses in it.
        let (_, stat) = stat.rsplit_once(')')?;
        let stat: Vec<_> = stat.split_whitespace().collect();
        let ticks = |place: usize| stat.get(place)?.parse::<f64>().ok();
        let kib = |name| number_behind(status, name).map(|number| number * KIB);
        Some(Self {
            cpu_seconds: (ticks(11)? + ticks(12)?) / TICKS,
            start_time: number_behind(system, "btime")? + ticks(19)? / TICKS,
            resident: kib("VmRSS:")?,
            virtual_memory: kib("VmSize:")?,
            open_files: open_files as f64,
            max_files: number_behind(limits, "Max open files").unwrap_or(f64::INFINITY),
        })
    }
}

/// The number in the line that begins with `name`.
fn number_behind(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_is_understood() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 4 0 12345 1 1 1";
        let texts = [
            stat,
            "Name:\tx\nVmSize:\t    2048 kB\nVmRSS:\t 1024 kB\n",
            "Limit                     Soft Limit           Hard Limit           Units\nMax open files            1024                 4096                 files\n",
            "cpu 1 2 3\nbtime 1700000000\n",
        ]
        .map(str::to_owned);
        let expected = Process {
            cpu_seconds: 3.0,
            start_time: 1_700_000_123.45,
            resident: 1_048_576.0,
            virtual_memory: 2_097_152.0,
            open_files: 9.0,
            max_files: 1024.0,
        };
        assert_eq!(Process::parse(&texts, 9), Some(expected));
        assert_eq!(Process::parse(&[String::new(), String::new(), String::new(), String::new()], 9), None);
    }

    #[test]
    fn this_process_is_known() {
        let process = Process::read().expect("it is Linux");
        assert!(process.resident > 0.0 && process.open_files >= 3.0 && process.start_time > 1e9);
    }
}
