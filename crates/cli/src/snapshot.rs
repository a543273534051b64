//! `pageferry snapshot`: one snapshot of a disk.

use std::fmt::{self, Display, Formatter};

use pageferry_store::{ErrorKind, Source, Target};
use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::job::Scene;
use crate::place::Place;
use crate::report::say;

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) disk: Place,
}

#[derive(Serialize)]
struct Taken {
    disk: String,
    snapshot: String,
}

say! { Taken => "snapshot" }

impl Display for Taken {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.snapshot.fmt(f)
    }
}

impl Job {
    pub(crate) async fn run(self, scene: &Scene) -> Result<(), Failure> {
        let disk = scene.interrupt.or(self.disk.reach()).await?;
        let address = disk.address();
        let taken = tokio::select! {
            taken = disk.snapshot(None, None) => taken,
            () = scene.interrupt.stop().cancelled() => {
                let what = format!("stopped while a snapshot of {address} was being taken, which may exist now or not");
                return Err(Failure::new(Exit::Interrupted, what));
            }
        };
        match taken {
            Ok((id, _)) => {
                scene.console.say(&Taken { disk: address, snapshot: id.to_string() });
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Unknown => {
                let newest = match disk.snapshots().await {
                    Ok(all) => all.last().map_or("none".to_owned(), |last| last.id.to_string()),
                    Err(_) => "not known, because the service does not say".to_owned(),
                };
                Err(Failure::new(
                    Exit::Failed,
                    format!(
                        "the answer to Snapshot Blob on {address} was lost, so the snapshot may have been taken or not; the \
                         newest one now is {newest}: if that is older than this command, run it again"
                    ),
                ))
            }
            Err(error) => Err(error.into()),
        }
    }
}
