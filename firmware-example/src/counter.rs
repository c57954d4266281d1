//! Counts instructions on a board, and has two functions of known length to check the counter: one
//! of 2 n + 1 instructions, one of 1.
#![allow(unsafe_code)] // registers are raw addresses

#[cfg(counter = "mps2")]
mod of_board {
    use core::arch::{asm, global_asm};
    use core::ptr::with_exposed_provenance_mut;

    /// The 25 MHz up-counter of the MPS2 boards, and its prescaler; with 0 it counts every tick.
    const COUNTER: usize = 0x4002_8018;
    const PRESCALER: usize = 0x4002_801C;

    global_asm!(
        ".thumb",
        ".thumb_func",
        "known_loop:",
        "1: subs r0, #1",
        "bne 1b",
        "bx lr",
        ".thumb_func",
        "known_return:",
        "bx lr",
    );

    pub fn start() -> bool {
        // SAFETY: a register of this board; the write starts a counter that nothing else uses.
        unsafe { with_exposed_provenance_mut::<u32>(PRESCALER).write_volatile(0) };
        true
    }

    #[inline(always)]
    pub fn ticks() -> u32 {
        // SAFETY: a readable register of this board.
        unsafe { with_exposed_provenance_mut::<u32>(COUNTER).read_volatile() }
    }

    /// Converts ticks to instructions: an instruction takes 1024 ns, a tick 40 ns. Exact up to 167
    /// million instructions.
    pub fn instructions(ticks: u32) -> u32 {
        ((u64::from(ticks) * 5 + 64) / 128) as u32
    }

    #[inline(always)]
    pub fn stack_pointer() -> usize {
        let pointer: usize;
        // SAFETY: reads a register.
        unsafe { asm!("mov {}, sp", out(reg) pointer, options(nomem, nostack)) };
        pointer
    }
}

#[cfg(counter = "instret")]
mod of_board {
    use core::arch::{asm, global_asm};

    global_asm!("known_loop:", "1: addi a0, a0, -1", "bnez a0, 1b", "ret", "known_return:", "ret");

    pub fn start() -> bool {
        true
    }

    #[inline(always)]
    pub fn ticks() -> u32 {
        let ticks: u32;
        // SAFETY: reads a register.
        unsafe { asm!("csrr {}, minstret", out(reg) ticks) };
        ticks
    }

    pub fn instructions(ticks: u32) -> u32 {
        ticks
    }

    #[inline(always)]
    pub fn stack_pointer() -> usize {
        let pointer: usize;
        // SAFETY: reads a register.
        unsafe { asm!("mv {}, sp", out(reg) pointer, options(nomem, nostack)) };
        pointer
    }
}

#[cfg(any(counter = "mps2", counter = "instret"))]
unsafe extern "C" {
    pub safe fn known_loop(rounds: u32);
    pub safe fn known_return(rounds: u32);
}

/// No counter: [`start`] returns false, and nothing else is called.
#[cfg(counter = "-")]
mod of_board {
    pub fn start() -> bool {
        false
    }

    pub fn ticks() -> u32 {
        0
    }

    pub fn instructions(ticks: u32) -> u32 {
        ticks
    }

    pub fn stack_pointer() -> usize {
        0
    }

    pub fn known_loop(_: u32) {}

    pub fn known_return(_: u32) {}
}

pub use of_board::*;
