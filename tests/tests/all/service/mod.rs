//! Promise: `feamoe serve` answers with the model's bits, before, during and after a swap; a bad
//! model changes nothing; no request, no client and no page of another web site takes it down, out
//! of its limits or from its model.
#![cfg(unix)]

mod access;
mod answers;
mod connections;
mod limits;
mod memory;
mod running;
