//! Shared by the binaries of this example: what a call costs ([`meter`]), and how vectors are written ([`vectors`]).
#![no_std]

pub mod meter;
pub mod vectors;
