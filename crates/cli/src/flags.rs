//! What was typed, and nothing more: no address is taken apart and no file read here. `job` makes sense of it.

mod shared;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::console::{Console, Output};
use crate::exit::{Exit, Failure};
use crate::help;
use crate::human::{parse_bytes, parse_duration};
use crate::logging::LogLevel;

use self::shared::parse_memory;
pub(crate) use self::shared::{
    Auth, CloudFlags, Copying, EngineFlag, Expert, FillGaps, Filling, Generation, NewDiskFlags, OsType, Pair, Previous,
    RequestSize, ScratchFlags, SnapshotGroup, SourceAccess, TargetAccess, WantFlags,
};

/// Back up Azure disks, moving only what changed
///
/// pageferry copies the snapshots of a disk (a managed disk, or a page blob) to a page blob (its
/// target), in order, one point each. The first is copied whole; of each later one only the pages
/// that changed, as the service itself reports them. A point is a snapshot of the target that was
/// proved to equal its source snapshot, and can be restored as it is.
#[derive(Parser, Debug)]
#[command(name = "pageferry", version, after_long_help = help::general(), verbatim_doc_comment)]
pub(crate) struct Flags {
    #[command(subcommand)]
    pub(crate) command: Command,

    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT", hide_possible_values = true)]
    #[arg(help = "Write results as `text` for people, or as `json`, one object a line")]
    pub(crate) output: Output,

    /// Log to stderr: off, error, warn, info, debug or trace
    #[arg(long, global = true, value_enum, default_value_t, value_name = "LEVEL", hide_possible_values = true)]
    pub(crate) log_level: LogLevel,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// See it work: a disk that changes, its backup and a restore, all on this machine
    Demo(DemoFlags),
    /// Run a local page-blob service, with true differences between snapshots
    #[command(after_long_help = help::EMULATOR)]
    Emulator(EmulatorFlags),
    /// Take a snapshot of a disk and print its time
    #[command(after_long_help = help::SNAPSHOT)]
    Snapshot(SnapshotFlags),
    /// Show what the next step of a sync would do; write nothing
    #[command(after_long_help = help::PLAN)]
    Plan(PlanFlags),
    /// Bring a target up to date: each newer snapshot of the source becomes a point
    #[command(after_long_help = help::SYNC)]
    Sync(SyncFlags),
    /// Do one cycle of backups: take a snapshot of a disk, make a point of it, delete snapshots no longer needed
    #[command(after_long_help = help::BACKUP)]
    Backup(BackupFlags),
    /// List the points of a target
    #[command(after_long_help = help::POINTS)]
    Points(PointsFlags),
    /// Restore a point to a file, to a new blob or to a new managed disk
    #[command(after_long_help = help::RESTORE)]
    Restore(RestoreFlags),
    /// Compare a point with the source snapshot it was made from, byte by byte
    #[command(after_long_help = help::VERIFY)]
    Verify(VerifyFlags),
    /// Raise an alarm if the newest point of a target is too old
    #[command(after_long_help = help::CHECK)]
    Check(CheckFlags),
    /// Look for what would keep a backup from running, and say what to do about it
    #[command(after_long_help = help::DOCTOR)]
    Doctor(DoctorFlags),
    /// Measure how fast a pair moves a disk: by this machine, by the engine, by the service itself
    #[command(after_long_help = help::BENCH)]
    Bench(BenchFlags),
}

#[derive(Args, Debug)]
pub(crate) struct DemoFlags {
    /// Show it with a managed disk: found by its id, read through grants, restored to a managed disk
    #[arg(long)]
    pub(crate) managed: bool,
}

#[derive(Args, Debug)]
pub(crate) struct EmulatorFlags {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:10000")]
    pub(crate) listen: SocketAddr,
    /// Keep the state in this directory; otherwise it is lost at the end
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Listen beyond this machine, although the account's key is public; must be given twice
    #[arg(long, action = clap::ArgAction::Count)]
    pub(crate) allow_remote: u8,
    /// Take orders to make things go wrong, without credentials, at this address on this machine
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) admin: Option<SocketAddr>,
    /// Let the service's own copies take their time: this many bytes a second, such as 100M; otherwise they take none
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) copy_rate: Option<u64>,
    /// Do not keep the limits that the service has for managed disks: five SAS of a family, seven snapshots in five minutes
    #[arg(long)]
    pub(crate) no_limits: bool,
}

