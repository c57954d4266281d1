//! Shared by the binaries of this example: the cost of a call ([`meter`]), records as text
//! ([`records`]) and as words ([`vectors`]), the host's files ([`host`]).
#![cfg_attr(target_os = "none", no_std)]

mod counter;
pub mod host;
pub mod meter;
pub mod records;
pub mod vectors;
