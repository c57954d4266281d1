//! The feamoe command.

fn main() {}