#[derive(Args, Debug)]
pub(crate) struct SnapshotFlags {
    /// The disk: the URL of a page blob, or the resource id of a managed disk
    pub(crate) disk: String,
    /// Of a managed disk: what to call the snapshot; otherwise it is called after the disk and the time
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) group: SnapshotGroup,
    #[command(flatten)]
    pub(crate) source: SourceAccess,
    #[command(flatten)]
    pub(crate) auth: Auth,
    #[command(flatten)]
    pub(crate) cloud: CloudFlags,
}

#[derive(Args, Debug)]
pub(crate) struct PlanFlags {
    #[command(flatten)]
    pub(crate) pair: Pair,
    #[command(flatten)]
    pub(crate) want: WantFlags,
    /// Plan for a target that was changed outside, as `sync --repair` would do it
    #[arg(long)]
    pub(crate) repair: bool,
    /// Plan for a chain that is broken, as `sync --reseed` would do it
    #[arg(long)]
    pub(crate) reseed: bool,
    /// What things cost, so that the plan tells money: a table of your own (docs/operations.md)
    #[arg(long, value_name = "FILE")]
    pub(crate) prices: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) size: RequestSize,
    #[command(flatten)]
    pub(crate) filling: Filling,
}

#[derive(Args, Debug)]
pub(crate) struct SyncFlags {
    #[command(flatten)]
    pub(crate) pair: Pair,
    #[command(flatten)]
    pub(crate) want: WantFlags,
    /// SOURCE was restored from the newest point: if its first snapshot equals that, go on from there
    #[arg(long)]
    pub(crate) adopt: bool,
    #[command(flatten)]
    pub(crate) copying: Copying,
}

#[derive(Args, Debug)]
pub(crate) struct BackupFlags {
    #[command(flatten)]
    pub(crate) pair: Pair,
    /// How many of the source snapshots that `backup` has taken stay, the newest point's among them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=450))]
    pub(crate) keep_source: u16,
    #[command(flatten)]
    pub(crate) group: SnapshotGroup,
    #[command(flatten)]
    pub(crate) copying: Copying,
}

#[derive(Args, Debug)]
pub(crate) struct PointsFlags {
    /// The target's URL
    pub(crate) target: String,
    #[command(flatten)]
    pub(crate) access: TargetAccess,
    #[command(flatten)]
    pub(crate) auth: Auth,
}

#[derive(Args, Debug)]
pub(crate) struct RestoreFlags {
    /// The target's URL
    pub(crate) target: String,
    /// A file ending in .vhd or .raw, the URL of a page blob, or the resource id of a managed disk that does not exist
    #[arg(required_unless_present = "to_disk", conflicts_with = "to_disk")]
    pub(crate) destination: Option<String>,
    /// Which point: `latest`, a source snapshot, or a snapshot of the target
    #[arg(long, value_name = "POINT")]
    pub(crate) point: String,
    /// Replace an existing file, or the content of an existing blob that holds no points
    #[arg(long)]
    pub(crate) overwrite: bool,
    #[command(flatten)]
    pub(crate) access: TargetAccess,
    /// Where to find a SAS for a destination blob: @FILE or env:NAME
    #[arg(long, value_name = "WHERE")]
    pub(crate) destination_sas: Option<String>,
    #[command(flatten)]
    pub(crate) auth: Auth,
    #[command(flatten)]
    pub(crate) scratch: ScratchFlags,
    #[command(flatten)]
    pub(crate) disk: NewDiskFlags,
    #[command(flatten)]
    pub(crate) size: RequestSize,
    #[command(flatten)]
    pub(crate) cloud: CloudFlags,
    #[command(flatten)]
    pub(crate) expert: Expert,
}

#[derive(Args, Debug)]
pub(crate) struct VerifyFlags {
    /// The target's URL
    pub(crate) target: String,
    /// Which point: `latest`, a source snapshot, or a snapshot of the target
    #[arg(long, value_name = "POINT")]
    pub(crate) point: String,
    /// The disk: a URL or a resource id, as for `sync`
    #[arg(long, value_name = "SOURCE")]
    pub(crate) against: String,
    #[command(flatten)]
    pub(crate) source_access: SourceAccess,
    #[command(flatten)]
    pub(crate) access: TargetAccess,
    #[command(flatten)]
    pub(crate) auth: Auth,
    #[command(flatten)]
    pub(crate) scratch: ScratchFlags,
    #[command(flatten)]
    pub(crate) cloud: CloudFlags,
}

#[derive(Args, Debug)]
pub(crate) struct CheckFlags {
    /// The target's URL
    pub(crate) target: String,
    /// How old the picture of the disk may be that the newest point holds: 90m, 26h, 2d
    #[arg(long, value_name = "TIME", default_value = "26h", value_parser = parse_duration)]
    pub(crate) max_lag: Duration,
    #[command(flatten)]
    pub(crate) access: TargetAccess,
    #[command(flatten)]
    pub(crate) auth: Auth,
}

