// SPDX-License-Identifier: MPL-2.0
//! The estimator on a virtual clock.

mod links;
mod receiver;
mod robust;
mod simulation;
