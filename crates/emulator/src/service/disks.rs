//! What is done to managed disks from within this process: what their machines do, and looks behind the scenes.

use bytes::Bytes;

use crate::model::arm::error::ArmError;
use crate::model::arm::id::Key;
use crate::model::arm::{ActiveGrant, DiskImage};
use crate::request::{Request, encode};
use crate::response::Response;
use crate::service::Service;

/// The most that is written in one go, so that a record of the journal stays small.
const PIECE: usize = 4 << 20;

impl Service {
    /// Writes to a disk as its machine would: whole sectors, at an offset within its data.
    pub fn write_disk(&self, disk: &str, offset: u64, data: impl Into<Bytes>) -> Result<(), ArmError> {
        let mut rest = data.into();
        let mut at = offset;
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(PIECE));
            let length = piece.len() as u64;
            self.guest(disk, &format!("guestWrite?offset={at}"), piece)?;
            at += length;
        }
        Ok(())
    }

    /// Clears sectors of a disk, as its machine does when it discards them.
    pub fn clear_disk(&self, disk: &str, offset: u64, length: u64) -> Result<(), ArmError> {
        self.guest(disk, &format!("guestClear?offset={offset}&length={length}"), Bytes::new())
    }

    /// Makes a disk larger, to a size that the resource manager, which counts in GiB, could not give it.
    pub fn resize_disk(&self, disk: &str, bytes: u64) -> Result<(), ArmError> {
        self.guest(disk, &format!("guestResize?length={bytes}"), Bytes::new())
    }

    /// Gives a disk to a machine, named by its id. While a machine has it, nobody else gets at its data.
    pub fn attach_disk(&self, disk: &str, machine: &str) -> Result<(), ArmError> {
        self.guest(disk, &format!("guestAttach?machine={}", encode(machine)), Bytes::new())
    }

    /// Takes a disk from its machine.
    pub fn detach_disk(&self, disk: &str) -> Result<(), ArmError> {
        self.guest(disk, "guestAttach", Bytes::new())
    }

    /// The content of a disk or a snapshot. It costs nothing to take, and does not change any more.
    pub fn read_disk(&self, id: &str) -> Option<DiskImage> {
        self.lock().model.image(&Key::parse(id)?)
    }

    /// The bytes that an incremental snapshot is billed for.
    pub fn billed_bytes(&self, snapshot: &str) -> Option<u64> {
        self.lock().model.billed(&Key::parse(snapshot)?)
    }

    /// The grants that are in force.
    pub fn grants(&self) -> Vec<ActiveGrant> {
        let now = self.now();
        self.lock().model.grants(now)
    }

    fn guest(&self, disk: &str, action: &str, body: Bytes) -> Result<(), ArmError> {
        let path = disk.split('/').map(encode).collect::<Vec<_>>().join("/");
        let response = self.intrude(&Request::new("POST", &format!("{path}/{action}")).with_body(body));
        if response.is_success() { Ok(()) } else { Err(refusal(response)) }
    }
}

/// The refusal that an answer tells of.
fn refusal(response: Response) -> ArmError {
    let status = response.status;
    let body: serde_json::Value = serde_json::from_slice(&response.body.into_bytes()).unwrap_or_default();
    let message = body["error"]["message"].as_str().unwrap_or("the service did not say why");
    let code = match status {
        404 => "ResourceNotFound",
        400 => "InvalidParameter",
        _ => "OperationNotAllowed",
    };
    ArmError::new(status, code, message)
}
