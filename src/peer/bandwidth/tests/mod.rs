// SPDX-License-Identifier: MPL-2.0

mod links;
mod robust;
mod simulation;
