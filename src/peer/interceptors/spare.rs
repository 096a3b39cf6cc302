// SPDX-License-Identifier: MPL-2.0
//! Room for what leaves, kept by the thread: packets are in it only while a peer is at it, so
//! that peers which share a thread need not have their own.

use std::cell::RefCell;
use std::collections::VecDeque;

use rtc::interceptor::Packet;

use crate::peer::outbound::Numbered;

#[derive(Default)]
struct Spare {
    batch: Vec<Numbered>,
    writes: VecDeque<Packet>,
}

thread_local! {
    static SPARE: RefCell<Spare> = RefCell::default();
}

/// Room for packets with their numbers; empty.
pub(super) fn batch() -> Vec<Numbered> {
    SPARE.with_borrow_mut(|spare| std::mem::take(&mut spare.batch))
}

/// It is of no more use for now.
pub(super) fn keep_batch(mut batch: Vec<Numbered>) {
    batch.clear();
    SPARE.with_borrow_mut(|spare| {
        if batch.capacity() > spare.batch.capacity() {
            spare.batch = batch;
        }
    });
}

/// Room for packets that leave; empty.
pub(super) fn writes() -> VecDeque<Packet> {
    SPARE.with_borrow_mut(|spare| std::mem::take(&mut spare.writes))
}

/// It is of no more use for now.
pub(super) fn keep_writes(mut writes: VecDeque<Packet>) {
    writes.clear();
    SPARE.with_borrow_mut(|spare| {
        if writes.capacity() > spare.writes.capacity() {
            spare.writes = writes;
        }
    });
}
