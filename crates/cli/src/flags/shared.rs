//! Flags that several commands have in common.

use clap::Args;
use pageferry_core::plan::ChunkPolicy;

use crate::human::parse_bytes;
use crate::speed::{Cap, Concurrency, parse_cap, parse_concurrency};

/// How a step is made, for those who make one.
#[derive(Args, Debug)]
pub(crate) struct Copying {
    /// Bring a target that was changed outside pageferry back in line with the source
    #[arg(long)]
    pub(crate) repair: bool,
    /// Where the chain of differences is broken, compare everything and go on with the same target
    #[arg(long)]
    pub(crate) reseed: bool,
    #[command(flatten)]
    pub(crate) scratch: ScratchFlags,
    #[command(flatten)]
    pub(crate) size: RequestSize,
    #[command(flatten)]
    pub(crate) filling: Filling,
    #[command(flatten)]
    pub(crate) expert: Expert,
}

/// A way around accounts that do not let snapshots be read.
#[derive(Args, Debug)]
pub(crate) struct ScratchFlags {
    /// Where the account refuses to let snapshots be read, copy them to this blob and read that; it is made, and deleted
    #[arg(long, value_name = "URL")]
    pub(crate) scratch: Option<String>,
}

/// A managed disk that is to be made.
#[derive(Args, Debug)]
#[command(next_help_heading = "To a new managed disk")]
pub(crate) struct NewDiskFlags {
    /// Make a managed disk of this name, in place of a destination
    #[arg(long, value_name = "NAME", requires = "resource_group")]
    pub(crate) to_disk: Option<String>,
    /// The resource group to make it in
    #[arg(short = 'g', long, value_name = "GROUP", requires = "to_disk")]
    pub(crate) resource_group: Option<String>,
    /// The subscription to make it in
    #[arg(long, value_name = "ID", env = "AZURE_SUBSCRIPTION_ID", hide_env_values = true)]
    pub(crate) subscription: Option<String>,
    /// The region to make it in, such as westeurope
    #[arg(short, long, value_name = "REGION")]
    pub(crate) location: Option<String>,
    /// What kind of disk to make; otherwise Standard_LRS
    #[arg(long, value_name = "SKU")]
    pub(crate) sku: Option<String>,
    /// For a disk that a machine starts from: linux or windows
    #[arg(long, value_enum, value_name = "OS", hide_possible_values = true)]
    pub(crate) os_type: Option<OsType>,
    /// For a disk that a machine starts from: of which generation the machine is, V1 or V2
    #[arg(long, value_enum, value_name = "GENERATION", hide_possible_values = true, ignore_case = true)]
    pub(crate) hyper_v_generation: Option<Generation>,
}

/// What is on a disk that a machine starts from.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OsType {
    Linux,
    Windows,
}

/// Of which generation a virtual machine is.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generation {
    #[value(name = "V1")]
    V1,
    #[value(name = "V2")]
    V2,
}

/// Where managed disks are managed.
#[derive(Args, Debug)]
pub(crate) struct CloudFlags {
    /// Where Resource Manager is, for managed disks in other clouds than the public one
    #[arg(long, value_name = "URL", env = "PAGEFERRY_ARM_ENDPOINT", hide_env = true)]
    #[arg(default_value = "https://management.azure.com", hide_default_value = true, help_heading = "For experts")]
    pub(crate) arm_endpoint: String,
}

/// Where the snapshots of a managed disk are made.
#[derive(Args, Debug)]
pub(crate) struct SnapshotGroup {
    /// Of a managed disk: the resource group its snapshots are made in; otherwise the disk's own
    #[arg(long, value_name = "GROUP")]
    pub(crate) snapshot_group: Option<String>,
}

/// Of a managed snapshot that is given by its URL, the one before.
#[derive(Args, Debug)]
pub(crate) struct Previous {
    /// Where SOURCE is a managed snapshot's URL: that of the one the newest point was made from, as @FILE or env:NAME
    #[arg(long, value_name = "WHERE")]
    pub(crate) previous: Option<String>,
}

