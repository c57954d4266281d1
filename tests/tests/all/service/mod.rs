//! Promise: `feamoe serve` answers with the model's bits, before, during and after a swap, and a
//! bad model changes nothing. No request, no client and no page of another web site can stop it,
//! exceed its limits or change its model.
#![cfg(unix)]

mod access;
mod answers;
mod connections;
mod limits;
mod memory;
mod running;
