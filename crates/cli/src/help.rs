//! The longer parts of `--help`: what one needs in order to work without another document.

use std::fmt::Write as _;

use crate::exit::Exit;

const GENERAL: &str = "\
Addresses:
  SOURCE, TARGET and DISK are URLs of page blobs, for example
    https://ACCOUNT.blob.core.windows.net/CONTAINER/BLOB
    http://127.0.0.1:10000/devstoreaccount1/CONTAINER/BLOB      (the emulator)
  A SOURCE or DISK may also be a managed disk, or one of its incremental snapshots:
    /subscriptions/ID/resourceGroups/GROUP/providers/Microsoft.Compute/disks/NAME
    /subscriptions/ID/resourceGroups/GROUP/providers/Microsoft.Compute/snapshots/NAME
    @FILE or env:NAME, with the URL that `az snapshot grant-access` gives in it

Credentials, the first that is there:
  1. a SAS in the URL; better in a file or variable: --source-sas @FILE, --target-sas env:NAME
  2. PAGEFERRY_SOURCE_STORAGE_… and PAGEFERRY_TARGET_STORAGE_…, each with CONNECTION_STRING,
     ACCOUNT and KEY, or SAS_TOKEN, where the two sides differ
  3. AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_KEY,
     AZURE_STORAGE_SAS_TOKEN
  4. nothing at all for the development account on this machine
  5. a token: workload identity, client secret, managed identity, `az login` (--auth chooses)
  Resource Manager, which knows managed disks, takes a token always.
  The disk is always the source side, also where a point is restored to a new disk.

Start with:
  pageferry demo
  pageferry sync --help

Exit codes:
";

/// What `--help` says after the options.
pub(crate) fn general() -> String {
    let mut text = GENERAL.to_owned();
    for exit in Exit::ALL {
        let _ = writeln!(text, "  {:>3}  {:<13}  {}", exit.code(), exit.name(), exit.meaning());
    }
    text
}

pub(crate) const EMULATOR: &str = "\
The first line on stdout says where it listens. The account is devstoreaccount1 with the key that every
storage client knows, so whoever can reach it can do everything: it refuses to listen beyond this machine
unless --allow-remote is given twice. SIGINT or SIGTERM stop it.

Managed disks are managed at the same address, without the account: give it to the other commands as
PAGEFERRY_ARM_ENDPOINT, and they send the token `pageferry-emulator`, which opens nothing else anywhere.

With --admin a second line says where it takes orders: to refuse, lose, delay and corrupt requests, to move
its clock, to break leases, to lose power. It asks for no credentials, so it is off unless asked for and
never leaves this machine.

Examples:
  pageferry emulator
  pageferry emulator --admin 127.0.0.1:0
  pageferry emulator --listen 127.0.0.1:0 --data-dir ./blobs";

pub(crate) const SNAPSHOT: &str = "\
The time is the snapshot's name: `pageferry sync --to` takes it. A snapshot shows the disk as after a power
cut; let the machine flush its file systems first if that is not enough.

Examples:
  pageferry snapshot https://acct.blob.core.windows.net/vhds/web1.vhd";

pub(crate) const BACKUP: &str = "\
Meant for a timer: what to run, how often and what to do with its exit codes is in docs/operations.md, with
units for systemd. A cycle that was broken off is ended before the next one begins. Only source snapshots that
`backup` itself has taken for this very target are ever deleted, only after a newer point exists, and never
the one that the next difference starts from.

Examples:
  pageferry backup https://acct.blob.core.windows.net/vhds/web1.vhd https://vault.blob.core.windows.net/b/web1
  pageferry backup /subscriptions/S/resourceGroups/G/providers/Microsoft.Compute/disks/web1 \\
    https://vault.blob.core.windows.net/b/web1 --keep-source 3";

pub(crate) const CHECK: &str = "\
Ends with 9 if there is no point that is young enough, whatever the reason, and with 0 if there is: a second
timer, apart from the one that makes the backups, notices that they stopped.