/// A disk and its backup.
#[derive(Args, Debug)]
pub(crate) struct Pair {
    /// The disk: the URL of a page blob, the resource id of a managed disk or of a snapshot of one, or a managed
    /// snapshot's URL (@FILE)
    pub(crate) source: String,
    /// The target's URL; a target that does not exist is made
    pub(crate) target: String,
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
#[group(multiple = false)]
pub(crate) struct WantFlags {
    /// Go to this source snapshot in one step
    #[arg(long, value_name = "SNAPSHOT")]
    pub(crate) to: Option<String>,
    /// Go to the newest source snapshot in one step, leaving out those between
    #[arg(long)]
    pub(crate) latest_only: bool,
}

#[derive(Args, Debug)]
pub(crate) struct SourceAccess {
    /// Where to find a SAS for the disk: @FILE or env:NAME
    #[arg(long, value_name = "WHERE")]
    pub(crate) source_sas: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct TargetAccess {
    /// Where to find a SAS for the target: @FILE or env:NAME
    #[arg(long, value_name = "WHERE")]
    pub(crate) target_sas: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Auth {
    /// How to authenticate: login, managed-identity, cli, workload-identity, client-secret, key or anonymous
    #[arg(long, value_name = "MODE")]
    pub(crate) auth: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct RequestSize {
    /// The largest write: a power of two from 512 to 4M
    #[arg(long, value_name = "BYTES", default_value = "4M", value_parser = parse_request_size)]
    #[arg(help_heading = "For experts")]
    pub(crate) request_size: ChunkPolicy,
}

#[derive(Args, Debug)]
pub(crate) struct Filling {
    /// Write unchanged pages between small changes again where that saves more time than it costs: auto or off
    #[arg(long, value_enum, default_value_t, value_name = "WHEN", hide_possible_values = true)]
    #[arg(help_heading = "For experts")]
    pub(crate) fill_gaps: FillGaps,
}

/// When gaps between changes are filled.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum FillGaps {
    /// Where it pays. Not with smaller requests than the service takes, which save less than is reckoned.
    #[default]
    Auto,
    /// Never.
    Off,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "For experts")]
pub(crate) struct Expert {
    /// The most memory for pages between read and write, at least 4M
    #[arg(long, value_name = "BYTES", default_value = "256M", value_parser = parse_memory)]
    pub(crate) memory: u64,
    /// How many requests to have under way: auto finds out what the service takes; or always so many, 1 to 512
    #[arg(long, value_name = "auto|N", default_value = "auto", value_parser = parse_concurrency)]
    pub(crate) concurrency: Concurrency,
    /// Who moves the bytes: this machine, which checks them; the target's service, which fetches them from the source's
    /// (Put Page From URL); or the service if it can
    #[arg(long, value_name = "WHO", default_value = "relay")]
    pub(crate) engine: EngineFlag,
    /// The most megabits a second to read, and to write
    #[arg(long, value_name = "NUMBER", value_parser = parse_cap)]
    pub(crate) cap_mbps: Option<Cap>,
    /// How long to wait while another run holds the target
    #[arg(long, value_name = "SECONDS", default_value_t = 75)]
    pub(crate) lock_wait: u32,
    /// How long the target stays ours after we are last heard of, 15 to 60
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u8).range(15..=60))]
    pub(crate) lease_duration: u8,
    /// How long to wait after a run that ended uncleanly; under 45 only for a target on this machine
    #[arg(long, value_name = "SECONDS", default_value_t = 45)]
    pub(crate) quiesce: u32,
}

/// Who moves the bytes.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EngineFlag {
    Relay,
    Service,
    Auto,
}

fn parse_request_size(text: &str) -> Result<ChunkPolicy, String> {
    ChunkPolicy::with_request_bytes(parse_bytes(text)?).map_err(|error| error.to_string())
}

pub(super) fn parse_memory(text: &str) -> Result<u64, String> {
    match parse_bytes(text)? {
        bytes if bytes >= 4 << 20 => Ok(bytes),
        _ => Err("one request alone may need 4M".to_owned()),
    }
}
