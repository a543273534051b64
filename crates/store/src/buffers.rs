//! Recycled memory for the pages on their way.
//!
//! A fresh buffer of megabytes costs a page fault for every 4 KiB of it, which is as much work as moving the bytes. So
//! buffers come back here when the last reference to their bytes is gone, and the next read of a similar size takes one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

/// Buffers shorter than this are cheaper to make than to keep.
const LEAST_BYTES: usize = 64 << 10;

/// Idle buffers of all sizes together hold no more than this. What is in use is bounded by who uses it.
const IDLE_BYTES_MAX: usize = 32 << 20;

/// A pool of buffers. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Buffers(Arc<Mutex<Idle>>);

#[derive(Debug, Default)]
struct Idle {
    /// One stack per capacity: what was used last may still be in the processor's cache.
    stacks: BTreeMap<usize, Vec<Vec<u8>>>,
    bytes: usize,
}

/// A buffer that goes back to its pool.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    home: Option<Buffers>,
}

impl Buffers {
    /// An empty buffer with room for `length` bytes, and for less than twice as many.
    pub fn take(&self, length: usize) -> Buffer {
        if length < LEAST_BYTES {
            return Buffer { bytes: Vec::with_capacity(length), home: None };
        }
        let room = length.next_power_of_two();
        let idle = self.0.lock().ok().and_then(|mut idle| idle.take(room));
        Buffer { bytes: idle.unwrap_or_else(|| Vec::with_capacity(room)), home: Some(self.clone()) }
    }
}

impl Idle {
    fn take(&mut self, room: usize) -> Option<Vec<u8>> {
        let bytes = self.stacks.get_mut(&room)?.pop()?;
        self.bytes -= room;
        Some(bytes)
    }

    fn give(&mut self, mut bytes: Vec<u8>) {
        let room = bytes.capacity();
        if !room.is_power_of_two() || self.bytes + room > IDLE_BYTES_MAX {
            return;
        }
        bytes.clear();
        self.stacks.entry(room).or_default().push(bytes);
        self.bytes += room;
    }
}

impl Buffer {
    /// The bytes so far, to be added to.
    pub fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The bytes, shared without a copy; when the last share is gone, the buffer goes back.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(Ok(mut idle)) = self.home.as_ref().map(|home| home.0.lock()) {
            idle.give(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(bytes: &Bytes) -> *const u8 {
        bytes.as_ptr()
    }

    fn filled(buffers: &Buffers, length: usize) -> Bytes {
        let mut buffer = buffers.take(length);
        buffer.bytes_mut().resize(length, 7);
        buffer.freeze()
    }

    #[test]
    fn a_buffer_comes_back_when_its_last_share_is_gone() {
        let buffers = Buffers::default();
        let first = filled(&buffers, 4 << 20);
        let (place, share) = (address(&first), first.slice(512..1024));
        drop(first);
        let second = filled(&buffers, 4 << 20);
        assert_ne!(address(&second), place, "it is still in use");
        drop(share);
        let third = filled(&buffers, (2 << 20) + 512);
        assert_eq!((address(&third), third.len()), (place, (2 << 20) + 512));
    }

    #[test]
    fn what_is_idle_is_limited() {
        let buffers = Buffers::default();
        let many: Vec<Bytes> = (0..40).map(|_| filled(&buffers, 4 << 20)).collect();
        drop(many);
        assert_eq!(buffers.0.lock().unwrap().bytes, IDLE_BYTES_MAX);
    }

    #[test]
    fn a_short_one_is_just_memory() {
        let buffers = Buffers::default();
        drop(filled(&buffers, 512));
        assert_eq!(buffers.0.lock().unwrap().bytes, 0);
    }
}
