//! Shared by the binaries of this example: what a call costs ([`meter`]), records as text ([`records`]) and as words ([`vectors`]).
#![no_std]

pub mod meter;
pub mod records;
pub mod vectors;