#[derive(Args, Debug)]
pub(crate) struct DoctorFlags {
    /// The disk: a URL or a resource id, as for `sync`
    pub(crate) source: String,
    /// The target's URL
    pub(crate) target: Option<String>,
    /// End the SAS of the disk's snapshots that no run under way on TARGET uses, as a machine that died leaves them
    #[arg(long)]
    pub(crate) revoke_stale: bool,
    #[command(flatten)]
    pub(crate) previous: Previous,
    #[command(flatten)]
    pub(crate) source_access: SourceAccess,
    #[command(flatten)]
    pub(crate) access: TargetAccess,
    #[command(flatten)]
    pub(crate) auth: Auth,
    #[command(flatten)]
    pub(crate) cloud: CloudFlags,
}

#[derive(Args, Debug)]
pub(crate) struct BenchFlags {
    /// The disk's URL, or that of one of its snapshots; in a race, the id of a managed disk or of a snapshot
    pub(crate) source: String,
    /// The URL of a blob that does not exist; what is made, and deleted again, is named after it
    pub(crate) target: String,
    /// Race the engine against the service's own copy of managed snapshots: managed-copy
    #[arg(long, value_name = "RIVAL", value_enum, hide_possible_values = true, requires = "to_location")]
    pub(crate) against: Option<Against>,
    /// The region that the managed copies go to
    #[arg(long, value_name = "REGION", requires = "against")]
    pub(crate) to_location: Option<String>,
    /// The resource group of the managed copies; otherwise the disk's own
    #[arg(long, value_name = "GROUP", requires = "against")]
    pub(crate) to_group: Option<String>,
    /// The disk encryption set of the managed copies, where the source has a customer-managed key
    #[arg(long, value_name = "ID", requires = "against")]
    pub(crate) disk_encryption_set: Option<String>,
    /// Let the managed copies be encrypted by the platform although the source has a customer-managed key
    #[arg(long, requires = "against")]
    pub(crate) allow_platform_key: bool,
    /// How many times to race
    #[arg(long, value_name = "N", default_value_t = 1, requires = "against", value_parser = clap::value_parser!(u8).range(1..=20))]
    pub(crate) repeat: u8,
    /// What things cost, so that the race can tell money: a table of your own (docs/operations.md)
    #[arg(long, value_name = "FILE", requires = "against")]
    pub(crate) prices: Option<PathBuf>,
    /// How much of the disk to use, at least 4M
    #[arg(long, value_name = "BYTES", default_value = "1G", value_parser = parse_memory)]
    pub(crate) size: u64,
    /// How long each measurement may take at most
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) seconds: u32,
    /// Also write a report with plots, as one page that loads nothing
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Replace an existing report
    #[arg(long, requires = "html")]
    pub(crate) overwrite: bool,
    #[command(flatten)]
    pub(crate) source_access: SourceAccess,
    #[command(flatten)]
    pub(crate) access: TargetAccess,
    #[command(flatten)]
    pub(crate) auth: Auth,
    #[command(flatten)]
    pub(crate) cloud: CloudFlags,
}

/// What the engine is raced against.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Against {
    /// CopyStart.
    ManagedCopy,
}

impl Flags {
    /// What `words`, the program's name first, say.
    ///
    /// # Errors
    /// The ending, once it has been told: of help that was asked for as well as of a mistake.
    pub(crate) fn typed(words: impl Iterator<Item = OsString>) -> Result<Flags, Exit> {
        let words: Vec<OsString> = words.collect();
        Flags::try_parse_from(&words).map_err(|error| {
            if !error.use_stderr() {
                // Help that nobody reads to its end is no failure.
                let _ = error.print();
                return Exit::Done;
            }
            let message = error.render().to_string();
            let console = Console::new(if asks_for_json(&words) { Output::Json } else { Output::Text });
            let message = message.trim_end();
            console.fail(&Failure::usage(message.strip_prefix("error: ").unwrap_or(message)));
            Exit::Usage
        })
    }
}

/// Whether a command line that could not be understood asks for JSON.
fn asks_for_json(words: &[OsString]) -> bool {
    let one = words.iter().any(|word| word == "-ojson" || word == "-o=json" || word == "--output=json");
    one || words.windows(2).any(|pair| (pair[0] == "-o" || pair[0] == "--output") && pair[1] == "json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Flags::command().debug_assert();
    }
}
