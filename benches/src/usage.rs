//! What a process used, as the kernel counts it.

/// What a process used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Used {
    /// Memory resident now, in bytes.
    pub resident_bytes: u64,
    /// The most memory that ever was resident, in bytes.
    pub peak_bytes: u64,
    /// Processor time, of user and kernel, in seconds. The kernel counts it in hundredths.
    pub cpu_seconds: f64,
}

/// What process `pid` used so far.
///
/// # Panics
/// Where `/proc` does not tell: benches stop at the first surprise.
#[expect(clippy::cast_precision_loss, reason = "clock ticks are few")]
pub fn used(pid: u32) -> Used {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the kernel tells");
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel tells");
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") * 1024
    };
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the kernel tells");
    // The second field, in parentheses, may hold anything; the twelfth and thirteenth after it are the times.
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().expect("ticks")).sum();
    Used { resident_bytes: kib("VmRSS:"), peak_bytes: kib("VmHWM:"), cpu_seconds: ticks as f64 / TICKS_PER_SECOND }
}

/// What this process used so far.
pub fn mine() -> Used {
    used(std::process::id())
}

/// Makes the memory that is resident now the peak, so that each of several measurements has its own.
///
/// # Panics
/// Where the kernel does not let us: benches stop at the first surprise.
pub fn reset_peak() {
    std::fs::write("/proc/self/clear_refs", "5").expect("the kernel forgets its high-water mark");
}

/// `USER_HZ`, which is part of Linux's interface.
const TICKS_PER_SECOND: f64 = 100.0;