Examples:
  pageferry check https://vault.blob.core.windows.net/b/web1 --max-lag 26h";

pub(crate) const DOCTOR: &str = "\
Looks at credentials, clock, network path, roles, SAS and grants, and changes nothing, but for what
--revoke-stale ends. It ends with 0 if nothing would fail a run, and with the code of the first thing that would.

Examples:
  pageferry doctor https://acct.blob.core.windows.net/vhds/web1.vhd https://vault.blob.core.windows.net/b/web1
  pageferry doctor /subscriptions/S/resourceGroups/G/providers/Microsoft.Compute/disks/web1 --revoke-stale";

pub(crate) const PLAN: &str = "\
The same plan is what `pageferry sync` carries out. No lease is taken and nothing is written.

Examples:
  pageferry plan https://acct.blob.core.windows.net/vhds/web1.vhd https://bak.blob.core.windows.net/web1/base.vhd";

pub(crate) const SYNC: &str = "\
Every source snapshot newer than the target's newest point is copied, in order, and each becomes a point. A
target that does not exist is made and seeded from the oldest snapshot, or from the one that --to names. Each
point is proved to equal its source snapshot before it is made. A run that was interrupted, at whatever moment,
goes on with the same command.

Examples:
  pageferry sync $DISK $TARGET
  pageferry sync $DISK $TARGET --latest-only
  pageferry sync $DISK $TARGET --to 2026-05-16T20:11:11.0777366Z
  pageferry sync $DISK $TARGET --reseed         after code 5
  pageferry sync $NEWDISK $TARGET --adopt       after a restore of the newest point to NEWDISK
  pageferry sync $DISK $TARGET -o json          events and results, one object a line";

pub(crate) const POINTS: &str = "\
Examples:
  pageferry points https://bak.blob.core.windows.net/web1/base.vhd
  pageferry points $TARGET -o json";

pub(crate) const RESTORE: &str = "\
A .vhd is the disk with its footer, a .raw without; both are sparse files. A destination blob becomes a disk with
a first point of its own; it is written as a disk, with the credentials of the source side. With --overwrite an
existing blob is changed in place and never created anew, and a blob that holds points is never touched.

A managed disk is made anew: an existing one is never written to, but for one that a restore of the same point has
left half made, which no machine can use; the same command goes on with it. Only what the point holds is uploaded.

Examples:
  pageferry restore $TARGET web1.vhd --point latest
  pageferry restore $TARGET web1.raw --point 2026-05-16T20:11:11.0777366Z
  pageferry restore $TARGET https://acct.blob.core.windows.net/vhds/web1-restored.vhd --point latest
  pageferry restore $TARGET --to-disk web1-restored -g RG --location westeurope --point latest
  pageferry restore $TARGET $NEWDISKID --location westeurope --sku Premium_LRS --os-type linux --point latest";

pub(crate) const BENCH: &str = "\
Measures, one after the other: reading SOURCE and writing random data to TARGET, both by this machine; the
engines that a sync may use; and the service's own Copy Blob and Incremental Copy Blob. A snapshot of SOURCE is
taken for this, or the newest is used where none may be taken. All that is made is named
TARGET.pageferry-bench-… and deleted again, also after an interruption; what cannot be deleted is named. Nothing
else is touched. Storage, requests and traffic are billed as usual.

Examples:
  pageferry bench $DISK https://bak.blob.core.windows.net/web1/try
  pageferry bench $DISK https://bak.blob.core.windows.net/web1/try --size 4G --html bench.html
  pageferry bench $DISK https://bak.blob.core.windows.net/web1/try -o json";

pub(crate) const VERIFY: &str = "\
Reads every allocated page of both and trusts no change tracking. The source snapshot must still exist. Ends with
code 4 and the ranges that differ, if any do.

Examples:
  pageferry verify $TARGET --point latest --against $DISK";
